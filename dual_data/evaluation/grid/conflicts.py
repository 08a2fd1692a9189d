"""Finds results of other rows or settings in the folder of a grid, which no report could combine with the grid's.

They are refused, or set aside in replaced/ of that folder, which has the folder's layout and which nothing reads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dual_data.errors import InputError
from dual_data.evaluation.results import (
    BASE,
    adapter_path,
    cell_path,
    heads_of,
    measured_cells,
    read_result,
    run_path,
)
from dual_data.evaluation.settings import PRETRAINED
from dual_data.system.files import in_turn
from dual_data.text.display import some_of

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid

_BY_LIMIT = ("panel", "stage.rows")
"""Settings that a limit changes besides the rows of the data."""
_OF_SET = ("set", "data.forget", "data.preferred")
_OF_METHOD = ("method", "code", "options", "data.preferred")
_OF_UNLEARNING = ("preset", "optimisation", "lora")
"""Settings that a model before unlearning does not have."""


def refuse_mixing(grid: Grid, cells: Sequence[Cell]) -> None:
    """Raise InputError where a report could not combine a cell to run with an existing result: see `conflicting`."""
    if found := conflicting(grid, cells):
        name, cell = min(found.items(), key=lambda entry: cells.index(entry[1]))
        provenance = _provenance(grid, [name])
        names = (provenance and _differing(grid, cell, provenance)) or "named by another version"
        raise InputError(
            f"{grid.folder}: holds results with other rows or settings than the cells to run "
            f"({names}), such as {cell_path(grid.folder, name)} for {cell.label}. They cannot be reported or compared "
            "together with new results: give a changed preset another name, which keeps both, name another folder with "
            "--out, or set the old results aside with --replace"
        )


def conflicting(grid: Grid, cells: Sequence[Cell]) -> dict[str, Cell]:
    """Ids of the results that no report could combine with the cells to run, each with one of these cells.

    That is a result with the cell's coordinates but another identity, or one of another set, method, learning rate or
    seed with another recipe. Of results that differ in learning rate and seed alone only one is read. Failed results do
    not count: they have no measurement, and are a reason to change settings.
    """
    measured = measured_cells(grid.folder)
    # A cell that is already measured is run only for its adapter and gives the same result.
    new_cells = [(cell, grid.coordinates(cell)) for cell in cells if cell.id not in measured]
    by_key = {coordinates_key(coordinates): cell for cell, coordinates in new_cells}
    new_kinds: dict[tuple[str, ...], Cell] = {}
    for new_cell, coordinates in new_cells:
        new_kinds.setdefault(_kind(coordinates), new_cell)
    found = {name: cell for name, old in measured.items() if (cell := by_key.get(coordinates_key(old)))}
    ids_by_kind: dict[tuple[str, ...], list[str]] = {}
    for name, coordinates in measured.items():
        ids_by_kind.setdefault(_kind(coordinates), []).append(name)
    for kind, names in ids_by_kind.items():  # those of one kind have one recipe, else they had been refused
        comparable = [cell for new_kind, cell in new_kinds.items() if new_kind[2:] == kind[2:]]
        if comparable and not found.keys() >= set(names):
            provenance = _provenance(grid, names)  # read once: a result has megabytes of items
            if provenance and (
                other := next((cell for cell in comparable if _differing(grid, cell, provenance)), None)
            ):
                found = dict.fromkeys(names, other) | found
    return found


def superseded(grid: Grid, cells: Sequence[Cell]) -> list[str]:
    """Ids of results that have the coordinates of one of the cells but another identity, whether or not it has a result
    of its own.

    Failed ones do not stand in the way, but nothing ever runs them again: they are of rows, settings or code that
    changed. Beside a cell's own result, as where an earlier run went on after its results were set aside, no report can
    be made of either.
    """
    keys = {coordinates_key(grid.coordinates(cell)) for cell in cells}
    ids = {cell.id for cell in cells}
    return [
        name for name, head in heads_of(grid.folder).items() if name not in ids and coordinates_key(head.cell) in keys
    ]


def moving(folder: Path) -> AbstractContextManager[None]:
    """Holds off other runs that set results of the folder aside, until the block ends: one would take what another has
    just moved for what was there from an earlier time."""
    return in_turn(folder / "claims" / "replaced.lock")


def set_aside(folder: Path, ids: Sequence[str]) -> Path:
    """Move results with their runs, adapters and attacks to replaced/ of a grid's folder, which is returned, and the
    report there, which would be taken for one of the results that replace them: as report-2 beside an earlier one."""
    replaced = folder / "replaced"
    stems = ("report" if number == 1 else f"report-{number}" for number in count(1))
    stem = next(stem for stem in stems if not any(replaced.glob(f"{stem}.*")))
    for path in folder.glob("report.*") if ids else ():
        _move(path, replaced / f"{stem}{path.suffix}")
    for name in ids:
        for path in (adapter_path(folder, name), folder / "attacks" / name, run_path(cell_path(folder, name))):
            _move(path, replaced / path.relative_to(folder))
        # Last, so that what an interrupted run has not moved completely is found again.
        _move(cell_path(folder, name), cell_path(replaced, name))
    return replaced


def _move(path: Path, target: Path) -> None:
    if path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)


def settings_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that results of several seeds and learning rates must have in common, by dotted name."""
    settings = _flat(identity)
    if settings.get("model.weights"):
        settings.pop("model.spec", None)  # the same weights may have another name
    return {name: value for name, value in settings.items() if name not in ("lr", "seed", "stage.seed")}


