"""The cells that runs were asked for, kept beside their results so that a report can say what is missing.

planned.json   format, and the coordinates of every planned cell by id, as in results; merged over runs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_data.errors import InputError
from dual_data.evaluation.grid.conflicts import coordinates_key
from dual_data.evaluation.results import read_json, write_json
from dual_data.system.files import in_turn

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid

FILE = "planned.json"
_FORMAT = 1
_ADVICE = "remove it, and the next run writes it again"


def keep_plan(grid: Grid, cells: Sequence[Cell]) -> None:
    """Add cells to the plan in the folder of a grid.

    A cell replaces one with the same coordinates but other rows or settings, whose result failed or was removed.
    """
    new = {cell.id: grid.coordinates(cell) for cell in cells}
    if new.keys() <= read_plan(grid.folder).keys():
        return
    with in_turn(grid.folder / "claims" / "planned.lock"):  # so that runs that start at once keep each other's cells
        old = read_plan(grid.folder)
        keys = {coordinates_key(coordinates) for coordinates in new.values()}
        kept = {name: coordinates for name, coordinates in old.items() if coordinates_key(coordinates) not in keys}
        write_json(grid.folder / FILE, {"format": _FORMAT, "cells": kept | new})


def read_plan(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Coordinates of the planned cells by id; empty without a plan, as beside results that were copied alone.

    Raises InputError for a file that is no plan or has another format.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    plan = read_json(path, _ADVICE)
    if not isinstance(plan, dict) or plan.get("format") != _FORMAT or not isinstance(plan.get("cells"), dict):
        raise InputError(f"{path}: not a list of planned cells of this version; {_ADVICE}")
    cells: dict[str, dict[str, Any]] = plan["cells"]
    return cells
