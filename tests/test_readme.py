"""The commands in README.md: each can be parsed, and those that need no service or model run without an error."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.cli.command import ROOT, dual_data, forget_pipeline, own_project
from tests.cli.test_main import COMMANDS
from tests.services import require

QUICK = {"facts", "links", "questions"}
"""Stages that take seconds with the embedded snapshot."""


def printed() -> list[list[str]]:
    """Every command of the README's bash blocks, in order, as words, without comments."""
    blocks = re.findall(
        r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [
        list(words)
        for line in lines
        for joint, words in itertools.groupby(shlex.split(line, comments=True), key="&&".__eq__)
        if not joint
    ]


OURS = [words[1:] for words in printed() if words[0] == "dual-data"]


def command_of(words: list[str]) -> tuple[typer.core.TyperCommand, list[str]]:
    """The command that the first words name, and the words after them."""
    for count in (1, 2):
        if (command := COMMANDS.get(tuple(words[:count]))) is not None:
            return command, words[count:]
    pytest.fail(f"README.md: dual-data {' '.join(words)}: no such command")


def is_quick(words: list[str]) -> bool:
    """Whether the command can run here: without network and models, in seconds."""
    if words[0] == "build":
        stages = {word for word in words[1:] if word in {*QUICK, "knowledge", "salience", "splits"}}
        return "--dry-run" in words or (bool(stages) and stages <= QUICK)
    return words[0] in {"init", "check", "relations", "show"}


def test_the_readme_prints_commands() -> None:
    assert len(OURS) > 10
    assert sum(is_quick(words) for words in OURS) >= 5


def test_the_readme_names_every_command_of_the_evaluation() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    names = [" ".join(words) for words in COMMANDS if words[0] == "eval"]
    assert len(names) >= 6
    assert [name for name in names if f"dual-data {name} " not in text] == []


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_printed_command_can_be_parsed(words: list[str]) -> None:
    command, arguments = command_of(words)
    command.make_context(" ".join(words), list(arguments))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone of the project, as the working directory."""
    require(importlib.util.find_spec("pyoxigraph"), "pyoxigraph is not installed (pip install 'dual-data[embedded]')")
    with own_project(tmp_path / "clone") as root:
        monkeypatch.chdir(root)
        yield root


def test_what_needs_no_service_runs_as_printed(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skeletons: list[str] = []
    for words in printed():
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
        if words[0] != "dual-data" or not is_quick(words[1:]):
            continue
        command, _ = command_of(words[1:])
        with_profile = any("--profile" in parameter.opts for parameter in command.params) and "--profile" not in words
        forget_pipeline()
        outcome = dual_data(*words[1:], *(["--profile", "embedded"] if with_profile else []))
        if words[1:3] == ["relations", "new"]:
            skeletons.append(words[3])
        if words[1] == "check" and skeletons:
            # Skeletons that are not filled in are the only faults.
            faults = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
            assert outcome.code == 2
            assert all(any(f"{name}.toml: " in fault for name in skeletons) for fault in faults), outcome.err
        else:
            assert outcome.code == 0, (words, outcome.err)
