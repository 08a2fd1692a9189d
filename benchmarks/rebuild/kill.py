"""A small rehearsal killed again and again: the command line in processes of its own, on the real clock."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.rebuild.chat import Model
from benchmarks.rebuild.project import artifacts_of, make_project
from benchmarks.rebuild.wiki import ActionApi
from benchmarks.rebuild.world import Rehearsal, project_files
from dual_data.engine.manifest import Manifest
from dual_data.engine.tables import content_hash
from tests.faults.proxy import CUT, DROP, RESET, error_500, proxy, too_many
from tests.services.oxigraph import oxigraph

FAULTS = (too_many(1), error_500(), CUT, DROP, RESET)


class Outcome(NamedTuple):
    """The state after the kills."""

    kills: int
    answers: int
    """Calls in the log."""
    repeated: int
    """Answered calls whose row changed afterwards: they were asked again, or lost."""
    same: bool
    """Whether every table equals that of an undisturbed build."""
    leftovers: int
    """Temporary files."""


def killed(folder: Path, rehearsal: Rehearsal, times: int) -> Outcome:
    """Build once without kills, then anew under up to `times` kills, with one answer in twenty failing, and compare."""
    _, relations = project_files()
    rng = random.Random(times)
    with ExitStack() as stack:
        model = Model(rehearsal, relations)
        sparql = stack.enter_context(oxigraph(rehearsal.world.turtle()))
        urls = {}
        answers = {"wikidata": None, "wikipedia": ActionApi(rehearsal), "probe": model, "judge": model}
        for name, answer in answers.items():
            front = stack.enter_context(proxy(sparql, rate=0.05, kinds=FAULTS, seed=times))
            front.answer, front.keep = answer, False
            urls[name] = front.url
        roots = [
            make_project(folder / name, urls, list(rehearsal.members), attempts=9, paced=False)
            for name in ("whole", "killed")
        ]
        began = time.monotonic()
        _finish(roots[0])
        seconds = time.monotonic() - began
        before: dict[str, str] = {}
        repeated = kills = 0
        while kills < times:
            process = _start(roots[1])
            try:
                process.wait(timeout=rng.uniform(0.4, 1.0) * max(2.5, seconds / times))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            after = logged(artifacts_of(roots[1]))
            repeated += sum(after.get(key) != row for key, row in before.items())
            before = after
            if process.returncode != -signal.SIGKILL:  # it ended by itself, so there is nothing left to kill
                break
        _finish(roots[1])
        tables = [_contents(root) for root in roots]
        leftovers = len(list(roots[1].rglob("*.tmp")))
        return Outcome(kills, len(logged(artifacts_of(roots[1]))), repeated, tables[0] == tables[1], leftovers)


def _start(root: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from dual_data.cli import main; main()", "build", "--project", str(root)]
    with (root / "build.log").open("wb") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def _finish(root: Path) -> None:
    code = _start(root).wait(timeout=600)
    if code:
        raise RuntimeError((root / "build.log").read_text())


def logged(artifacts: Path) -> dict[str, str]:
    """Every answered call of a log by key, with the fields that would change if it were asked again."""
    path = artifacts / "calls.sqlite"
    if not path.exists():
        return {}
    connection = sqlite3.connect(path, timeout=10)
    try:
        rows = connection.execute("SELECT key, answered_at || ' ' || attempts || ' ' || hex(answer) FROM calls")
        return dict(rows.fetchall())
    except sqlite3.OperationalError:  # Killed before the table was created.
        return {}
    finally:
        connection.close()


def _contents(root: Path) -> dict[str, Any]:
    contents: dict[str, Any] = {}
    for path in sorted(artifacts_of(root).glob("*/manifest.json")):
        manifest = Manifest.model_validate_json(path.read_bytes())
        stage = path.parent.name
        contents[stage] = {name: table.content for name, table in manifest.outcome.items()}
        if stage == "links":  # past midnight, the day of counting differs
            contents[stage] = content_hash(
                pl.read_parquet(path.with_name("data.parquet"), glob=False).drop("counted_on")
            )
    return contents
