"""Paths that are not UTF-8, or not read as UTF-8: polars and pyarrow cannot open them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import copy_project
from tests.release.made import artifacts, world

NO_UTF_8 = os.fsdecode(b"D\xf6ner")
WORDS = ": the path holds bytes that are not in this system's encoding; rename or move the folder"
PROJECT = ("--project", "FOLDER", "--profile", "embedded")


def ended(*command: str, **environment: str) -> tuple[int, str]:
    """Exit code and last line of stderr."""
    words = [sys.executable, "-m", "dual_data", *command]
    process = subprocess.run(words, capture_output=True, env={**os.environ, **environment}, check=False)
    return process.returncode, process.stderr.decode().rpartition("error: ")[2].rstrip("\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose name is not UTF-8, with tables of a build."""
    root = tmp_path_factory.mktemp("paths")
    built = artifacts(root, world(subjects=4), git="none")
    project = copy_project(root / NO_UTF_8)
    shutil.copytree(built, project / "artifacts" / "embedded")
    return project


@pytest.mark.parametrize(
    "command",
    [
        ("check", "--project", "FOLDER"),
        ("show", *PROJECT),
        ("report", *PROJECT),
        ("release", *PROJECT),
        ("audit", "FOLDER/artifacts/embedded/questions/data.parquet"),
        ("verify", "FOLDER/artifacts/embedded"),
        ("diff", "FOLDER/artifacts/embedded", "FOLDER/artifacts/embedded"),
    ],
    ids=lambda command: command[0],
)
def test_a_path_that_is_not_utf_8_is_refused(command: tuple[str, ...], folder: Path) -> None:
    code, message = ended(*(word.replace("FOLDER", str(folder)) for word in command))
    assert (code, message.partition("D\ufffdner")[2][-len(WORDS) :]) == (2, WORDS)


def test_an_umlaut_is_refused_where_the_systems_encoding_has_none(tmp_path: Path) -> None:
    table = tmp_path / "Döner" / "table.csv"
    table.parent.mkdir()
    table.write_text("question,answer\nWho?,She\nWhere?,There\n")
    code, message = ended("audit", str(table), LC_ALL="C", PYTHONUTF8="0")
    assert (code, message.partition("table.csv")[2]) == (2, f"{WORDS}, or set PYTHONUTF8=1")
    assert ended("audit", str(table), LC_ALL="C", PYTHONUTF8="1")[0] == 0
