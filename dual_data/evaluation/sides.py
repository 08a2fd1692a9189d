"""Which results a side of a comparison stands for: one file, or all seeds of one setting in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dual_data.errors import InputError
from dual_data.evaluation.results import BASE, Head, has_coordinate, head_of, json_files, read_result

Cells = Mapping[Path, Mapping[str, Any]]
"""Coordinates of results by path."""


def side_files(side: Path) -> list[Path]:
    """The results of a side, which differ in seed alone.

    A side is a result, or a folder, a grid's or one of results. Where a folder has several settings, coordinates after
    a colon choose one of them, as in `FOLDER:method=NPO,lr=1e-4`. Failed results of a folder are left out. Raises
    InputError that lists what is known.
    """
    folder, coordinates = _parted(side)
    if folder.is_dir():
        return list(_narrowed(side, _cells(folder), coordinates))
    _head(folder)
    return [folder]


def setting(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Coordinates of a result except its seed."""
    return {name: value for name, value in cell.items() if name != "seed"}


def _parted(side: Path) -> tuple[Path, list[tuple[str, str]]]:
    """The path of a side and its coordinates."""
    name, colon, text = str(side).rpartition(":")
    if side.exists() or not colon:
        return side, []
    while not Path(name).is_dir():  # values may have colons too
        shorter, colon, value = name.rpartition(":")
        if not colon:
            raise InputError(f"{name}: no such folder of results")
        name, text = shorter, f"{value}:{text}"
    pairs = [part.partition("=") for part in text.split(",")]
    return Path(name), [(coordinate.strip(), value.strip()) for coordinate, _, value in pairs]


def _cells(folder: Path) -> Cells:
    """The measured results of a grid's folder, or of a folder of results."""
    cells = folder / "cells"
    heads = {path: _head(path) for path in json_files(cells if cells.is_dir() else folder)}
    measured = {path: head.cell for path, head in heads.items() if head.status != "failed"}
    if not measured:
        raise InputError(f"{folder}: holds no measured result; name the folder of a grid, or a file below its cells/")
    return measured


def _head(path: Path) -> Head:
    if (head := head_of(path)) is not None:
        return head
    try:
        result = read_result(path)  # laid out in another way, or no result, which this says
    except InputError as error:
        if not path.is_file() or path.parent.name == "cells":
            raise
        raise InputError(
            f"{path}: not a complete result of this version of `dual-data eval run`: a side of a comparison is one, a "
            "file in cells/ of its folder, or FOLDER:method=NPO,lr=1e-4 for all seeds of a setting there. Generations "
            "of other code and logs are scored, file by file, by `dual-data eval score`"
        ) from error
    return Head(result["cell"], result["status"])


def _narrowed(side: Path, cells: Cells, coordinates: Sequence[tuple[str, str]]) -> Cells:
    """The results with these coordinates. Raises InputError where there are none, or of several settings."""
    for name, text in coordinates:
        if not any(name in cell for cell in cells.values()):
            names = dict.fromkeys(known for cell in cells.values() for known in cell)
            raise InputError(f"{side}: unknown coordinate {name!r}; known: {', '.join(names)}")
        matching = {path: cell for path, cell in cells.items() if _equals(cell.get(name), text)}
        if not matching:
            raise InputError(f"{side}: no result has {name}={text}; known: {_listed(cells, name)}")
        cells = matching
    if differing := _differing(cells):
        example = min(
            cells.values(), key=lambda cell: (cell["method"] == BASE, [str(cell.get(name)) for name in differing])
        )
        values = "; ".join(f"{name}: {_listed(cells, name)}" for name in differing)
        raise InputError(
            f"{side}: its results differ in more than their seed ({values}); name one setting, as in "
            f"{side}{',' if coordinates else ':'}{_spelled(example, differing)}"
        )
    return cells


def _differing(cells: Cells) -> list[str]:
    """Coordinates besides the seed in which results differ."""
    names = dict.fromkeys(name for cell in cells.values() for name in setting(cell))
    return [name for name in names if len(_values(cells, name)) > 1]


def _values(cells: Cells, name: str) -> list[Any]:
    return sorted({cell[name] for cell in cells.values() if has_coordinate(cell, name)})


def _listed(cells: Cells, name: str) -> str:
    return ", ".join(map(str, _values(cells, name))) or "none"


def _spelled(cell: Mapping[str, Any], names: Sequence[str]) -> str:
    return ",".join(f"{name}={cell[name]}" for name in names if has_coordinate(cell, name))


def _equals(value: Any, text: str) -> bool:
    try:
        return bool(type(value)(text) == value)  # 1e-4 is 0.0001
    except (TypeError, ValueError):
        return False
