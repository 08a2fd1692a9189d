"""Dumps of given sizes, read and counted, beside plain decompression and first versions: python -m benchmarks.dumps."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.dumps import generate
from dual_data.sources.dumps.manifests import FOLDER

ROOT = Path(__file__).resolve().parents[2]


class Run(NamedTuple):
    """A measurement."""

    done: int
    seconds: float
    cpu: float
    peak_megabytes: float


def main() -> None:
    """Generate what is not there yet, measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dumps", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go; kept for the next run")
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows of pagelinks; 0 to leave out")
    parser.add_argument("--lines", type=int, default=10_000_000, help="lines of N-Triples; 0 to leave out")
    parser.add_argument("--links", type=int, nargs="*", default=[10_000_000, 50_000_000, 200_000_000])
    parser.add_argument("--plain-up-to", type=int, default=10_000_000, help="largest count of the plain version")
    parser.add_argument("--spark", action="store_true", help="the smallest and the largest count on Spark too")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    chosen = parser.parse_args()
    print(f"load of this machine before the runs: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if chosen.rows:
        path = _ready(generate.pagelinks, chosen.folder / f"pagelinks-{chosen.rows}", chosen.rows)
        works = ["unpack", "unpack_with_python", "parse_links", "take_in", "parse_links_plainly"]
        _table(f"pagelinks.sql.gz, {path.stat().st_size / 1e6:.0f} MB", "rows", works, path, chosen.repeat)
    if chosen.lines:
        path = _ready(generate.truthy, chosen.folder / f"truthy-{chosen.lines}", chosen.lines)
        works = ["unpack", "unpack_with_python", "parse_triples", "take_in", "parse_triples_plainly"]
        _table(f"truthy.nt.gz, {path.stat().st_size / 1e6:.0f} MB", "lines", works, path, chosen.repeat)
    for links in chosen.links:
        path = chosen.folder / f"wiki-{links}"
        if not path.is_dir():
            generate.wiki(path.with_suffix(".new"), links).rename(path)
        works = ["group", "count_some", "count_all"]
        works += ["count_on_spark"] if chosen.spark and links in (min(chosen.links), max(chosen.links)) else []
        works += ["count_plainly"] if links <= chosen.plain_up_to else []
        _table(f"{links / 1e6:.0f} M links", "links", works, path, chosen.repeat)


def _ready(make: Callable[[Path, int], Path], folder: Path, size: int) -> Path:
    made = sorted(folder.glob("*.gz"))
    return made[0] if made else make(folder, size)


def _table(title: str, unit: str, works: list[str], path: Path, repeat: int) -> None:
    print(f"\n{title}\n{'':<24}{'wall s':>9}{'cpu s':>9}{'M ' + unit + '/s':>13}{'peak MB':>9}{'ratio':>8}", flush=True)
    first: Run | None = None
    for work in works:
        best = min((_measure(work, path) for _ in range(repeat)), key=lambda run: run.seconds)
        first = first or best
        # Decompression counts bytes.
        rate = f"{best.done / best.seconds / 1e6:.2f}" if not work.startswith("unpack") else "-"
        print(
            f"{work:<24}{best.seconds:>9.2f}{best.cpu:>9.2f}{rate:>13}{best.peak_megabytes:>9.0f}"
            f"{best.seconds / first.seconds:>8.1f}",
            flush=True,
        )


def _measure(work: str, path: Path) -> Run:
    if work == "take_in":
        shutil.rmtree(path.parent / FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.dumps.measured", work, str(path.resolve())]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Run(**json.loads(printed.splitlines()[-1]))


if __name__ == "__main__":
    main()
