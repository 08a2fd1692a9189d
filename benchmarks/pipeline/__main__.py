"""Run both versions, each in its own process, and print the tables: python -m benchmarks.pipeline [FOLDER]."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.pipeline.outcome import Outcome, read

ROOT = Path(__file__).resolve().parents[2]
MATCHED = ("imports", "facts", "questions", "splits")
"""What both versions do."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "wikidata_triplets")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each version; the fastest counts (default 3)")
    parser.add_argument("--only", choices=("ours", "with_pandas"), help="run one version alone")
    chosen = parser.parse_args()
    if not any(chosen.folder.glob("*.csv")):
        parser.error(f"{chosen.folder}: no CSV files of subjectLabel, relation, objectLabel there")
    print(f"load of this machine before the runs: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    versions = [chosen.only] if chosen.only else ["ours", "with_pandas"]
    best = {version: fastest(version, chosen.folder, chosen.repeat) for version in versions}
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


def fastest(version: str, folder: Path, repeat: int) -> Outcome:
    """The run of least total time, each in a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.pipeline.{version}", str(ROOT), str(folder.resolve())]
    runs = []
    for _ in range(repeat):
        printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        runs.append(read(printed))
    return min(runs, key=lambda run: sum(run.seconds.values()))


def times(best: dict[str, Outcome]) -> list[str]:
    """Wall (and processor) seconds by part, rows a second, peak memory, and how many times faster ours is."""
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
    if len(best) > 1:
        same = len({run.digest for run in best.values()}) == 1
        ratio = totals["with_pandas"] / totals["ours"]
        lines.append(
            f"\nours is {ratio:.1f} times as fast; the members of all splits are {'equal' if same else 'DIFFERENT'}"
        )
    return lines


def capacities(run: Outcome) -> list[str]:
    """How many rows each split has, and could have."""
    lines = []
    for recipe, splits in run.splits.items():
        made = sum(rows > 0 for rows, _ in splits.values())
        lines += ["", f"{recipe}: {made} of {len(splits)} splits made", f"  {'split':<44}{'rows':>7}{'holds':>8}"]
        lines += [f"  {split:<44}{rows or '-':>7}{holds:>8}" for split, (rows, holds) in splits.items()]
    return lines


if __name__ == "__main__":
    main()
