"""Where a project has its files, what its folders may be called, and the project that is shipped with dual-data."""

from __future__ import annotations

from pathlib import Path

RELATIONS = "pipeline/relations"
"""Folder of the relation files, below a project's root."""
TOPICS = "pipeline/topics.toml"
"""File of the topics, below a project's root."""
NO_FOLDER_NAME = "must be a plain folder name (letters, digits, - and _)"
"""What is wrong with a name that `is_folder_name` refuses."""


def is_folder_name(name: str) -> bool:
    """Whether a name that a user gave can be that of a folder below artifacts/."""
    return name.replace("-", "").replace("_", "").isalnum()


def shipped_project() -> Path:
    """The folder of the shipped project: in the wheel, or the repository of an editable install."""
    package = Path(__file__).parents[1]
    packaged = package / "_project"
    return packaged if packaged.is_dir() else package.parent