def differing_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of settings that should be equal but differ; fewer must be equal between two sets or two methods."""
    may_differ: tuple[str, ...] = _OF_SET if old["set"] != new["set"] else ()
    if old["method"] != new["method"]:
        may_differ += _OF_METHOD + (_OF_UNLEARNING if BASE in (old["method"], new["method"]) else ())
    shared = (name for name in sorted({*old, *new}) if not {name, name.partition(".")[0]} & {*may_differ})
    return [name for name in shared if old.get(name) != new.get(name)]


def coordinates_key(coordinates: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Key of a result's coordinates; the pretrained model before unlearning is the same for all seeds."""
    seedless = (coordinates["stage"], coordinates["method"]) == (PRETRAINED, BASE)
    return tuple(sorted((dict(coordinates) | ({"seed": 0} if seedless else {})).items()))


def _kind(coordinates: Mapping[str, Any]) -> tuple[str, ...]:
    """Coordinates of a result except learning rate and seed: set, method, then those within which recipes agree."""
    return tuple(str(coordinates[name]) for name in ("set", "method", "data", "model", "stage", "preset", "profile"))


def _provenance(grid: Grid, names: Sequence[str]) -> Mapping[str, Any] | None:
    """The provenance of the first of these results; None where another run has just set all aside."""
    for path in (cell_path(grid.folder, name) for name in names):
        try:
            return read_result(path, run=False)["provenance"]
        except InputError:
            if path.exists():
                raise
    return None


def _differing(grid: Grid, cell: Cell, provenance: Mapping[str, Any]) -> str:
    """Differences between a result and a cell, for a message: the limit, where it changes the rows, and settings."""
    # As in a file, which has lists for tuples.
    settings = settings_of(json.loads(json.dumps(cell.identity)))
    names = differing_settings(settings_of(provenance["identity"]), settings)
    old_limit, new_limit = provenance["limit"], grid.settings.limit or None
    if old_limit != new_limit and any(name.startswith("data.") for name in names):
        rest = [name for name in names if not name.startswith("data.") and name not in _BY_LIMIT]
        names = [f"{_limit(old_limit)} there, {_limit(new_limit)} here", *rest]
    return some_of(names)


def _limit(rows: int | None) -> str:
    return f"limit {rows}" if rows else "no limit"


def _flat(values: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Values of nested tables by dotted name."""
    by_name: dict[str, Any] = {}
    for name, value in values.items():
        by_name |= _flat(value, f"{under}{name}.") if isinstance(value, Mapping) else {f"{under}{name}": value}
    return by_name
