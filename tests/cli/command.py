"""Runs the command line in this process, with its output as a user sees it."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dual_data.cli import main

ROOT = Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def dual_data(*arguments: str | Path) -> Outcome:
    """Run `dual-data ARGUMENTS`; any exception but SystemExit fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
    return Outcome(code, out.getvalue(), err.getvalue())


def copy_project(target: Path) -> Path:
    """A copy of the repository's project, which tests may change."""
    for name in ("pipeline", "prompts"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@contextlib.contextmanager
def own_project(target: Path, *relations: str) -> Iterator[Path]:
    """A copy of the repository's project, with all its relations or the given ones, loaded as in a new process."""
    forget_pipeline()
    for path in (copy_project(target) / "pipeline" / "relations").glob("*.toml"):
        if relations and path.stem not in (*relations, "EXCLUDED"):
            path.unlink()
    yield target
    forget_pipeline()


@contextlib.contextmanager
def project_on_table(target: Path, profile: str, table: str) -> Iterator[Path]:
    """An own project with one relation, P30, whose profile `mine` finds its facts in a table of countries."""
    with own_project(target, "P30") as root:
        (root / "tables").mkdir()
        (root / "tables" / "places_country.csv").write_text(table)
        (root / "pipeline" / "mine.toml").write_text(profile)
        yield root


def forget_pipeline() -> None:
    """Unload the loaded project, as in a new process."""
    for name in [name for name in sys.modules if name == "pipeline" or name.startswith("pipeline.")]:
        del sys.modules[name]
