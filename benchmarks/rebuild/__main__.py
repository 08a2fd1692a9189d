"""`python -m benchmarks.rebuild make DIR`, then `run DIR` until it says that it is done; `report DIR` prints it again;
`kill DIR` builds anew under kills and compares (make a small world for that: --subjects 300).

The published triplets are read from $DUAL_DATA_REFERENCE/wikidata_triplets, by default ../shared/data. A run may be
stopped and started again at any time; `--minutes` stops it by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks.rebuild.kill import killed
from benchmarks.rebuild.report import report
from benchmarks.rebuild.run import run_piece
from benchmarks.rebuild.services import load
from benchmarks.rebuild.world import ROOT, Rehearsal, build


def reference() -> Path:
    """Folder of the published triplets."""
    folder = Path(os.environ.get("DUAL_DATA_REFERENCE", ROOT.parent / "shared" / "data")) / "wikidata_triplets"
    if not folder.is_dir():
        raise SystemExit(f"{folder}: not there; set DUAL_DATA_REFERENCE to the folder that holds wikidata_triplets/")
    return folder


def world_of(folder: Path) -> Rehearsal:
    """The world that `make` put there: the same every time."""
    size = (folder / "subjects.txt").read_text().strip()
    return build(reference(), int(size) if size else None)


def make(folder: Path, subjects: int | None) -> None:
    """Write the world as Turtle and load it into a store."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "subjects.txt").write_text(str(subjects or ""))
    rehearsal = build(reference(), subjects)
    (folder / "world.ttl").write_text(rehearsal.world.turtle(), encoding="utf-8")
    shutil.rmtree(folder / "store", ignore_errors=True)
    load(folder / "world.ttl", folder / "store")
    world = rehearsal.world
    print(f"{len(world.items):,} items, {len(world.statements):,} statements; traps: {dict(rehearsal.planted)}")


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="benchmarks.rebuild", description=__doc__)
    parser.add_argument("command", choices=("make", "run", "report", "kill"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--subjects", type=int, help="make: about so many subjects instead of all")
    parser.add_argument("--minutes", type=float, default=600.0, help="run: stop after so long, to go on later")
    parser.add_argument("--times", type=int, default=50, help="kill: how often")
    chosen = parser.parse_args()
    if chosen.command == "make":
        make(chosen.folder, chosen.subjects)
        return
    rehearsal = world_of(chosen.folder)
    if chosen.command == "run":
        state = run_piece(chosen.folder, rehearsal, 60 * chosen.minutes)
        if not state["done"]:
            print(f"stopped after piece {state['pieces']}; run the same command again")
            return
    if chosen.command == "kill":
        with tempfile.TemporaryDirectory(prefix="kill-", dir=chosen.folder) as scratch:
            print(killed(Path(scratch), rehearsal, chosen.times))
        return
    print(report(chosen.folder, rehearsal))


if __name__ == "__main__":
    main()
