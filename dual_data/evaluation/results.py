"""What is kept of a cell: cells/ID.json, the same bytes whenever the cell is run again, and how it ran: runs/ID.json.

Each file is written whole or not at all, and that of the run first: a cell that has a result has all that goes with it.
What is read has both parts: the second is `run` of `Result`.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from dual_data.errors import InputError
from dual_data.ids import digest
from dual_data.matching import ObjectKind

FORMAT = 3
BASE = "none"
"""Method of the cells that unlearn nothing: what a stage's model says before."""

_START = 4096
"""Bytes that hold everything up to the status, which stands before all that is long."""
_END = b"}\n"
_HEAD = re.compile(rf'\{{"format":{FORMAT},"id":"[^"]*","base":"[^"]*","grid":.*?,"cell":(\{{.*?\}}),"status":"(\w+)"')


class Wording(TypedDict):
    """What was said to one wording of an item's question."""

    question: str
    generation: str
    scores: dict[str, Any]
    """Numbers by name; None where nothing of the kind was asked, and in a file where the model gave no number."""


class AttackWording(Wording):
    """What was said to one attack."""

    attack: str


class AnswerTokens(TypedDict):
    """The answer under teacher forcing, by token."""

    log_p: list[float]
    rank: list[int]
    answer_tokens: int
    """How many there are without the turn's end."""


class ItemRow(Wording):
    """An item as it was measured; generation and scores are those of its own question."""

    id: str
    subject: str
    relation: str
    popularity: float | None
    ground_truth: str
    answers: list[str]
    kind: ObjectKind
    ended: bool
    """Whether the generation came to its end."""
    tokens: AnswerTokens
    paraphrases: list[Wording]
    attacks: list[AttackWording]


class Training(TypedDict):
    """What happened in training; loss, parts and norm by step, None where that was no number."""

    steps: int
    loss: Sequence[float | None]
    parts: Mapping[str, Sequence[float | None]]
    """Of the loss."""
    gradient_norm: Sequence[float | None]
    notes: Mapping[str, float]
    """Of the method."""
    token_ids: dict[str, str]
    """Hash of the rows of each kind."""


class RunRecord(TypedDict, total=False):
    """How the run of a cell went: what two equal runs differ in. Empty where nothing was measured."""

    finished: str
    training_seconds: float
    measuring_seconds: float
    cells_at_once: int
    rows_at_once: int | None
    gpu_hours: float
    stage_seconds: float
    """Of the training stage that the cell rests on: spent once, and found in every cell that starts from it."""
    stage_gpu_hours: float
    peak_memory_bytes: int | None
    tokens: int | None
    notes: list[str]
    """Such as a halved batch."""


class Result(TypedDict):
    """What is known of a cell."""

    format: int
    """Version of this layout."""
    id: str
    base: str
    """The cell before unlearning that it is compared with."""
    grid: str
    cell: dict[str, Any]
    """What was run: every coordinate of the grid."""
    status: str
    """done | stopped (diverged, or a limit; measured as it then was) | failed (nothing to measure)"""
    reason: str
    """Why it was stopped or failed; empty where done."""
    summary: Mapping[str, Mapping[str, float | None]]
    """By set, means of every score."""
    training: Training | None
    """None before unlearning."""
    provenance: dict[str, Any]
    """Every setting that changes a number; weights, data and token hashes, template, packages, device, git state."""
    items: Mapping[str, list[ItemRow]]
    """By set."""
    panel: NotRequired[dict[str, Any]]
    """Which utility panel was measured, and means; only where the grid has one."""
    panel_items: NotRequired[dict[str, Any]]
    """By question and text, in the panel's order, what they are means of."""
    run: RunRecord


class Head(NamedTuple):
    """What stands first in a result."""

    cell: dict[str, Any]
    """The coordinates of its cell."""
    status: str


def cell_id(identity: Mapping[str, Any]) -> str:
    """Content address of a cell: equal for equal settings, weights and rows."""
    return digest(json.dumps({"format": FORMAT, **identity}, sort_keys=True, ensure_ascii=False))


def cell_path(folder: Path, identifier: str) -> Path:
    """Where the result of a cell is kept."""
    return folder / "cells" / f"{identifier}.json"


def run_path(cell: Path) -> Path:
    """Where it is kept how the run of a cell went, by the path of its result."""
    return cell.parent.parent / "runs" / cell.name


def write_result(folder: Path, identifier: str, result: Result) -> Path:
    """Write a result and its run under their names once each is complete on disk."""
    path = cell_path(folder, identifier)
    write_json(run_path(path), result.get("run", {}))
    return write_json(path, {key: value for key, value in result.items() if key != "run"})


def write_json(path: Path, found: Mapping[str, Any]) -> Path:
    """Write a file of one line that is under its name only once it is complete on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as file:
        # Not `dump`, which writes piece by piece in Python.
        file.write(json.dumps(finite(found), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def read_result(path: Path) -> Result:
    """Read a result with its run, which is empty where a result was copied alone.

    Raises InputError for a file that is none, or of another layout.
    """
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError(f"{path}: not a result of layout {FORMAT}; run the cell again")
    run = run_path(path)
    return cast("Result", found | {"run": read_json(run) if run.exists() else {}})


def read_json(path: Path) -> Any:
    """What a file of a results' folder holds. Raises InputError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not readable: {error}; remove it and run the cell again") from error
    except OSError as error:
        raise InputError(f"{path}: not readable: {error}") from error


def json_files(folder: Path) -> list[Path]:
    """The JSON files of a folder, by name; not those that a copy from a Mac hides there."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def head_of(path: Path) -> Head | None:
    """Coordinates and status of a result, without reading its items.

    None where there is no result of this layout, or one that was cut short.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START).decode(errors="replace")
            file.seek(max(0, path.stat().st_size - len(_END)))
            whole = file.read() == _END
    except FileNotFoundError:
        return None
    found = _HEAD.match(start) if whole else None
    return Head(json.loads(found[1]), found[2]) if found else None


def status_of(path: Path) -> str:
    """Status of a result, without reading its items; empty where there is no result of this layout."""
    head = head_of(path)
    return head.status if head is not None else ""


def read_results(folder: Path) -> Iterator[tuple[Path, Result]]:
    """All results below `folder`, by name. Raises InputError where there is none."""
    paths = json_files(folder / "cells")
    if not paths:
        raise InputError(f"{folder}: no results; run `dual-data eval run` first")
    for path in paths:
        yield path, read_result(path)


def finite(value: Any) -> Any:
    """The same with numbers that JSON has not (NaN, infinities) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
