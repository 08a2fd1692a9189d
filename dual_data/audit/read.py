"""Tables from files, release folders and Hub datasets, as the splits to audit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl
from pydantic import BaseModel, ValidationError, field_validator

from dual_data.audit.columns import is_auditable
from dual_data.errors import InputError, ServiceError

_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_REPOSITORY = re.compile(r"^[\w.-]+/[\w.-]+(@[^@\s]+)?$")


_MEMBER = re.compile(r"(?:^|_)(?:(?:forget_(?:rare|popular)|fast_retain|retain|neighbor|full)(?:_|$).*|world_facts)$")
"""What follows the topic in a split's name, as published and as dual-data names them."""


class Split(NamedTuple):
    """A table, its name, and its configuration in a release ("" for single files)."""

    name: str
    config: str
    rows: pl.DataFrame

    @property
    def group(self) -> str:
        """The configuration and topic: splits are compared with those of their own group, or a release of 26 topics
        would be compared with itself 40,000 times."""
        if not self.config:
            return ""
        return f"{self.config}/{_MEMBER.sub('', self.name.rpartition('/')[2])}"


class _Config(BaseModel):
    """A configuration of a dataset card, with every form that the Hub's authors give `data_files`."""

    config_name: str = "default"
    data_files: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(split, patterns of its files below the folder)."""

    @field_validator("config_name", mode="before")
    @classmethod
    def _name_is_text(cls, name: object) -> str:
        return str(name)

    @field_validator("data_files", mode="before")
    @classmethod
    def _splits(cls, given: Any) -> list[tuple[str, list[str]]]:
        if isinstance(given, list) and any(isinstance(entry, dict) for entry in given):
            if not all(isinstance(entry, dict) and "path" in entry for entry in given):
                raise ValueError("each entry needs split and path")
            pairs = [(entry.get("split", "train"), entry["path"]) for entry in given]
        else:
            pairs = list(given.items()) if isinstance(given, dict) else [("train", given)] if given else []
        return [(str(split), _patterns(paths)) for split, paths in pairs]


class _Card(BaseModel):
    """What the audit reads of a dataset card's front matter."""

    configs: tuple[_Config, ...] | None = None


def _patterns(paths: Any) -> list[str]:
    patterns = [paths] if isinstance(paths, str) else paths
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(f"{paths!r} is neither a path nor a list of paths")
    for pattern in patterns:
        if not pattern or PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ValueError(f"{pattern!r} is not a path below the folder of the card")
    return patterns


def read(target: str) -> list[Split]:
    """The splits of a file, a folder, or a Hub dataset named `owner/name[@revision]`.

    A folder with a dataset card is read by the configurations of its card; any other folder file by file, the shards of
    a table together. A table with a column `split` is divided by it. Tables of a folder which hold neither
    question-answer pairs nor triplets are passed over. The Hub is asked by huggingface_hub, with its
    settings (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE ...).

    Raises `InputError` where there is nothing to audit, `ServiceError` where the Hub does not answer.
    """
    path = Path(target)
    if path.is_file():
        splits = list(_divided(path.stem, "", _table(path)))
    elif path.is_dir():
        splits = _folder(path)
    elif _REPOSITORY.match(target):
        splits = _folder(_downloaded(target))
    else:
        raise InputError(f"{target}: no such file or folder, and not the name of a Hub dataset (owner/name[@revision])")
    if not splits:
        raise InputError(
            f"{target}: no table with question and answer, or with subjectLabel, relation and objectLabel, in it"
        )
    return splits


def read_all(targets: Iterable[str]) -> list[Split]:
    """The splits of several targets; a name that occurs twice gets its target, then a number, in front."""
    found: dict[str, Split] = {}
    for target in targets:
        for split in read(target):
            name, number = split.name, 1
            while name in found:
                name = f"{Path(target).parent.name or target}/{split.name}" + (f" ({number})" if number > 1 else "")
                number += 1
            found[name] = split._replace(name=name)
    return list(found.values())


def _folder(folder: Path) -> list[Split]:
    tables = _configured(folder) or _plain(folder)
    loaded = [(name, config, _concat(paths)) for name, config, paths in tables]
    auditable = [table for table in loaded if is_auditable(table[2].columns)]
    single = len({config for _, config, _ in auditable}) == 1
    return [
        split
        for name, config, rows in auditable
        for split in _divided(name if single or not config else f"{config}/{name}", config, rows)
    ]


