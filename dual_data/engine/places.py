"""Where the builds of a project are, and the commands that make what is there."""

from __future__ import annotations

import shlex
from pathlib import Path

from dual_data.config import Profile, sound_profiles

RELEASE = "release"
"""Folder of the release, below the artifacts of a profile."""


def artifacts(project: Path, profile: Profile) -> Path:
    """Folder of everything that a profile's build writes."""
    return project / "artifacts" / profile.name


def command(project: Path, words: str, profile: Profile | None = None) -> str:
    """`dual-data WORDS` with the options that it needs in the working directory; arguments may follow.

    A profile is always named, since the default one would query public services for hours.
    """
    parts = ["dual-data", words]
    if not is_here(project):
        parts.append(f"--project {shlex.quote(str(project))}")
    if profile is not None:
        own = profile.path.parent == project / "pipeline"
        parts.append(f"--profile {shlex.quote(profile.path.stem if own else str(profile.path))}")
    return " ".join(parts)


def command_for(folder: Path, words: str = "build") -> str:
    """`dual-data WORDS` for a folder below a project's artifacts; empty if it belongs to none of its profiles."""
    for candidate in (folder.resolve(), *folder.resolve().parents):
        root = candidate.parent.parent
        for profile in sound_profiles(root) if candidate.parent.name == "artifacts" else ():
            if profile.name == candidate.name:
                return command(root, words, profile)
    return ""


def how_to_build(folder: Path, run: str) -> str:
    """The end of a message that nothing is built in `folder`, below a project's artifacts: the command that builds it,
    after the profiles that are built, one of which may be meant."""
    built = [
        f"--profile {shlex.quote(profile.path.stem)}"
        for profile in sound_profiles(folder.parent.parent)
        if profile.name != folder.name and any((folder.parent / profile.name).glob("*/manifest.json"))
    ]
    return f". Built: {', '.join(built)}. To build this one, run: {run}" if built else f"; run: {run}"


def is_here(folder: Path) -> bool:
    """Whether the working directory is the folder, or lies in it."""
    try:
        return Path.cwd().is_relative_to(folder.resolve())
    except OSError:  # The working directory was deleted.
        return False
