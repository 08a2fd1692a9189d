"""`python -m benchmarks.rebuild make DIR`, then `run DIR` until it says that it is done; `report DIR` prints it again;
`real DIR` asks a real small model about a sample of a finished run's facts; `kill DIR` builds anew under kills and
compares (make a small world for that: --subjects 120).

The published data are read from $DUAL_DATA_REFERENCE, by default ../shared/data. A run may be stopped and started again
at any time; `--minutes` stops it by itself. The figures go to DIR/report.json and, with --record, to results.json and
the README beside this file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import readme, reference
from benchmarks.rebuild.kill import killed
from benchmarks.rebuild.readme import rendered
from benchmarks.rebuild.real import real_piece, real_report
from benchmarks.rebuild.report import record, report, together
from benchmarks.rebuild.run import run_piece
from benchmarks.rebuild.services import load
from benchmarks.rebuild.world import Rehearsal, build

HERE = Path(__file__).parent


def published(name: str) -> Path:
    """Folder of published data: wikidata_triplets or duet."""
    folder = reference(name)
    if not folder.is_dir():
        raise SystemExit(f"{folder}: not there; set DUAL_DATA_REFERENCE to the folder that holds {name}/")
    return folder


def world_of(folder: Path) -> Rehearsal:
    """The world of the folder that `make` wrote: the same every time."""
    size = (folder / "subjects.txt").read_text().strip()
    return build(published("wikidata_triplets"), int(size) if size else None)


def make(folder: Path, subjects: int | None) -> None:
    """Write the world as Turtle and load it into a store."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subjects.txt").write_text(str(subjects or ""))
    rehearsal = build(published("wikidata_triplets"), subjects)
    (folder / "world.ttl").write_text(rehearsal.world.turtle(), encoding="utf-8")
    shutil.rmtree(folder / "store", ignore_errors=True)
    load(folder / "world.ttl", folder / "store")
    world = rehearsal.world
    print(f"{len(world.items):,} items, {len(world.statements):,} statements; traps: {dict(rehearsal.planted)}")


def figures(options: argparse.Namespace) -> dict[str, Any] | None:
    """The results of a command by their names in the results file; None if the command is not finished yet."""
    folder: Path = options.folder
    if options.command == "real":
        if not real_piece(folder, options.facts, 60 * options.minutes)["done"]:
            return None
        return {"real_model": real_report(folder)}
    rehearsal = world_of(folder)
    if options.command == "kill":
        with tempfile.TemporaryDirectory(prefix="kill-", dir=folder) as scratch:
            return {"kills": killed(Path(scratch), rehearsal, options.times)._asdict()}
    if options.command == "run" and not run_piece(folder, rehearsal, 60 * options.minutes)["done"]:
        return None
    return report(folder, rehearsal, published("duet"))


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="benchmarks.rebuild", description=__doc__)
    parser.add_argument("command", choices=("make", "run", "report", "real", "kill"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--subjects", type=int, help="make: about so many subjects instead of all")
    parser.add_argument("--minutes", type=float, default=600.0, help="run, real: stop after so long, to go on later")
    parser.add_argument("--facts", type=int, default=1000, help="real: how many")
    parser.add_argument("--times", type=int, default=50, help="kill: how often")
    parser.add_argument("--record", action="store_true", help="write results.json and the end of the README")
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.subjects)
        return
    results = figures(options)
    if results is None:
        print("stopped before the end; run the same command again")
        return
    record(options.folder / "report.json", results)
    if options.record:
        recorded = together(HERE / "results.json", results)
        readme.record(HERE, recorded, rendered(recorded))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
