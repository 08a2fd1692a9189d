"""Results of other rows or settings in the folder that a grid is to write to: no report could take both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dual_data.errors import InputError
from dual_data.evaluation.results import BASE, cell_path, head_of, json_files, read_result
from dual_data.evaluation.settings import PRETRAINED

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid

Place = tuple[tuple[str, Any], ...]

_BY_LIMIT = ("panel", "stage.rows")
"""What a limit changes beside the rows of the data."""
_NAMED = 3
"""Settings that a message names; the files hold them all."""
_OF_SET = ("set", "data.forget", "data.preferred")
_OF_METHOD = ("method", "options", "data.preferred")
_OF_UNLEARNING = ("preset", "optimisation", "lora")
"""What a model before unlearning has not."""


def refuse_mixing(grid: Grid, cells: Sequence[Cell]) -> None:
    """Raise InputError where a cell without a result would stand beside one that a report could not take with it.

    That is one of its place with another identity, or one of other sets, methods, learning rates or seeds with another
    recipe. Of old results the heads are read, and few whole. Those that failed were not measured: they stand in no
    cell's way, and settings are changed because of them.
    """
    kept = {path.stem: head for path in json_files(grid.folder / "cells") if (head := head_of(path))}
    measured = {name: head.cell for name, head in kept.items() if head.status != "failed"}
    # What is measured already is run for its adapter alone, and gives the same result.
    new = [(cell, grid.place(cell)) for cell in cells if cell.id not in measured]
    old = {place_key(place): name for name, place in measured.items()}
    met = next(((cell, name) for cell, place in new if (name := old.get(place_key(place)))), None)
    if met is None:
        kinds = {_kind(place): cell for cell, place in reversed(new)}
        known = {name: _kind(place) for name, place in sorted(measured.items())}
        nearest = [(cell, _nearest(kind, known)) for kind, cell in reversed(kinds.items())]
        met = next(((cell, name) for cell, name in nearest if name and _differing(grid, cell, name)), None)
    if met is not None:
        cell, name = met
        names = _differing(grid, cell, name) or "named by another version"
        raise InputError(
            f"{grid.folder}: holds results of other rows or settings than the cells to run "
            f"({names}), such as {cell_path(grid.folder, name)} for {cell.label}. Results of "
            "both can be neither reported nor compared: name another folder with --out, or remove the old results"
        )


def settings_of(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of several seeds and learning rates must have in common, by dotted name."""
    found = _flat(identity)
    if found.get("model.weights"):
        found.pop("model.spec", None)  # the same weights by another name
    return {name: value for name, value in found.items() if name not in ("lr", "seed", "stage.seed")}


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of what settings should have in common and have not: less of two sets, of two methods, and before one."""
    apart: tuple[str, ...] = _OF_SET if old["set"] != new["set"] else ()
    if old["method"] != new["method"]:
        apart += _OF_METHOD + (_OF_UNLEARNING if BASE in (old["method"], new["method"]) else ())
    shared = (name for name in sorted({*old, *new}) if not {name, name.partition(".")[0]} & {*apart})
    return [name for name in shared if old.get(name) != new.get(name)]


def some_of(names: Sequence[str]) -> str:
    """Some names for a message."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def place_key(place: Mapping[str, Any]) -> Place:
    """Where in a report a result stands; the pretrained model before unlearning is one for all seeds."""
    seedless = (place["stage"], place["method"]) == (PRETRAINED, BASE)
    return tuple(sorted((dict(place) | ({"seed": 0} if seedless else {})).items()))


def _kind(place: Mapping[str, Any]) -> tuple[str, ...]:
    """Coordinates of a result but learning rate and seed: set, method, and those in which recipes are compared."""
    return tuple(str(place[name]) for name in ("set", "method", "data", "model", "stage", "preset", "profile"))


def _nearest(kind: tuple[str, ...], known: Mapping[str, tuple[str, ...]]) -> str:
    """The first result by name, of those of `known` kinds, with most of its recipe in common with cells of a kind.

    Empty where none has any.
    """

    def common(found: tuple[str, ...]) -> tuple[bool, bool, bool]:
        return (found[1] == kind[1], BASE not in (found[1], kind[1]), found[0] == kind[0])

    others = [name for name, found in known.items() if found[2:] == kind[2:]]
    return max(others, key=lambda name: common(known[name]), default="")


def _differing(grid: Grid, cell: Cell, name: str) -> str:
    """What differs between a result and a cell: the limit, where the rows do for it, and settings."""
    known = read_result(cell_path(grid.folder, name))["provenance"]
    # As a file has it: with lists for tuples.
    here = settings_of(json.loads(json.dumps(cell.identity)))
    names = difference(settings_of(known["identity"]), here)
    was, now = known["limit"], grid.settings.limit or None
    if was != now and any(name.startswith("data.") for name in names):
        others = [name for name in names if not name.startswith("data.") and name not in _BY_LIMIT]
        names = [f"{_limit(was)} there, {_limit(now)} here", *others]
    return some_of(names)


def _limit(rows: int | None) -> str:
    return f"limit {rows}" if rows else "no limit"


def _flat(values: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Values of nested tables by dotted name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{under}{name}.") if isinstance(value, Mapping) else {f"{under}{name}": value}
    return found
