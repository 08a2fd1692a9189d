"""Standard column names for every DUAL-like table: with the published names, with ours, or of label triplets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dual_data.audit import grammar
from dual_data.audit.table_files import refuse_mixed
from dual_data.errors import InputError
from dual_data.ids import MINTED
from dual_data.sources.tables.files import misspelt


class Column(NamedTuple):
    """A column of the standard frame: its name, its type, and its possible names in a table, best first.

    A name whose column has no values counts only if no other of the names has any.
    """

    name: str
    dtype: type[pl.DataType]
    names: tuple[str, ...]


_SIGNALS = ("popularity", "pop_sum", "inbound_links", "sitelinks", "mentions")
POPULARITY = (*_SIGNALS, *(f"subject_{name}" for name in _SIGNALS))
"""Columns with a fact's popularity, by whatever signal, best first."""

COLUMNS = (
    Column("question", pl.String, ("question",)),
    Column("answer", pl.String, ("answer", "objectLabel", "object_label")),
    Column("relation", pl.String, ("relation", "property_id", "property_pid")),
    Column("stated_relation", pl.String, ("relation",)),
    Column("property_id", pl.String, ("property_id", "property_pid")),
    Column("subject", pl.String, ("subject", "subjectLabel", "subject_label")),
    Column("subject_label", pl.String, ("subject_label", "subjectLabel", "subject")),
    Column("subject_id", pl.String, ("subject_qid",)),
    Column("object_id", pl.String, ("object_qid",)),
    Column("object_kind", pl.String, ("object_kind",)),
    Column("objects_of_pair", pl.Float64, ("objects_of_pair",)),
    Column("popularity", pl.Float64, POPULARITY),
)
"""`stated_relation` is the relation from the table, never one parsed from the question, which would always agree with
the question; `subject` is the subject as named in the question, `subject_label` its bare label; `popularity` is
whatever signal the table has. Numbers are Float64, because beside empty cells pandas writes 1 as "1.0"."""

PARSED_SHARE = 0.95
"""Share of questions of the published form from which on a table without subjects or relations gets them from these."""


class Table(NamedTuple):
    """A table under standard names; columns that it lacks are null.

    `names_subjects`: it has both the subject as named in the question and its bare label.
    `lists_objects`: it has triplets without questions, so that its rows list all objects.
    """

    rows: pl.DataFrame
    names_subjects: bool
    lists_objects: bool


def is_auditable(columns: list[str]) -> bool:
    """Whether a table with these columns has question-answer pairs or triplets."""
    names = {column.name for column in COLUMNS if _source(column, columns)}
    return {"question", "answer"} <= names or {"subject", "relation", "answer"} <= names


def expect_texts(frame: pl.DataFrame, file: Path) -> None:
    """Raise `InputError` for an auditable table, of `file`, whose necessary columns hold lists or objects."""
    needed = [column for column in COLUMNS if column.name in _needed(frame)]
    sources = [source for column in needed if (source := _source(column, frame.columns))]
    for source in sources:
        if frame[source].dtype.is_nested() and frame[source].count():
            raise InputError(f"{file}: {_not_text(frame[source], frame)}")
    refuse_mixed(file, frame, sources)


