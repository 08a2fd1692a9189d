"""Faults of a project's files: ways to make them, and what `dual-data check` has to say of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.cli.command import dual_data
from tests.cli.test_golden import same_error

Change = Callable[[Path], None]
"""Changes the files of the project in a folder."""
Fault = tuple[Change, str]
"""A change, and a pattern of the message on it."""

RELATION = """\
property = "P36"
name = "capital"
topics = ["places_country"]
object = "entity"

[questions]
canonical = "What is the capital of {subject}?"
validation = ["Which city is the capital of {subject}?"]
training = ["Name the capital of {subject}."]
test = ["Which city does {subject} have as its capital?"]
"""


def relation(old: str, new: str) -> Change:
    """A change of a correct relation file."""
    assert old in RELATION

    def write(root: Path) -> None:
        for path in (root / "pipeline" / "relations").glob("P36*.toml"):
            path.unlink()
        (root / "pipeline" / "relations" / "P36.toml").write_text(RELATION.replace(old, new, 1), encoding="utf-8")

    return write


def replaced(name: str, text: str | bytes) -> Change:
    """A change of a file's whole content."""

    def write(root: Path) -> None:
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return write


def excluded(text: str) -> Change:
    """A new entry of EXCLUDED.toml, next to a relation with the label capital."""

    def write(root: Path) -> None:
        relation('object = "entity"', 'labels = ["capital"]\nobject = "entity"')(root)
        with (root / "pipeline" / "relations" / "EXCLUDED.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n{text}")

    return write


def edited(name: str, pattern: str, new: str) -> Change:
    """A change of a part of a file."""

    def write(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert re.search(pattern, text)
        (root / name).write_text(re.sub(pattern, new, text, count=1), encoding="utf-8")

    return write


def expect_fault(project: Path, name: str, change: Change, message: str) -> None:
    """`check` gives the message after the change, as in the golden file of this name, and writes nothing."""
    change(project)
    before = _files(project)
    outcome = dual_data("check", "--project", project)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert any(re.search(f"^error: .*{message}", line) for line in outcome.err.splitlines()), outcome.err
    same_error(f"check {name}", outcome, project)
    assert _files(project) == before


def _files(project: Path) -> dict[Path, bytes]:
    """The files of a project, without Python's cache of imported stages."""
    return {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    }
