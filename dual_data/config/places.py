"""Where a project has its files, and the project that is shipped with dual-data."""

from __future__ import annotations

from pathlib import Path

RELATIONS = "pipeline/relations"
"""Folder of the relation files, below a project's root."""


def shipped_project() -> Path:
    """The folder of the shipped project: in the wheel, or the repository of an editable install."""
    package = Path(__file__).parents[1]
    packaged = package / "_project"
    return packaged if packaged.is_dir() else package.parent
