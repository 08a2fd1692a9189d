"""The result of a cell: cells/ID.json, with the same bytes whenever the cell is run again, and its run: runs/ID.json.

The same bytes: at the same commit, on the same device, with the same packages, threads, and cells and rows at once;
otherwise the same scores up to rounding. Each file is written completely or not at all, the run's first, so that a cell
with a result has both. Reading joins them: the second is `run` of `Result`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from dual_data.errors import InputError
from dual_data.ids import digest
from dual_data.system.files import write_text
from dual_data.system.progress import Progress
from dual_data.text.matching import ObjectKind

FORMAT = 3
BASE = "none"
"""The method of cells that unlearn nothing: they measure a stage's model before unlearning."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Names of an adapter's files, as in peft."""

_START = 4096
"""Bytes that include everything up to the status, which is written before all long parts."""
_END = b"}\n"
_HEAD = re.compile(rf'\{{"format":{FORMAT},"id":"[^"]*","base":"[^"]*","grid":.*?,"cell":(\{{.*?\}}),"status":"(\w+)"')


class Wording(TypedDict):
    """The answer to one wording of an item's question."""

    question: str
    generation: str
    scores: dict[str, Any]
    """Numbers by name; None where nothing of the kind was asked and, in files, for numbers that are not finite."""


class AttackWording(Wording):
    """The answer to one attack prompt."""

    attack: str


WORDING_SCORES = (
    "contains_answer",
    "rougeL_recall",
    "probability",
    "mean_log_probability",
    "first_rank",
    "change_mean_log_probability",
    "change_entropy",
    "change_log_rank",
    "kl",
)
"""Scores kept for paraphrases and attack prompts, of which there are many; items have all. The change of the log rank
is of the first token, the other changes are of all tokens."""


class AnswerTokens(TypedDict):
    """Figures of the answer under teacher forcing, by token."""

    log_p: list[float]
    rank: list[int]
    answer_tokens: int
    """Number of tokens without the turn's end."""


class ItemRow(Wording):
    """A measured item; generation and scores are those of its canonical question."""

    id: str
    subject: str
    relation: str
    popularity: float | None
    ground_truth: str
    answers: list[str]
    kind: ObjectKind
    ended: bool
    """Whether the generation ended before the limit."""
    tokens: AnswerTokens
    distractors: NotRequired[list[float]]
    """Mean log-probability of a token of each wrong answer that the question was scored with, as in the truth ratio;
    results of earlier versions have none."""
    paraphrases: list[Wording]
    attacks: list[AttackWording]


class Training(TypedDict):
    """The course of training; loss, parts and norm by step, None where not finite."""

    steps: int
    loss: Sequence[float | None]
    parts: Mapping[str, Sequence[float | None]]
    """Parts of the loss."""
    gradient_norm: Sequence[float | None]
    notes: Mapping[str, float]
    """Notes of method and run."""
    token_ids: dict[str, str]
    """Hash of the tokens of the rows of each kind."""


class RunRecord(TypedDict, total=False):
    """How the run of a cell went: everything in which equal runs can differ. Empty where nothing was measured."""

    finished: str
    training_seconds: float
    """Of all cells that were run at once, as the next five are."""
    measuring_seconds: float
    devices: float
    """How many were busy for each cell; more than one where they share a base and have too few cells for all."""
    cells_at_once: int
    rows_at_once: int
    """Rows of a measurement batch."""
    tokens: int | None
    """Tokens that went through the model in training; None before unlearning."""
    gpu_hours: float
    stage_seconds: float
    """Of the cell's training stage: spent once, but recorded in every cell that starts from it."""
    stage_gpu_hours: float
    peak_memory_bytes: int | None
    """Taken from the device at the peak, with the memory of graphs; None on a CPU."""
    notes: list[str]
    """Such as a halved batch."""


class Result(TypedDict):
    """The result of a cell."""

    format: int
    """Version of this layout."""
    id: str
    base: str
    """Id of the cell before unlearning with which this cell is compared."""
    grid: str
    cell: dict[str, Any]
    """The cell's coordinates in the grid."""
    status: str
    """done | stopped (diverged or at a limit; measured in that state) | failed (not measured)"""
    reason: str
    """Why the cell was stopped or failed; empty where done."""
    summary: Mapping[str, Mapping[str, float | None]]
    """By set, the mean of every score."""
    training: Training | None
    """None before unlearning."""
    provenance: dict[str, Any]
    """All settings that change a number; hashes of weights and data, template, packages, device, git state."""
    items: Mapping[str, list[ItemRow]]
    """By set."""
    panel: NotRequired[dict[str, Any]]
    """The utility panel, and means of its scores; only where the grid has a panel."""
    panel_items: NotRequired[dict[str, Any]]
    """Scores by question and by text, in the panel's order."""
    run: RunRecord


_KEYS = Result.__annotations__.keys() - {"panel", "panel_items", "run"}
"""What the file of every result has."""


class Head(NamedTuple):
    """The beginning of a result."""

    cell: dict[str, Any]
    """The coordinates of the cell."""
    status: str


def fact_of(row: ItemRow) -> tuple[str, str]:
    """Question and answer of an item, as `Item.fact`."""
    return row["question"], row["ground_truth"]


