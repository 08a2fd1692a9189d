"""Questions with their answers, and how they are read from a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import polars as pl

from dual_data.audit.columns import POPULARITY
from dual_data.audit.table_files import json_rows, read_table, refuse_mixed
from dual_data.errors import InputError
from dual_data.ids import digest
from dual_data.sources.tables.files import expect_no_misspelling
from dual_data.text.matching import ObjectKind, kind_of
from dual_data.text.words import reading

_ROW = "row of the file"
_LISTS = ("answers", "paraphrases_test")
_SUBJECT = ("subject", "subjectLabel", "subject_label")
_RELATION = ("relation", "property_id")
_OPTIONAL = (
    *((name,) for name in ("fact_id", "pair", *_LISTS, "object_kind")),
    _SUBJECT,
    _RELATION,
    # A deliberate object_sitelinks is nearly subject_sitelinks.
    tuple(name for name in POPULARITY if not name.startswith("subject_")),
)
"""Names of each column that may be absent."""


class Item(NamedTuple):
    """One question with its answers. Only the order of `popularity` matters, so it may have any unit."""

    id: str
    question: str
    answer: str
    answers: tuple[str, ...]
    """All right ones, `answer` among them."""
    subject: str = ""
    relation: str = ""
    popularity: float | None = None
    paraphrases: tuple[str, ...] = ()
    """Other wordings, held out of training, which test generalisation."""
    kind: ObjectKind = "entity"
    """How answers are compared: names as words, dates and quantities by value."""
    pair: str = ""
    """Shared by the rare and the popular member of a matched pair; empty for none."""

    @property
    def fact(self) -> tuple[str, str]:
        """Question and answer, by which it is known in other sets: a table may give ids only within its file."""
        return self.question, self.answer

    @property
    def reading(self) -> tuple[str, str]:
        """Question and answer as a reader takes them."""
        return reading(self.question), reading(self.answer)

    @property
    def cluster(self) -> str:
        """The subject, or without one the question: facts of one subject are not independent.

        Not the id, which facts of other files may have too.
        """
        return self.subject or self.question


def read_split(
    path: Path | str,
    paraphrases: Mapping[str, Sequence[str]] = MappingProxyType({}),
    *,
    split: str = "",
    relations: Sequence[str] = (),
) -> list[Item]:
    """Rows of a Parquet, CSV, JSON or JSON-lines file with at least the columns question and answer.

    The published columns (subjectLabel, relation, pop_sum) and ours are both understood. `paraphrases` are further
    wordings by question. `split` and `relations` select rows by the columns split and relation. Values of a CSV file
    are taken as text, unchanged; it cannot hold the lists `answers` and `paraphrases_test`. Raises InputError that
    names what is missing, misspelt or has the wrong type.
    """
    path = Path(path)
    wanted = {"split": [split] if split else [], "relation": list(relations)}
    filters = {name: values for name, values in wanted.items() if values}
    required = ("question", "answer", *filters)
    frame = _table_with(path, required)
    absent = [name for names in _OPTIONAL if not set(names) & set(frame.columns) for name in names]
    # Without `answer`, which is nearly `answers`.
    expect_no_misspelling(path, [name for name in frame.columns if name not in required], absent)
    frame = frame.with_row_index(_ROW, offset=1)
    if any(frame.schema.get(name) == pl.String for name in _LISTS):
        # Of lists and a text, polars makes texts: only the file tells which row has the text.
        for number, row in enumerate(json_rows(path), 1):
            for name in _LISTS:
                _texts(row, name, f"{path}: row {number}")
    for name, values in filters.items():
        texts = frame[name].cast(pl.String)
        if unknown := set(values) - set(texts.to_list()):
            known = ", ".join(texts.drop_nulls().unique().sort().to_list()) or "none"
            raise InputError(f"{path}: no row of {name} {', '.join(sorted(unknown))}; it has {known}")
        frame = frame.filter(texts.is_in(values))
    items = [_item(row, paraphrases, f"{path}: row {row[_ROW]}") for row in frame.iter_rows(named=True)]
    if not items:
        raise InputError(f"{path}: the table is empty")
    return list(_with_own_ids(items))


def _with_own_ids(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each with an id of its own: to one that others before it have, a number is added."""
    ids: set[str] = set()
    numbers: dict[str, int] = {}
    for item in items:
        name = item.id
        while name in ids:
            numbers[item.id] = numbers.get(item.id, 1) + 1
            name = f"{item.id}.{numbers[item.id]}"
        ids.add(name)
        yield item._replace(id=name)


