"""Run both versions, each in its own process, and print the tables: python -m benchmarks.pipeline [FOLDER]."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import ROOT, reference
from benchmarks.pipeline.outcome import Outcome, read

MATCHED = ("imports", "facts", "questions", "splits")
"""The parts of a run that all versions have."""
VERSIONS = {"ours": ("ours",), "with_pandas": ("with_pandas",), "pandas_objects": ("with_pandas", "--objects")}
"""Module and options: pandas with its own strings, and with Python's, which were its default before version 3."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=reference("wikidata_triplets"))
    parser.add_argument(
        "--repeat", type=int, default=2, help="runs of each version after the first; the fastest counts"
    )
    parser.add_argument("--only", choices=VERSIONS, help="run one version alone")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat: 1 or more")
    if not any(options.folder.glob("*.csv")):
        parser.error(f"{options.folder}: no CSV files of subjectLabel, relation, objectLabel there")
    print(f"load of this machine before the runs: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    versions = [options.only] if options.only else list(VERSIONS)
    best = {version: fastest(version, options.folder, options.repeat) for version in versions}
    for line in times(best):
        print(line)
    first = next(iter(best.values()))
    steps = {
        "triplets": first.rows,
        "facts": first.facts,
        "questions": first.questions,
        "rows of splits": first.members,
    }
    print("\n" + " -> ".join(f"{count} {name}" for name, count in steps.items()))
    print("\nremoved by rule")
    for reason, count in first.removed.items():
        print(f"  {reason:<22}{count:>8}")
    if "ours" in best:
        for line in capacities(best["ours"]):
            print(line)
    if len({run.digest for run in best.values()}) > 1:
        raise SystemExit("the versions chose different members")


def fastest(version: str, folder: Path, repeat: int) -> Outcome:
    """The fastest run; each runs in a process of its own."""
    module, *options = VERSIONS[version]
    command = [sys.executable, "-m", f"benchmarks.pipeline.{module}", str(ROOT), str(folder.resolve()), *options]
    runs = []
    with tempfile.TemporaryDirectory() as compiled:
        # Modules are compiled once, as after any installation, even if the environment forbids writing bytecode.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        for _ in range(repeat + 1):
            printed = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            runs.append(read(printed.stdout))
    return min(runs[1:], key=lambda run: sum(run.seconds.values()))


def times(best: dict[str, Outcome]) -> list[str]:
    """Wall (and processor) seconds by part, rows per second, peak memory, and how many times as fast ours is."""
    lines = [f"{'wall (cpu) s':<14}" + "".join(f"{version:>18}" for version in best)]
    parts = dict.fromkeys(part for run in best.values() for part in run.seconds)
    for part in parts:
        cells = (f"{run.seconds[part]:.2f} ({run.cpu[part]:.2f})" if part in run.cpu else "-" for run in best.values())
        lines.append(f"{part:<14}" + "".join(f"{cell:>18}" for cell in cells))
    totals = {version: sum(run.seconds[part] for part in MATCHED) for version, run in best.items()}
    busy = {version: sum(run.cpu[part] for part in MATCHED) for version, run in best.items()}
    cells = (f"{totals[version]:.2f} ({busy[version]:.2f})" for version in best)
    lines.append(f"{'same steps':<14}" + "".join(f"{cell:>18}" for cell in cells))
    lines.append(f"{'rows a second':<14}" + "".join(f"{run.rows / totals[v]:>18.0f}" for v, run in best.items()))
    lines.append(f"{'peak memory':<14}" + "".join(f"{run.peak_megabytes:>15.0f} MB" for run in best.values()))
    lines.append(f"{'members':<14}" + "".join(f"{run.digest[:12]:>18}" for run in best.values()))
    if "ours" in best:
        for other in (version for version in best if version != "ours"):
            same = "equal" if best[other].digest == best["ours"].digest else "DIFFERENT"
            wall, cpu = (totals[other] / totals["ours"], busy[other] / busy["ours"])
            lines.append(f"ours is {wall:.1f} times as fast as {other} (cpu {cpu:.1f}); the members are {same}")
    return lines


def capacities(run: Outcome) -> list[str]:
    """How many rows each split has and could have."""
    lines = []
    for recipe, splits in run.splits.items():
        count = sum(rows > 0 for rows, _ in splits.values())
        lines += ["", f"{recipe}: {count} of {len(splits)} splits made", f"  {'split':<44}{'rows':>7}{'holds':>8}"]
        lines += [f"  {split:<44}{rows or '-':>7}{holds:>8}" for split, (rows, holds) in splits.items()]
    return lines


if __name__ == "__main__":
    main()
