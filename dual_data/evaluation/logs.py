"""Saved generations as logs: results of cells, logs in open-unlearning's format, lines of other code.

Open-unlearning's log is one JSON object, plain or gzipped: {section: {"agg_value": mean, "value_by_index": {"0": {
"input", "ground_truth", "generation", "rouge1_recall", "rougeL_f1", "rougeL_recall"}}}}. Where a question has several
answers, each of these values is a list. A .jsonl file holds the answers of any other code, as `LINE` says.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from dual_data.errors import InputError
from dual_data.evaluation.metrics.summary import summarise
from dual_data.evaluation.metrics.text import TEXT_SCORES
from dual_data.evaluation.results import WORDING_SCORES, ItemRow, Result, is_result, json_files, read_results
from dual_data.evaluation.rows.attack_prompts import asks_for_subject
from dual_data.text.matching import ObjectKind, kind_of

LINE = (
    "a line needs `generation` and `answer` (a text) or `answers` (a list of accepted texts, the first of them the "
    f"reference); `question`, `kind` ({', '.join(get_args(ObjectKind))}) and `set` are optional"
)
"""What a line of a .jsonl file holds."""


class LogItem(NamedTuple):
    """One scored generation of a log."""

    section: str
    answer: str
    answers: tuple[str, ...]
    generation: str
    scores: Mapping[str, float]
    """Scores as logged."""
    kind: ObjectKind = "entity"
    line: int = 0
    """Its line in a .jsonl file, from 1; 0 in other logs."""


class Log(NamedTuple):
    """A log: its items, and the logged mean (`agg_value`) of each section."""

    items: tuple[LogItem, ...]
    aggregates: Mapping[str, float]
    other_sections: tuple[str, ...] = ()
    """Sections without generations."""
    cell: Mapping[str, Any] = MappingProxyType({})
    """Coordinates of the cell whose result it is; empty for other logs."""
    wordings: tuple[LogItem, ...] = ()
    """Of a result: the answers to other wordings of its items and to attacks, which are not counted as items."""
    means: tuple[tuple[str, float, float], ...] = ()
    """Of a result: every mean of its sets, by set, recomputed from the scores of its items, and as it stands there."""


def read_log(path: Path) -> Log:
    """Read a log in any of the formats. Raises InputError that says what is wrong and where."""
    raw = _read(path)
    if ".jsonl" in path.suffixes:
        lines = enumerate(raw.splitlines(), 1)
        items = [
            _line_item(f"{path}: line {number}", line)._replace(line=number) for number, line in lines if line.strip()
        ]
        # Beside other sets, "all" would read as their union.
        without_set = "no set" if any(item.section for item in items) else "all"
        log = Log(tuple(item._replace(section=item.section or without_set) for item in items), {})
    else:
        log = _log(path, _parsed(raw, path, "; JSON lines go in a .jsonl file"))
    if not log.items:
        raise InputError(f"{path}: {'the file has no lines' if not raw.strip() else 'the log holds no items'}")
    return log


def read_logs(path: Path) -> Iterator[tuple[Path, Log]]:
    """The log of a file, or of every result with items in a folder. Raises InputError for a folder without any."""
    if not path.is_dir():
        yield path, read_log(path)
        return
    if not json_files(path / "cells"):
        # A folder of logs also holds summaries and settings, so every file would have to be checked.
        raise InputError(
            f"{path}: holds no results: a folder to score must be one that `dual-data eval run` wrote, with cells/ in "
            "it; name logs of open-unlearning file by file"
        )
    has_items = False
    for file, result in read_results(path):
        if (log := _log(file, result)).items:
            has_items = True
            yield file, log
    if not has_items:
        raise InputError(f"{path}: none of its results holds items")


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not readable: {error}") from error


def _parsed(raw: bytes, where: Path | str, advice: str = "") -> Any:
    try:
        return json.loads(raw, parse_int=_integer)
    except RecursionError:
        raise InputError(f"{where}: not readable as JSON: too many brackets inside each other{advice}") from None
    except ValueError as error:
        raise InputError(f"{where}: not readable as JSON: {error}{advice}") from error


def _integer(digits: str) -> int | float:
    """An integer; infinite where no float can hold it."""
    return int(digits) if len(digits) < 300 else float(digits)


def _log(path: Path, data: Any) -> Log:
    """A log that is one JSON object: a result of a cell, or open-unlearning's."""
    if is_result(data):
        try:
            return _of_result(data)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InputError(f"{path}: not readable: {error!r}; remove it and run the cell again") from error
    all_sections = data if isinstance(data, dict) else {}
    sections = {name: section for name, section in all_sections.items() if _holds_generations(section)}
    if not sections:
        raise InputError(
            f"{path}: neither a result of this version of `dual-data eval run` nor a log of open-unlearning (sections "
            "with `value_by_index` that hold generations); answers of other code go in a .jsonl file"
        )
    items = [
        _their_item(path, name, index, row)
        for name, section in sections.items()
        for index, answers in section["value_by_index"].items()
        for row in _by_answer(answers)
    ]
    aggregates = {
        name: float(section["agg_value"])
        for name, section in sections.items()
        if isinstance(section.get("agg_value"), int | float)
    }
    return Log(tuple(items), aggregates, tuple(name for name in all_sections if name not in sections))


