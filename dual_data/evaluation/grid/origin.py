"""Which build or release the rows of a grid come from."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from dual_data.engine.manifest import read_manifest
from dual_data.released import MANIFEST, Release

_PROFILE = "[project]"
"""What a profile has and a grid file beside it has not."""
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


def remedy(folder: Path, project: Path) -> str:
    """The command that builds a folder that is not there, as the beginning of advice; empty where no profile does."""
    made = project.resolve() / "artifacts"
    below = folder.resolve().parts[len(made.parts) :] if folder.resolve().is_relative_to(made) else ()
    for profile in below[:1]:
        file = project / "pipeline" / f"{profile}.toml"
        if file.is_file() and _PROFILE in file.read_text(encoding="utf-8", errors="replace"):
            return f"build it first (dual-data build --profile {profile}), or "
    return ""
