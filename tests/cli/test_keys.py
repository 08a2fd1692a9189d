"""`keys`: every key that a TOML file of a project may have, from the model that reads it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from dual_data.config import Strict
from dual_data.config.keys import Key, keys_of, meaning_of
from dual_data.config.services import PACES
from dual_data.evaluation.models.names import SHORT_NAMES
from dual_data.evaluation.rows.attack_prompts import ATTACK_PROMPTS
from tests.cli.command import ROOT, dual_data, forget_pipeline

TABLES = (
    "project", "services", "facts", "links", "questions", "knowledge", "salience", "splits", "models", "data", "stages",
    "presets", "grids", "topic", "relation", "excluded", "prompt",
)  # fmt: skip


class Inner(Strict):
    """What is inside."""

    share: float = Field(default=0.5, gt=0, le=1)
    """A share."""


class Base(Strict):
    """What other tables have too."""

    names: tuple[str, ...] = ()
    """Some
    names."""


class Outer(Base):
    """A table."""

    kind: Literal["one", "two", "three"] = "two"
    """Which kind."""
    count: int | None = Field(default=None, ge=1)
    rates: tuple[float, ...] = (0.1,)
    """Rates."""
    one: Inner
    more: Mapping[str, Inner] = {}
    """More of it."""
    listed: tuple[Inner, ...] = ()
    """A list of it."""
    named: Mapping[str, Literal["a", "b"]] = {}
    """Letters."""
    either: bool | tuple[str, ...] = True
    """One or the other."""


def test_keys_have_values_bounds_defaults_and_meanings() -> None:
    assert list(keys_of(Outer)) == [
        Key("names", "list of texts", "", False, "Some names."),
        Key("kind", '"one", "two" or "three"', '"two"', False, "Which kind."),
        Key("count", "whole number, at least 1", "", False, ""),
        Key("rates", "list of numbers", "[0.1]", False, "Rates."),
        Key("one", "table", "", True, "What is inside."),
        Key("one.share", "number, above 0 and at most 1", "0.5", False, "A share."),
        Key("more.NAME", "table with the keys of one", "", False, "More of it."),
        Key("listed[]", "table with the keys of one", "", False, "A list of it."),
        Key("named", 'table of "a" or "b" by name', "", False, "Letters."),
        Key("either", "true or false or list of texts", "true", False, "One or the other."),
    ]


def test_a_table_without_words_has_none() -> None:
    class Bare(Strict):
        key: int = 0

    assert meaning_of(Bare) == ""
    assert list(keys_of(Bare)) == [Key("key", "whole number", "0", False, "")]


def test_the_tables_are_listed_and_an_unknown_one_is_told_with_them() -> None:
    listed = dual_data("keys", "--project", ROOT)
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == list(TABLES)
    outcome = dual_data("keys", "link", "--project", ROOT)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: link: no such table; the tables are: {', '.join(TABLES)}\n"


@pytest.mark.parametrize("name", TABLES)
def test_every_key_has_a_meaning(name: str) -> None:
    outcome = dual_data("keys", name, "--project", ROOT)
    assert outcome.code == 0, outcome.err
    _, *keys = outcome.out.strip().split("\n\n")
    assert keys
    for key in keys:
        head, *meaning = key.split("\n")
        assert ": " in head
        assert all(line.startswith("    ") and len(line) <= 120 for line in meaning), key
        assert meaning, f"{head} is not documented"


@pytest.mark.parametrize(
    ("table", "names"), [("services", tuple(PACES)), ("models", SHORT_NAMES), ("grids", ATTACK_PROMPTS)]
)
def test_names_that_a_key_takes_are_among_its_meaning(table: str, names: tuple[str, ...]) -> None:
    words = set(re.findall(r"[\w-]+", dual_data("keys", table, "--project", ROOT).out))
    assert set(names) <= words


@pytest.mark.parametrize("command", [("keys", "links"), ("eval", "methods")])
def test_outside_a_project_the_shipped_one_is_explained(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if command[0] == "eval":
        pytest.importorskip("torch", reason="the evaluation extra is not installed")
    inside = dual_data(*command, "--project", ROOT)
    monkeypatch.chdir(tmp_path)
    assert dual_data(*command) == inside
    assert inside.code == 0
    assert dual_data(*command, "--project", tmp_path).code == 2, "a folder that was named must be a project"


def test_stages_of_a_project_are_among_the_tables(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "pipeline" / "links.py"
    more = '    own: int = 3\n    """A key of the project\'s own."""\n'
    path.write_text(path.read_text("utf-8").replace("    cap: int =", f"{more}    cap: int ="), encoding="utf-8")
    out = dual_data("keys", "links", "--project", tmp_path).out
    assert "\n\nown: whole number; default 3\n    A key of the project's own.\n\ncap: " in out
    forget_pipeline()
