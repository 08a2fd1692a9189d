"""One set of column names for every DUAL-like table: the published names, ours, and bare label triplets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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


def standard(frame: pl.DataFrame, where: str = "the table", say: Callable[[str], None] = lambda _: None) -> Table:
    """The table under standard names.

    An `answer` that is a number into a list of `choices` or `options` is looked up there. `say` gets a line for every
    column that the table may lack and that holds other values than its name says; these are left out.

    Raises `InputError` where it has neither question and answer nor subject, relation and object, one text a row.
    """
    if not is_auditable(frame.columns):
        raise InputError(
            f"{where}: no question-answer pairs and no triplets in the columns {', '.join(frame.columns)}. "
            "The audit needs question and answer, or subjectLabel, relation and objectLabel (or dual-data's own names)."
        )
    lists_objects = "question" not in frame.columns
    needed = ("subject", "relation", "answer") if lists_objects else ("question", "answer")
    frame = _with_chosen(frame)
    found, left_out = dict[str, pl.Series](), dict[str, str]()
    for column in COLUMNS:
        source = _source(column, frame.columns)
        given = pl.repeat(None, frame.height, eager=True) if source is None else frame[source]
        found[column.name], lost = _typed(given, column.dtype)
        if lost and column.name in needed:
            raise InputError(f"{where}: {_not_text(given)}")
        if lost and source:
            kind = "text" if column.dtype == pl.String else "finite number"
            left_out[source] = f"{where}: {lost} value(s) of the column {source} are no {kind}, and left out"
    for line in left_out.values():
        say(line)
    # An empty cell of a CSV file is null, one of JSON a text; neither asks or answers anything.
    texts = pl.col("question", "answer")
    rows = pl.DataFrame(found).with_columns(pl.when(texts.str.strip_chars() != "").then(texts))
    if _absent(rows, "subject") or _absent(rows, "relation"):
        rows = _with_parsed(rows)
    return Table(
        rows=rows,
        names_subjects={"subject", "subject_label"} <= set(frame.columns),
        lists_objects=lists_objects,
    )


def _source(column: Column, columns: list[str]) -> str | None:
    prefixed = tuple(f"subject_{name}" for name in column.names) if column.name == "popularity" else ()
    return next((name for name in (*column.names, *prefixed) if name in columns), None)


def _with_chosen(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with texts for answers that are indices into a list, as those of multiple-choice sets are."""
    lists = [name for name in ("choices", "options") if isinstance(frame.schema.get(name), pl.List)]
    if not lists or not frame.schema.get("answer", pl.String()).is_integer():
        return frame
    index = pl.col("answer")
    chosen = pl.col(lists[0]).list.get(pl.when(index >= 0).then(index), null_on_oob=True)
    return frame.with_columns(answer=chosen)


def _typed(given: pl.Series, dtype: type[pl.DataType]) -> tuple[pl.Series, int]:
    """The column as this type, and how many of its values are none of it: they are null."""
    if dtype != pl.String and given.dtype == pl.String:
        given = given.str.strip_chars().replace("", None)
    if given.dtype.is_float():
        given = given.fill_nan(None)
    values = pl.repeat(None, len(given), dtype=dtype, eager=True)
    if not given.dtype.is_nested():
        with suppress(pl.exceptions.PolarsError):  # Of types that cannot be cast at all.
            values = given.cast(dtype, strict=False)
    if values.dtype.is_float():
        values = values.set(~values.is_finite(), None)
    return values, given.count() - values.count()


def _not_text(given: pl.Series) -> str:
    """What a column holds in place of texts, and what to do."""
    nested = "lists" if isinstance(given.dtype, pl.List | pl.Array) else "objects"
    holds = nested if given.dtype.is_nested() else f"values of type {given.dtype}"
    hint = "; write one JSON object a row: in pandas, to_json(..., orient='records', lines=True)"
    return f"the column {given.name} holds {holds}, and the audit needs one text a row{hint if len(given) == 1 else ''}"


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
