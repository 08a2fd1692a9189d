"""One set of column names for every DUAL-like table: the published names, ours, and bare label triplets."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from dual_data.audit import grammar
from dual_data.errors import InputError


class Column(NamedTuple):
    """A column of the standard frame: its name, type, and the names it may carry in a table, best first."""

    name: str
    dtype: type[pl.DataType]
    names: tuple[str, ...]


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
    Column("objects_of_pair", pl.Int64, ("objects_of_pair",)),
    Column("popularity", pl.Float64, ("popularity", "pop_sum", "inbound_links", "sitelinks", "mentions")),
)
"""`stated_relation` is the relation of the table itself, never one read off the question, which would agree with any
question; `subject` is how the subject stands in the question, `subject_label` its bare label; `popularity` is whatever
signal the table has, also with the prefix `subject_`."""

PARSED_SHARE = 0.95
"""A table without subjects or relations gets them from its questions if this share of them has the published form."""


class Table(NamedTuple):
    """A table under standard names; columns that it lacks are null throughout.

    `names_subjects`: it says how the subject stands in the question and what its bare label is.
    `lists_objects`: it holds triplets without questions, so that its rows are all the objects there are.
    """

    rows: pl.DataFrame
    names_subjects: bool
    lists_objects: bool


def is_auditable(columns: list[str]) -> bool:
    """Whether a table with these columns holds question-answer pairs or triplets."""
    found = {column.name for column in COLUMNS if _source(column, columns)}
    return {"question", "answer"} <= found or {"subject", "relation", "answer"} <= found


def standard(frame: pl.DataFrame, where: str = "the table") -> Table:
    """The table under standard names.

    Raises `InputError` where it has neither question and answer nor subject, relation and object.
    """
    if not is_auditable(frame.columns):
        raise InputError(
            f"{where}: no question-answer pairs and no triplets in the columns {', '.join(frame.columns)}. "
            "The audit needs question and answer, or subjectLabel, relation and objectLabel (or dual-data's own names)."
        )
    try:
        rows = frame.select(_expression(column, frame.columns) for column in COLUMNS)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"{where}: a column does not hold what its name says: {error}") from error
    if _absent(rows, "subject") or _absent(rows, "relation"):
        rows = _with_parsed(rows)
    return Table(
        rows=rows,
        names_subjects={"subject", "subject_label"} <= set(frame.columns),
        lists_objects="question" not in frame.columns,
    )


def _source(column: Column, columns: list[str]) -> str | None:
    prefixed = tuple(f"subject_{name}" for name in column.names) if column.name == "popularity" else ()
    return next((name for name in (*column.names, *prefixed) if name in columns), None)


def _expression(column: Column, columns: list[str]) -> pl.Expr:
    source = _source(column, columns)
    value = (pl.lit(None) if source is None else pl.col(source)).cast(column.dtype)
    if column.name in ("question", "answer"):
        # An empty cell of a CSV file is null, one of JSON a text; neither asks or answers anything.
        value = pl.when(value.str.strip_chars() != "").then(value)
    return value.alias(column.name)


def _absent(rows: pl.DataFrame, column: str) -> bool:
    return rows[column].null_count() == rows.height


def _with_parsed(rows: pl.DataFrame) -> pl.DataFrame:
    """Relation and subject read off questions of the form "What is the RELATION of SUBJECT?", where nearly all are."""
    parsed = [grammar.ask(question) if question else None for question in rows["question"]]
    if sum(asked is not None for asked in parsed) < PARSED_SHARE * max(rows.height, 1):
        return rows
    phrases = pl.Series([asked.phrase if asked else None for asked in parsed], dtype=pl.String)
    subjects = pl.Series([asked.rest if asked else None for asked in parsed], dtype=pl.String)
    return rows.with_columns(
        pl.col("relation").fill_null(phrases),
        pl.col("subject").fill_null(subjects),
        pl.col("subject_label").fill_null(subjects),
    )
