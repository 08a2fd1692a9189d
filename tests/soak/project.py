"""A project of two stages whose service is a folder of files, so that its answers can be counted from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PIPELINE = '''\
"""Asks for numbers, and adds them up."""

import random
import time
from pathlib import Path

import dataframely as dy
import polars as pl

from dual_data.config import Strict
from dual_data.engine.stage import Stage
from dual_data.errors import Transient


class Numbers(dy.Schema):
    n = dy.Int64(primary_key=True)
    answer = dy.String()


class Totals(dy.Schema):
    total = dy.Int64(primary_key=True)


class Params(Strict):
    count: int = 40
    bytes: int = 10
    seconds: float = 0.0
    pause: float = 0.0
    hang: float = 0.0
    request_bytes: int = 0


class None_(Strict):
    pass


def numbers(params, tools):
    asked = tools.project / "asked"

    def do(request):
        time.sleep(params.hang if params.hang and request["n"] >= 8 else params.seconds)
        with (asked / str(request["n"])).open("a") as file:
            file.write("x")
        if params.pause:
            raise Transient("busy", retry_after=params.pause)
        return random.Random(request["n"]).randbytes(params.bytes).hex()

    length = params.request_bytes
    requests = [{"n": n, "padding": random.Random(n).randbytes(length).hex()} for n in range(params.count)]
    answers = tools.calls.fetch_all("own:service", requests, do)
    assert sorted(request["n"] for request, day in tools.calls.answered("own:service")) == list(range(params.count))
    return pl.DataFrame({"n": range(params.count), "answer": answers})


def totals(params, tools, *, numbers):
    return numbers.select(total=pl.col("n").sum())


PIPELINE = (
    Stage("numbers", 1, numbers, Numbers, Params),
    Stage("totals", 1, totals, Totals, None_, inputs=("numbers",)),
)
'''


def make(folder: Path, *, at_once: int = 1, **numbers: object) -> Path:
    """The project in `folder`; `numbers` are parameters of its first stage."""
    (folder / "pipeline").mkdir(parents=True)
    (folder / "asked").mkdir()
    (folder / "pipeline" / "__init__.py").write_text(PIPELINE)
    lines = "".join(f"{name} = {value}\n" for name, value in numbers.items())
    head = f'[project]\nname = "dual"\n\n[services.pace]\nown = {{ concurrency = {at_once} }}\n'
    (folder / "pipeline" / "dual.toml").write_text(f"{head}\n[numbers]\n{lines}")
    return folder


def artifacts(folder: Path) -> Path:
    """What a build writes."""
    return folder / "artifacts" / "dual"


def answer_counts(folder: Path) -> dict[int, int]:
    """How often the service answered each number."""
    return {int(path.name): path.stat().st_size for path in (folder / "asked").iterdir()}


def start(folder: Path, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Begin `dual-data build` in a process of its own; `before` is put in front of its command."""
    command = [*before, sys.executable, "-c", "from dual_data.cli import main; main()", "build"]
    return subprocess.Popen(
        [*command, "--project", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and messages of a build."""
    try:
        _, messages = process.communicate(timeout=600)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, messages
