"""The build or release that the rows of a grid come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from dual_data.engine.manifest import read_manifest
from dual_data.released import MANIFEST, Release

_ABOVE = 2
"""Levels above the folder of the rows at which a manifest is searched."""


def origin(folder: Path) -> dict[str, str | None]:
    """What the nearest manifest says of the rows in `folder`; empty without a manifest.

    For a release its name, repository, version and content hash; for a build the stage's fingerprint and content hash.
    """
    for candidate in (folder, *folder.absolute().parents[:_ABOVE]):
        if (stage := read_manifest(candidate)) is not None:
            return {"stage": candidate.name, "fingerprint": stage.fingerprint, "content": stage.content()}
        try:
            release = Release.model_validate_json((candidate / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            continue
        return {
            "release": release.name,
            "repository": release.repository,
            "version": release.version,
            "content": release.content,
        }
    return {}
