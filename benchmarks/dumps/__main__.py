"""Dumps of given sizes, read and counted, beside plain decompression and first versions: python -m benchmarks.dumps."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ROOT
from benchmarks.dumps import generate
from benchmarks.dumps.report import rendered
from benchmarks.machine import machine
from benchmarks.readme import record
from dual_data.sources.dumps.manifests import FOLDER

PACKAGES = ("polars", "pyarrow", "isal", "narwhals", "pyspark")
UNPACK = ["unpack", "unpack_with_python"]
FILES = {
    "pagelinks": (generate.pagelinks, "rows", [*UNPACK, "parse_links", "take_in", "parse_links_plainly"]),
    "linktarget": (generate.linktarget, "rows", [*UNPACK, "parse_titles", "take_in", "parse_titles_plainly"]),
    "truthy": (generate.truthy, "lines", [*UNPACK, "parse_triples", "take_in", "parse_triples_plainly"]),
}
COUNTS = ["group", "count_some", "count_all"]
SPARK = ["count_on_spark_1", "count_on_spark_2"]


def main() -> None:
    """Generate missing files, measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dumps", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go; kept for the next run")
    parser.add_argument("--rows", type=int, default=20_000_000, help="rows of pagelinks; 0 to leave out")
    parser.add_argument("--titles", type=int, default=5_000_000, help="rows of linktarget; 0 to leave out")
    parser.add_argument("--lines", type=int, default=10_000_000, help="lines of N-Triples; 0 to leave out")
    parser.add_argument("--links", type=int, nargs="*", default=[10_000_000, 50_000_000, 200_000_000])
    parser.add_argument("--plain-up-to", type=int, default=10_000_000, help="largest count of the plain version")
    parser.add_argument("--spark", action="store_true", help="the smallest and the largest count on Spark too, once")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--out", type=Path, help="JSON file for machine, load and all measurements")
    parser.add_argument("--record", action="store_true", help="write results.json and the end of the README")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat: 1 or more")
    results: dict[str, Any] = {"machine": machine(PACKAGES), "repeat": options.repeat, "tables": []}
    print(f"load before the runs: {os.getloadavg()[0]:.1f} on {results['machine']['cores']} cores", flush=True)
    for name, size in (("pagelinks", options.rows), ("linktarget", options.titles), ("truthy", options.lines)):
        if size:
            make, unit, works = FILES[name]
            path = _ready(make, options.folder / f"{name}-{size}", size)
            results["tables"].append(_table(name, size, unit, works, path, options.repeat))
            _write(options.out, results)
    for links in options.links:
        path = options.folder / f"wiki-{links}"
        if not path.is_dir():
            shutil.rmtree(path.with_suffix(".new"), ignore_errors=True)
            generate.wiki(path.with_suffix(".new"), links).rename(path)
        works = COUNTS + (SPARK if options.spark and links in (min(options.links), max(options.links)) else [])
        works += ["count_plainly"] if links <= options.plain_up_to else []
        results["tables"].append(_table("wiki", links, "links", works, path, options.repeat))
        _write(options.out, results)
    if options.record:
        record(Path(__file__).parent, results, rendered(results))


def _ready(make: Callable[[Path, int], Path], folder: Path, size: int) -> Path:
    files = sorted(folder.glob("*.gz"))
    return files[0] if files else make(folder, size)


def _write(path: Path | None, results: dict[str, Any]) -> None:
    """Called after every table, so that a stopped run leaves its results."""
    if path is not None:
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _table(name: str, size: int, unit: str, works: Sequence[str], path: Path, repeat: int) -> dict[str, Any]:
    load = os.getloadavg()[0]
    title = f"{name}, {size:,} {unit}" + (f", {path.stat().st_size / 1e6:.0f} MB packed" if path.is_file() else "")
    print(f"\n{title}\n{'':<24}{'wall s':>9}{'cpu s':>9}{'M ' + unit + '/s':>13}{'peak MB':>9}{'ratio':>8}", flush=True)
    measured: dict[str, dict[str, float]] = {}
    for work in works:
        runs = [_measure(work, path) for _ in range(1 if work in SPARK else repeat)]
        best = measured[work] = min(runs, key=lambda run: run["seconds"])
        best["ratio"] = best["seconds"] / measured[works[0]]["seconds"]
        # Decompression counts bytes.
        rate = f"{best['done'] / best['seconds'] / 1e6:.2f}" if work not in UNPACK else "-"
        print(
            f"{work:<24}{best['seconds']:>9.2f}{best['cpu']:>9.2f}{rate:>13}{best['peak_megabytes']:>9.0f}"
            f"{best['ratio']:>8.1f}" + (f"   after {best['start']:.1f} s of start" if best["start"] > 1 else ""),
            flush=True,
        )
    imported = (path.parent if path.is_file() else path) / FOLDER
    return {
        "name": name, "size": size, "unit": unit, "load": round(load, 1),
        "packed_megabytes": path.stat().st_size / 1e6 if path.is_file() else None,
        "imported_megabytes": sum(file.stat().st_size for file in imported.rglob("*.parquet")) / 1e6,
        "measured": measured,
    }  # fmt: skip


def _measure(work: str, path: Path) -> dict[str, float]:
    if work == "take_in":
        shutil.rmtree(path.parent / FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "benchmarks.dumps.measured", work, str(path.resolve())]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    run: dict[str, float] = json.loads(printed.splitlines()[-1])
    return run


if __name__ == "__main__":
    main()