def _table_with(path: Path, required: Sequence[str]) -> pl.DataFrame:
    """A table with at least the `required` columns, whose values are neither nested nor bytes."""
    frame = read_table(path)
    if not frame.columns:
        raise InputError(f"{path}: the table is empty")
    if missing := set(required) - set(frame.columns):
        raise InputError(f"{path}: no column {' or '.join(sorted(missing))}; found {', '.join(frame.columns)}")
    for name in required:
        # Bytes: what some writers of Parquet make of a text, without the mark that it is one.
        if (kind := frame.schema[name]).is_nested() or kind == pl.Binary:
            raise InputError(f"{path}: column {name} holds {kind}; write one text per row")
        # Among decimals, 1990 has become 1990.0.
        if kind.is_float() and frame[name].count():
            raise InputError(f"{path}: column {name} holds numbers with decimals; write them as texts")
    refuse_mixed(path, frame, required)
    return frame


def read_paraphrases(path: Path) -> dict[str, list[str]]:
    """Further wordings by question, from a table with the columns question and paraphrase. Raises InputError."""
    columns = ("question", "paraphrase")
    by_question: dict[str, list[str]] = {}
    for question, text in _table_with(path, columns).select(columns).drop_nulls().unique(maintain_order=True).rows():
        by_question.setdefault(str(question), []).append(str(text))
    return by_question


def _item(row: Mapping[str, Any], paraphrases: Mapping[str, Sequence[str]], location: str) -> Item:
    if _is_empty(row["question"]) or _is_empty(row["answer"]):
        raise InputError(f"{location} has no question or no answer")
    question, answer = str(row["question"]), str(row["answer"])
    return Item(
        id=digest(f"{question}\n{answer}") if _is_empty(row.get("fact_id")) else str(row["fact_id"]),
        question=question,
        answer=answer,
        answers=_unique([answer, *_texts(row, "answers", location)]),
        subject=_first(row, _SUBJECT),
        relation=_first(row, _RELATION),
        popularity=_popularity(row, location),
        paraphrases=_unique([*_texts(row, "paraphrases_test", location), *paraphrases.get(question, [])]),
        kind=_kind(row, location),
        pair="" if _is_empty(row.get("pair")) else str(row["pair"]),
    )


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(row[name]) for name in names if not _is_empty(row.get(name))), "")


def _kind(row: Mapping[str, Any], location: str) -> ObjectKind:
    value, kinds = row.get("object_kind"), get_args(ObjectKind)
    if not _is_empty(value) and value not in kinds:
        raise InputError(f"{location}: object_kind is {value!r}; it is one of {', '.join(kinds)}, or empty")
    return kind_of(value)


def _is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: pandas writes NaN there."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def _texts(row: Mapping[str, Any], column: str, location: str) -> list[str]:
    value = row.get(column)
    if _is_empty(value):
        return []
    # A string may be one answer or several with a separator: a wrong guess would change scores silently.
    if not isinstance(value, list) or any(isinstance(text, list | dict) for text in value):
        raise InputError(
            f"{location}: {column} is {str(value)[:40]!r}, not a list of texts: write a list (in Parquet or JSON "
            "lines; a CSV file cannot hold one), or leave the column out"
        )
    if any(isinstance(text, float) for text in value):  # among decimals, 1990 has become 1990.0
        raise InputError(f"{location}: {column} holds numbers with decimals; write them as texts")
    return [str(text) for text in value if not _is_empty(text)]


def _popularity(row: Mapping[str, Any], location: str) -> float | None:
    for name in POPULARITY:
        value: Any = row.get(name)
        if _is_empty(value):
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.inf
        if math.isinf(number):
            raise InputError(f"{location}: {name} is {str(value)[:40]!r}, not a number: correct it, or leave it empty")
        if not math.isnan(number):  # "nan", as a text
            return number
    return None


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def contradicted(facts: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]]) -> list[str]:
    """The questions of `facts`, a question and an answer each, that `others` ask too, but answer otherwise alone."""
    answers: dict[str, set[str]] = {}
    for question, answer in others:
        answers.setdefault(reading(question), set()).add(reading(answer))
    return [
        question
        for question, answer in facts
        if (given := answers.get(reading(question))) is not None and reading(answer) not in given
    ]


def data_hash(items: Sequence[Item]) -> str:
    """Hash of the rows, in order: part of a cell's identity. Pairs only decide which rows there are."""
    return digest(json.dumps([item[:-1] for item in items], ensure_ascii=False))