def _holds_generations(section: Any) -> bool:
    """Whether a section holds generations to score; others hold likelihoods, or aggregates of aggregates."""
    rows = section.get("value_by_index") if isinstance(section, dict) else None
    return isinstance(rows, dict) and any(
        # Sections of classifiers repeat the generation without the ground truth.
        isinstance(row, dict) and "ground_truth" in row
        for row in rows.values()
    )


def _by_answer(row: Any) -> list[Any]:
    """One row per answer: for a question with several answers, every value in its row is a list."""
    generations = row.get("generation") if isinstance(row, dict) else None
    if not (isinstance(generations, list) and generations):
        return [row]
    return [
        {
            name: value[index] if isinstance(value, list) and len(value) == len(generations) else value
            for name, value in row.items()
        }
        for index in range(len(generations))
    ]


def _their_item(path: Path, section: str, index: str, row: Any) -> LogItem:
    where = f"{path}: {section}.value_by_index.{index}"
    answer, generation = _text(row, "ground_truth", where), _text(row, "generation", where)
    scores = {name: float(value) for name, value in row.items() if _is_number(value)}
    return LogItem(section, answer, (answer,), generation, scores)


def _of_result(result: Result) -> Log:
    items, wordings = list[LogItem](), list[LogItem]()
    for name, rows in result["items"].items():
        for row in rows:
            answers, kind = tuple(row["answers"]), kind_of(row["kind"])
            scores = {score: float(row["scores"][score]) for score in TEXT_SCORES if score in row["scores"]}
            items.append(LogItem(name, row["ground_truth"], answers, str(row["generation"]), scores, kind))
            wordings += _wordings(row, items[-1])
    return Log(tuple(items), {}, (), result["cell"], tuple(wordings), tuple(_means(result)))


def _wordings(row: ItemRow, item: LogItem) -> Iterator[LogItem]:
    """The answers to other wordings of an item's question, and to attacks."""
    subject = LogItem(item.section, row["subject"], (row["subject"],), "", {})
    for wording in (*row["paraphrases"], *row["attacks"]):
        logged = wording["scores"]
        scores = {name: float(logged[name]) for name in TEXT_SCORES if name in WORDING_SCORES and name in logged}
        of_subject = asks_for_subject(str(wording.get("attack")), row["subject"], row["ground_truth"])
        asked = subject if of_subject else item
        yield asked._replace(generation=str(wording["generation"]), scores=scores)


def _means(result: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Every mean of a result by set, recomputed and as it stands there; where a model diverged there is none."""
    for name, logged in result["summary"].items():
        for score, value in summarise(result["items"][name], logged["baseline"]).items():
            if logged.get(score) is not None:
                yield name, math.inf if value is None else value, float(logged[score])


def _line_item(where: str, line: bytes) -> LogItem:
    """The item of a line; its section is empty where the line has no set."""
    content = _parsed(line, where)
    row = {key: value for key, value in content.items() if value is not None} if isinstance(content, dict) else {}
    answers = row.get("answers", [])
    accepted = [*([row["answer"]] if "answer" in row else []), *(answers if isinstance(answers, list) else [None])]
    generation, kind, section = row.get("generation"), row.get("kind", "entity"), row.get("set", "")
    if "" in accepted:
        raise InputError(f"{where}: an answer is empty, and nothing can be compared with it; {LINE}")
    kinds = get_args(ObjectKind)
    if isinstance(kind, str) and kind not in kinds:
        raise InputError(f"{where}: unknown kind {kind!r}; known: {', '.join(kinds)}")
    if unfit := [name for name in TEXT_SCORES if name in row and not _is_number(row[name])]:
        raise InputError(
            f"{where}: {unfit[0]} is {str(row[unfit[0]])[:40]!r}, not a number; correct it or leave it out"
        )
    is_right = {
        "generation": isinstance(generation, str),
        "answer or answers": accepted and all(isinstance(text, str) for text in accepted),
        "kind": kind in kinds,
        "set": isinstance(section, str),
    }
    if wrong := [key for key, right in is_right.items() if not right]:
        raise InputError(f"{where}: missing or of the wrong type: {', '.join(wrong)}; {LINE}")
    scores = {name: float(row[name]) for name in TEXT_SCORES if name in row}
    return LogItem(section, accepted[0], tuple(accepted), str(generation), scores, kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a text under {key!r}")
    return value
