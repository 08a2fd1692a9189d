"""The configurations in the card of a dataset."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError, field_validator

from dual_data.errors import InputError


class Config(BaseModel):
    """A configuration of a dataset card; `data_files` is normalised from every form that the Hub allows."""

    config_name: Annotated[str, BeforeValidator(str)] = "default"
    data_files: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(split, patterns of its files below the folder)."""
    data_dir: str = "."
    """Folder of the files of a configuration without data_files."""

    @field_validator("data_dir")
    @classmethod
    def _below(cls, folder: str) -> str:
        return _patterns(folder)[0]

    @field_validator("data_files", mode="before")
    @classmethod
    def _splits(cls, value: Any) -> list[tuple[str, list[str]]]:
        if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
            if not all(isinstance(entry, dict) and "path" in entry for entry in value):
                raise ValueError("each entry needs split and path")
            pairs = [(entry.get("split", "train"), entry["path"]) for entry in value]
        else:
            pairs = list(value.items()) if isinstance(value, dict) else [("train", value)] if value else []
        return [(str(split), _patterns(paths)) for split, paths in pairs]


class _Card(BaseModel):
    """The part of a dataset card's front matter that the audit reads."""

    configs: tuple[Config, ...] | None = None


def _patterns(paths: Any) -> list[str]:
    patterns = [paths] if isinstance(paths, str) else paths
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"{paths!r} is neither a path nor a list of paths")
    for pattern in patterns:
        if not pattern or PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ValueError(f"{pattern!r} is not a path below the folder of the card")
    return patterns


def configurations(card: Path) -> tuple[Config, ...]:
    """The configurations in a card's front matter; none without a card. Raises `InputError` for an invalid one."""
    if not card.is_file():
        return ()
    from huggingface_hub import metadata_load

    try:
        metadata: dict[str, Any] = metadata_load(card) or {}
    except Exception as error:  # the YAML library's errors have no common base that the Hub's client exports
        raise InputError(f"{card}: the front matter is not valid YAML: {error}") from error
    try:
        return _Card.model_validate(metadata).configs or ()
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        key = ".".join(map(str, wrong["loc"]))
        raise InputError(f"{card}: {key}: {wrong['msg'].removeprefix('Value error, ')}") from None
