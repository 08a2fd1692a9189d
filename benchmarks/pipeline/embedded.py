"""The embedded build with a cold log, a warm log, and nothing to do: python -m benchmarks.pipeline.embedded."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import ROOT

BUILD = [sys.executable, "-c", "from dual_data.cli import main; main(['build', '--profile', 'embedded'])"]


class Run(NamedTuple):
    """Time, memory and calls of one build."""

    seconds: float
    processor: float
    """Seconds of all threads."""
    peak_megabytes: float
    """Largest of this and the earlier builds: the system reports all child processes together."""
    calls: int
    """Calls in the log afterwards."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m benchmarks.pipeline.embedded", description=__doc__).parse_args(arguments)
    print(f"load of this machine before the runs: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        for folder in ("pipeline", "prompts"):
            shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
        runs = {"cold log": build(project)}
        for stage in (project / "artifacts" / "embedded").iterdir():
            if stage.is_dir():
                shutil.rmtree(stage)
        runs["warm log"] = build(project)
        runs["nothing to do"] = build(project)
    print(f"{'':<15}{'wall s':>9}{'cpu s':>9}{'peak MB':>9}{'calls made':>12}")
    before = 0
    for title, run in runs.items():
        calls = run.calls - before
        print(f"{title:<15}{run.seconds:>9.1f}{run.processor:>9.1f}{run.peak_megabytes:>9.0f}{calls:>12}")
        before = run.calls


def build(project: Path) -> Run:
    """One build in a process of its own."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(BUILD, cwd=project, check=True, stderr=subprocess.DEVNULL)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    log = sqlite3.connect(project / "artifacts" / "embedded" / "calls.sqlite")
    calls = int(log.execute("SELECT count(*) FROM calls").fetchone()[0])
    log.close()
    return Run(seconds, processor, after.ru_maxrss / 1024, calls)


if __name__ == "__main__":
    main()
