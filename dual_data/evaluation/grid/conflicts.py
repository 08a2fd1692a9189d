"""Results of other rows or settings in the folder that a grid is to write to: no report could take both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_data.errors import InputError
from dual_data.evaluation.results import BASE, cell_path, head_of, read_result
from dual_data.evaluation.settings import PRETRAINED

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid

Place = tuple[tuple[str, Any], ...]

_BY_LIMIT = ("panel", "stage.rows")
"""What a limit changes beside the rows of the data."""
_SEEDS = ("seed", "stage.seed")
_NAMED = 3
"""Settings that the message names; the files hold them all."""


def refuse_mixing(grid: Grid, cells: Sequence[Cell]) -> None:
    """Raise InputError where a cell without a result would stand beside one of its place with another identity.

    So it is for a further seed of a training stage, whose place is new, if the model before unlearning has another
    identity with the seeds that are there. Of old results the heads are read, and few whole. Those that failed were not
    measured: they stand in no cell's way, and settings are changed because of them.
    """
    kept = {path.stem: head for path in (grid.folder / "cells").glob("*.json") if (head := head_of(path))}
    measured = {name: head.cell for name, head in kept.items() if head.status != "failed"}
    old = {place_key(place): name for name, place in measured.items()}
    other_seeds = {place_key(place | {"seed": 0}): name for name, place in measured.items() if place["method"] == BASE}
    # What is measured already is run for its adapter alone, and gives the same result.
    new = [(cell, grid.place(cell)) for cell in cells if cell.id not in measured]
    met = [(cell, old[key]) for cell, place in new if (key := place_key(place)) in old]
    for cell, place in new if not met else ():
        name = other_seeds.get(place_key(place | {"seed": 0})) if cell.method == BASE else None
        if name is not None and _differing(cell_path(grid.folder, name), grid, cell):
            met.append((cell, name))
            break
    if met:
        cell, name = met[0]
        path = cell_path(grid.folder, name)
        raise InputError(
            f"{grid.folder}: holds results of other rows or settings than the cells to run "
            f"({_differing(path, grid, cell)}), such as {path} for {cell.label}. Results of both can be neither "
            "reported nor compared: name another folder with --out, or remove the old results"
        )


def place_key(place: Mapping[str, Any]) -> Place:
    """Where in a report a result stands; the pretrained model before unlearning is one for all seeds."""
    seedless = (place["stage"], place["method"]) == (PRETRAINED, BASE)
    return tuple(sorted((dict(place) | ({"seed": 0} if seedless else {})).items()))


def _differing(path: Path, grid: Grid, cell: Cell) -> str:
    """What differs between a result and a cell, but their seeds: the limit, where the rows do for it, and settings."""
    known = read_result(path)["provenance"]
    # As a file has it: with lists for tuples.
    names = [name for name in _paths(known["identity"], json.loads(json.dumps(cell.identity))) if name not in _SEEDS]
    was, now = known["limit"], grid.settings.limit or None
    if was != now and any(name.startswith("data.") for name in names):
        others = [name for name in names if not name.startswith("data.") and name not in _BY_LIMIT]
        names = [f"{_limit(was)} there, {_limit(now)} here", *others]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _limit(rows: int | None) -> str:
    return f"limit {rows}" if rows else "no limit"


def _paths(old: Mapping[str, Any], new: Mapping[str, Any], under: str = "") -> Iterator[str]:
    """Dotted names of what two identities do not have in common."""
    for name in sorted({*old, *new}):
        one, other = old.get(name), new.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _paths(one, other, f"{under}{name}.")
        elif one != other:
            yield f"{under}{name}"
