"""Which build or release the rows of a grid come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from dual_data.engine.manifest import read_manifest
from dual_data.engine.plan import builder
from dual_data.released import MANIFEST, Release

_ABOVE = 2
"""How many folders above the rows a manifest may be."""


def origin(folder: Path) -> dict[str, str | None]:
    """What the nearest manifest says of the rows in `folder`; empty where they are plain files.

    Of a release its name, repository, version and content hash; of a build the stage's fingerprint and content hash.
    """
    for place in (folder, *folder.absolute().parents[:_ABOVE]):
        if (stage := read_manifest(place)) is not None:
            return {"stage": place.name, "fingerprint": stage.fingerprint, "content": stage.content()}
        try:
            release = Release.model_validate_json((place / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            continue
        return {
            "release": release.name,
            "repository": release.repository,
            "version": release.version,
            "content": release.content,
        }
    return {}


def remedy(folder: Path) -> str:
    """The command that builds a folder that is not there, as the beginning of advice; empty where no profile does."""
    command = builder(folder)
    return f"build it first ({command}), or " if command else ""