def _configured(folder: Path) -> list[tuple[str, str, list[Path]]]:
    """(split, configuration, files) as the dataset card lists them; empty without a card or configurations."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    from huggingface_hub import metadata_load

    try:
        metadata: dict[str, Any] = metadata_load(card) or {}
    except Exception as error:  # the YAML library's errors have no common base that the Hub's client exports
        raise InputError(f"{card}: the front matter is not valid YAML: {error}") from error
    tables = []
    try:
        for config in _Card.model_validate(metadata).configs or ():
            for split, patterns in config.data_files:
                files = sorted(
                    {file for pattern in patterns for file in folder.glob(pattern) if file.suffix in _SUFFIXES}
                )
                if not files:
                    raise InputError(f"{card}: configs: {config.config_name}: no file matches {', '.join(patterns)}")
                tables.append((split, config.config_name, files))
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        key = ".".join(map(str, wrong["loc"]))
        raise InputError(f"{card}: {key}: {wrong['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:  # A pattern such as a**b.
        raise InputError(f"{card}: configs: data_files: {error}") from None
    return tables


def _plain(folder: Path) -> list[tuple[str, str, list[Path]]]:
    """(name, "", files) of every table below the folder, shards together."""
    tables: dict[str, list[Path]] = {}
    for file in sorted(file for file in folder.rglob("*") if file.suffix in _SUFFIXES):
        relative = file.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        name = _SHARD.sub("", relative.with_suffix("").as_posix())
        tables.setdefault(name, []).append(file)
    return [(name, "", files) for name, files in tables.items()]


def _downloaded(target: str) -> Path:
    """The folder of a snapshot of a Hub dataset."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = target.partition("@")
    patterns = ["README.md", *(f"*{suffix}" for suffix in _SUFFIXES)]
    try:
        folder = snapshot_download(name, repo_type="dataset", revision=revision or None, allow_patterns=patterns)
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "no status")
        raise InputError(
            f"{target}: the Hub refused it ({status}). Check name and revision; log in if the dataset is private."
        ) from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise ServiceError(
            f"{target}: not a local path, and the Hub could not be reached for it (offline, or HF_HUB_OFFLINE is set)"
        ) from error
    return Path(folder)


def _concat(files: list[Path]) -> pl.DataFrame:
    return pl.concat([_table(file) for file in files], how="diagonal_relaxed")


def _table(file: Path) -> pl.DataFrame:
    try:
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        if file.suffix in {".jsonl", ".ndjson"}:
            return pl.read_ndjson(file, infer_schema_length=None)
        if file.suffix == ".json":
            return _json(file)
        if file.suffix == ".csv":
            return pl.read_csv(file, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: not readable as {file.suffix[1:]}: {error}") from error
    raise InputError(f"{file}: the audit reads {', '.join(_SUFFIXES)}, not {file.suffix or 'files without a suffix'}")


def _json(file: Path) -> pl.DataFrame:
    """A JSON array of rows, or JSON lines under the same suffix, as TOFU's files have them."""
    try:
        return pl.read_json(file, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        try:
            return pl.read_ndjson(file, infer_schema_length=None)
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"{file}: not readable as json: neither an array of rows nor JSON lines ({error})"
            ) from None


def _divided(name: str, config: str, rows: pl.DataFrame) -> Iterator[Split]:
    """The table itself, or its parts where it has a column `split` (and `recipe`), in order of first appearance."""
    keys = [column for column in ("recipe", "split") if column in rows.columns]
    if "split" not in keys:
        yield Split(name, config, rows)
        return
    for values, part in rows.partition_by(keys, as_dict=True, maintain_order=True).items():
        label = "/".join(str(value) for value in values)
        yield Split(f"{name}/{label}", config or "/".join([name, *map(str, values[:-1])]), part)


def select(splits: list[Split], *, configs: Sequence[str], names: Sequence[str]) -> list[Split]:
    """The splits of these configurations and of these names, with or without the configuration in front.

    Empty means all. Raises `InputError` where nothing is left.
    """
    chosen = [
        split
        for split in splits
        if (not configs or split.config in configs)
        and (not names or split.name in names or split.name.rpartition("/")[2] in names)
    ]
    if not chosen:
        raise InputError(f"no such split or configuration; there are {', '.join(split.name for split in splits)}")
    return chosen
