"""The rows of a SQL dump as frames: through Arrow's CSV reader where a batch of lines allows it, else exactly.

A batch is turned into CSV by one replacement, `),(` to a line feed. Inside a string that replacement is undone: a line
feed never stands there by itself (mysqldump writes `\\n`). Batches that hold what CSV does not know, such as that
escape or strings in hexadecimal digits, go through `sql.rows`, and so do those whose first row it would give otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.csv

from dual_data.sources.dumps.sql import Column, Statement, marks, rows

_ROWS_BETWEEN = b"),("
_NUMBERS_ONLY = bytes.maketrans(b")", b"\n")
_NOTHING = "\0nothing"
"""Name of a column that no table can have."""
_OTHER_ESCAPE = re.compile(rb"\\[^'\"\\]")
_HEXADECIMAL = (b"(0x", b",0x")
"""What begins a string that mysqldump's --hex-blob writes as digits."""
_ARROW = {int: pa.int64(), float: pa.float64(), bytes: pa.binary()}
_POLARS: dict[type, pl.DataType] = {int: pl.Int64(), float: pl.Float64(), bytes: pl.Binary()}


class Rows(NamedTuple):
    """The rows of a batch."""

    frame: pl.DataFrame
    """The columns asked for, by name: Int64, Float64 or String."""
    invalid: int
    """Strings that are not UTF-8; their stray bytes are written as \\xNN."""
    exactly: bool
    """Whether the batch had to be read the slow way."""


def batches(lines: Iterator[Statement], size: int) -> Iterator[Statement]:
    """Neighbouring lines joined, so that neither long nor short ones cost much."""
    waiting: list[Statement] = []
    length = 0
    for line in lines:
        if waiting and (length >= size or line.columns != waiting[0].columns):
            yield _joined(waiting)
            waiting, length = [], 0
        waiting.append(line)
        length += len(line.values)
    if waiting:
        yield _joined(waiting)


def _joined(lines: Sequence[Statement]) -> Statement:
    return lines[-1]._replace(values=b",".join(line.values for line in lines))


def read(batch: Statement, wanted: Sequence[str], path: str) -> Rows:
    """The wanted columns of a batch. Raises InputError where it is not what CREATE TABLE says."""
    frame = _by_arrow(batch, wanted)
    # Other programs than mysqldump put spaces before values, which CSV takes for a part of them.
    exactly = frame is None or not frame.head(1).equals(_exactly(batch, wanted, path, 1))
    if frame is None or exactly:
        frame = _exactly(batch, wanted, path)
    invalid = 0
    for name, dtype in frame.schema.items():
        if dtype == pl.Binary:
            frame, count = _decoded(frame, name)
            invalid += count
    return Rows(frame.select(wanted), invalid, exactly)


def _by_arrow(batch: Statement, wanted: Sequence[str]) -> pl.DataFrame | None:
    """None where CSV cannot say what the batch says."""
    text = batch.values
    if not (text.startswith(b"(") and text.endswith(b")")):
        return None
    if all(column.kind is not bytes for column in batch.columns):
        # Without strings a parenthesis is a parenthesis. Each row then begins with a comma: an empty first column.
        table = _csv(b"," + text.translate(_NUMBERS_ONLY, b"("), batch.columns, wanted, quoted=False)
        return None if table is None else _frame(table)
    # The second search excludes an escaped backslash before a letter.
    if _OTHER_ESCAPE.search(text) and _OTHER_ESCAPE.search(text.replace(rb"\\", b"")):
        return None
    marked = marks(text)
    separators = text.count(_ROWS_BETWEEN)
    text = text[1:-1].replace(_ROWS_BETWEEN, b"\n")
    stripped = 0
    if marked or b"_binary '" in text:
        text, stripped = re.subn(rb"(^|[,\n])_binary '", rb"\1'", text)
    table = _csv(text, batch.columns, wanted)
    # A string can hold what looks like a mark; then the counts differ.
    if table is None or stripped != marked * table.num_rows:
        return None
    frame = _frame(table)
    strings = [name for name, dtype in frame.schema.items() if dtype == pl.Binary]
    # Digits have no quotes, which a title such as 0x10c has. Few batches hold either, so few texts are searched.
    if any(frame[name].bin.starts_with(b"0x").any() for name in strings) and any(
        start in batch.values for start in _HEXADECIMAL
    ):
        return None
    if separators + 1 != table.num_rows:
        frame = frame.with_columns(
            pl.col(name).map_elements(lambda value: value.replace(b"\n", _ROWS_BETWEEN), pl.Binary) for name in strings
        )
    return frame


def _csv(text: bytes, columns: Sequence[Column], wanted: Sequence[str], *, quoted: bool = True) -> pa.Table | None:
    options = pa.csv.ConvertOptions(
        column_types={column.name: _ARROW[column.kind] for column in columns},
        include_columns=list(wanted),
        null_values=["NULL"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    names = [*([] if quoted else [_NOTHING]), *(column.name for column in columns)]
    # A string may hold a line feed, which only one block keeps whole.
    block = len(text) + 1 if quoted else 1 << 20
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(text),
            pa.csv.ReadOptions(column_names=names, block_size=block, use_threads=not quoted),
            pa.csv.ParseOptions(
                quote_char="'" if quoted else False, escape_char="\\" if quoted else False, newlines_in_values=quoted
            ),
            options,
        )
    except pa.ArrowInvalid:
        return None
    not_null = {column.name for column in columns if not column.nullable}
    return None if any(table.column(name).null_count for name in wanted if name in not_null) else table


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _exactly(batch: Statement, wanted: Sequence[str], path: str, most: int | None = None) -> pl.DataFrame:
    """All rows, or the first `most`."""
    values = list(islice(rows(batch.values, batch.columns, path), most))
    position = {column.name: index for index, column in enumerate(batch.columns)}
    dtype = {column.name: _POLARS[column.kind] for column in batch.columns}
    return pl.DataFrame(
        [pl.Series(name, [row[position[name]] for row in values], dtype=dtype[name]) for name in wanted]
    )


def _decoded(frame: pl.DataFrame, name: str) -> tuple[pl.DataFrame, int]:
    """The frame with a column of bytes as text, and how many values were none."""
    try:
        return frame.with_columns(pl.col(name).cast(pl.String)), 0
    except pl.exceptions.PolarsError:
        texts = frame[name].map_elements(lambda value: value.decode("utf-8", "backslashreplace"), pl.String)
        return frame.with_columns(texts), int((texts.cast(pl.Binary) != frame[name]).sum())