def cluster_of(row: ItemRow) -> str:
    """The cluster of an item, as `Item.cluster`: what samples are drawn of."""
    return row["subject"] or row["question"]


def seconds_of(run: RunRecord) -> float:
    """What one cell took of the time of those that were run at once."""
    return (run["training_seconds"] + run["measuring_seconds"]) / run["cells_at_once"]


def all_have_numbers(rows: Iterable[ItemRow]) -> bool:
    """Whether the model gave a number for every item: one that diverged did not."""
    return all(row["scores"]["probability"] is not None for row in rows)


def cell_id(identity: Mapping[str, Any]) -> str:
    """Content address of a cell: the same for equal settings, weights and rows."""
    return digest(json.dumps({"format": FORMAT, **identity}, sort_keys=True, ensure_ascii=False))


def cell_path(folder: Path, identifier: str) -> Path:
    """Path of a cell's result."""
    return folder / "cells" / f"{identifier}.json"


def adapter_path(folder: Path, identifier: str) -> Path:
    """Path of a cell's adapter, if it is kept."""
    return folder / "adapters" / identifier


def stages_folder(folder: Path) -> Path:
    """Where trained stages are kept: grids whose folders of results lie side by side share them."""
    return folder.resolve().parent / "stages"


def run_path(cell: Path) -> Path:
    """Path of the record of a cell's run, from the path of its result."""
    return cell.parent.parent / "runs" / cell.name


def write_result(folder: Path, identifier: str, result: Result) -> Path:
    """Write a result and its run, each under its name only once it is complete on disk."""
    path = cell_path(folder, identifier)
    write_json(run_path(path), result.get("run", {}))
    return write_json(path, {key: value for key, value in result.items() if key != "run"})


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a JSON file of one line, under its name only once it is complete on disk."""
    # Not `dump`, which writes many small pieces and is slower.
    text = json.dumps(finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_text(path, text + "\n", lasting=True)
    return path


def is_result(content: Any) -> bool:
    """Whether the content of a JSON file is a result of this layout."""
    return isinstance(content, dict) and content.get("format") == FORMAT and content.keys() >= _KEYS


def read_result(path: Path, *, run: bool = True) -> Result:
    """Read a result with its run, which is empty where the result was copied alone, or without `run`.

    Raises InputError for a file that is no result or of another layout.
    """
    content = read_json(path)
    if not is_result(content):
        cell = cell_path(path.parent.parent, path.stem)
        if path == run_path(cell) and cell.exists():
            raise InputError(f"{path}: says how a run went; its result is {cell}")
        raise InputError(f"{path}: not a result of layout {FORMAT}; run the cell again")
    record = {}
    if run and (of_run := run_path(path)).exists():
        # The cell has its result, so it would not be run again for this file.
        record = read_json(of_run, "remove it, and the result is read without it")
    return cast("Result", content | {"run": record})


def has_coordinate(cell: Mapping[str, Any], name: str) -> bool:
    """Whether a coordinate says something of a cell: before unlearning there is no learning rate."""
    return name in cell and (name != "lr" or cell.get("method") != BASE)


def read_json(path: Path, advice: str = "") -> Any:
    """The content of a JSON file in a results' folder.

    Raises InputError, with `advice` for a damaged file; without one, with that for a result.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        # A result that was cut short is none to a run; one that is damaged elsewhere stays.
        again = "run the grid again" if head_of(path) is None else "remove it and run the grid again"
        raise InputError(f"{path}: not readable: {error}; {advice or again}") from error
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: not readable: {error}") from error


def json_files(folder: Path) -> list[Path]:
    """The JSON files of a folder, by name, without hidden files that a copy from a Mac can leave."""
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def head_of(path: Path) -> Head | None:
    """Coordinates and status of a result, without reading its items.

    None where there is no result of this layout, an incomplete one, or one whose beginning is damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_START).decode(errors="replace")
            file.seek(max(0, path.stat().st_size - len(_END)))
            is_complete = file.read() == _END
    except FileNotFoundError:
        return None
    match = _HEAD.match(start) if is_complete else None
    try:
        return Head(json.loads(match[1]), match[2]) if match else None
    except ValueError:
        return None


def heads_of(folder: Path) -> dict[str, Head]:
    """The beginning of every result in a grid's folder, by id."""
    return {path.stem: head for path in json_files(folder / "cells") if (head := head_of(path))}


def measured_cells(folder: Path) -> dict[str, dict[str, Any]]:
    """Coordinates of the results in a grid's folder that have a measurement, by id."""
    return {name: head.cell for name, head in heads_of(folder).items() if head.status != "failed"}


def read_results(folder: Path, progress: Progress | None = None) -> Iterator[tuple[Path, Result]]:
    """All results below `folder`, by file name. Raises InputError where there are none."""
    paths = json_files(folder / "cells")
    if not paths:
        raise InputError(f"{folder}: no results; run `dual-data eval run` first")
    with (progress or Progress()).task(f"{folder.name}: results read", len(paths)) as advance:
        for path in paths:
            yield path, read_result(path)
            advance(1)


def finite(value: Any) -> Any:
    """The value with numbers that JSON does not have (NaN, infinities) replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
