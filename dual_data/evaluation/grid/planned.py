"""The cells that runs were asked for, kept beside their results: so that a report can say what is not there yet.

planned.json   format, and by id of every planned cell its coordinates, as results have them; merged over runs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from dual_data.errors import InputError
from dual_data.evaluation.grid.conflicts import place_key
from dual_data.evaluation.results import read_json, write_json

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid

FILE = "planned.json"
_FORMAT = 1


def keep_plan(grid: Grid, cells: Sequence[Cell]) -> None:
    """Add cells to what is planned in the folder of a grid.

    A cell takes the place of one that was planned there with other rows or settings: that failed, or was removed.
    """
    new = {cell.id: grid.place(cell) for cell in cells}
    if new.keys() <= read_plan(grid.folder).keys():
        return
    lock = grid.folder / "claims" / "planned.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):  # of runs that start at once none forgets the other's cells
        old = read_plan(grid.folder)
        places = {place_key(place) for place in new.values()}
        merged = {name: place for name, place in old.items() if place_key(place) not in places} | new
        write_json(grid.folder / FILE, {"format": _FORMAT, "cells": merged})


def read_plan(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Coordinates of the planned cells by id; empty where nothing was kept, as beside results that were copied alone.

    Raises InputError for a file that is none, or of another layout.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise InputError(f"{path}: not a list of planned cells of this version; remove it, the next run writes it anew")
    cells: dict[str, dict[str, Any]] = found["cells"]
    return cells
