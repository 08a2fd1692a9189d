"""The files that a release's manifest lists, and all files of its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dual_data.released import MANIFEST

CARD = "README.md"


def listed_by(manifest: bytes | None) -> frozenset[str] | None:
    """Paths that the manifest of a release lists, and its own; None if it is not the manifest of a release.

    The manifest may have another format version: its lists of files are read as far as they have this version's form.
    """
    content = _parsed(manifest)
    if not {"format", "content", "configs"} <= content.keys():
        return None
    configs = _mapping(content["configs"])
    tables = [_mapping(file).get("path") for splits in configs.values() for file in _mapping(splits).values()]
    return frozenset(path for path in (MANIFEST, *_mapping(content.get("files")), *tables) if isinstance(path, str))


def card_hash(manifest: bytes | None) -> Any:
    """SHA-256 of the card as the manifest of a release lists it; None if it lists none."""
    return _mapping(_parsed(manifest).get("files")).get(CARD)


def files_below(folder: Path) -> list[str]:
    """Paths of all files, with forward slashes; a link to a folder counts as a file."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _parsed(manifest: bytes | None) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(manifest or b""))
    except ValueError:
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