def standard(frame: pl.DataFrame, where: str = "the table", say: Callable[[str], None] = lambda _: None) -> Table:
    """The table under standard names.

    `say` gets a line for every optional column with values of the wrong type, which are left out, and for every column
    whose name is nearly that of an absent one.

    Raises `InputError` if it has neither question and answer nor subject, relation and object, one text for each row.
    """
    if not is_auditable(frame.columns):
        raise InputError(
            f"{where}: no question-answer pairs and no triplets in the columns {', '.join(frame.columns)}. "
            "The audit needs question and answer, or subjectLabel, relation and objectLabel (or dual-data's own names)."
        )
    lists_objects = "question" not in frame.columns
    needed = _needed(frame)
    filled = [series.name for series in frame if series.null_count() < frame.height]
    columns, messages = dict[str, pl.Series](), dict[str, str]()
    for column in COLUMNS:
        source = _source(column, filled) or _source(column, frame.columns)
        series = pl.repeat(None, frame.height, eager=True) if source is None else frame[source]
        columns[column.name], lost = _typed(series, column.dtype)
        if lost and column.name in needed:
            raise InputError(f"{where}: {_not_text(series, frame)}")
        if lost and source:
            kind = "text" if column.dtype == pl.String else "finite number"
            messages[source] = (
                f"{where}: {lost} value(s) of the column {source} are left out, since they are not a {kind}"
            )
    absent = [name for column in COLUMNS if not _source(column, frame.columns) for name in column.names]
    for name, meant in misspelt(frame.columns, absent):
        messages[name] = f"{where}: column {name} is not read; it would be if it were named {meant}"
    for line in messages.values():
        say(line)
    # An empty cell is null in a CSV file but an empty text in JSON: both become null.
    texts, ids = pl.col(pl.String), pl.col("subject_id", "object_id")
    rows = pl.DataFrame(columns).with_columns(pl.when(texts.str.strip_chars() != "").then(texts))
    # An id that was minted from a label says no more than the label: two things of one name have one.
    rows = rows.with_columns(pl.when(~ids.str.starts_with(MINTED)).then(ids))
    if _absent(rows, "subject") or _absent(rows, "relation"):
        rows = _with_parsed(rows)
    return Table(rows=rows, names_subjects={"subject", "subject_label"} <= set(filled), lists_objects=lists_objects)


def _needed(frame: pl.DataFrame) -> tuple[str, ...]:
    return ("question", "answer") if "question" in frame.columns else ("subject", "relation", "answer")


def _source(column: Column, columns: list[str]) -> str | None:
    return next((name for name in column.names if name in columns), None)


def _typed(series: pl.Series, dtype: type[pl.DataType]) -> tuple[pl.Series, int]:
    """The column as this type, and how many of its values are null because they are not of this type."""
    if dtype != pl.String and series.dtype == pl.String:
        series = series.str.strip_chars().replace("", None)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    values = pl.repeat(None, len(series), dtype=dtype, eager=True)
    if not series.dtype.is_nested():
        with suppress(pl.exceptions.PolarsError):  # Of types that cannot be cast at all.
            values = series.cast(dtype, strict=False)
    if values.dtype.is_float():
        values = values.set(~values.is_finite(), None)
    return values, series.count() - values.count()


def _not_text(series: pl.Series, frame: pl.DataFrame) -> str:
    """Message on what a column of a table holds instead of texts, and what to do."""
    nested = "lists" if isinstance(series.dtype, pl.List | pl.Array) else "objects"
    holds = nested if series.dtype.is_nested() else f"values of type {series.dtype}"
    advice = "; write one JSON object per row: in pandas, to_json(..., orient='records', lines=True)"
    hint = advice if frame.height == 1 and all(dtype.is_nested() for dtype in frame.dtypes) else ""
    return f"the column {series.name} holds {holds}, but the audit needs one text per row{hint}"


def _absent(rows: pl.DataFrame, column: str) -> bool:
    return rows[column].null_count() == rows.height


def _with_parsed(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with relation and subject parsed from "What is the RELATION of SUBJECT?" if nearly all are of this form."""
    questions = [grammar.parse(text) if text else None for text in rows["question"]]
    if sum(question is not None for question in questions) < PARSED_SHARE * max(rows["question"].count(), 1):
        return rows
    phrases = pl.Series([question.phrase if question else None for question in questions], dtype=pl.String)
    subjects = pl.Series([question.rest if question else None for question in questions], dtype=pl.String)
    return rows.with_columns(
        pl.col("relation").fill_null(phrases),
        pl.col("subject").fill_null(subjects),
        pl.col("subject_label").fill_null(subjects),
    )
