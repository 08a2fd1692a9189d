"""Tables on disk: what can be kept, and content hashes that depend on the rows alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import dataframely as dy
import polars as pl
from polars.datatypes import DataTypeClass

from dual_data.errors import DualDataError

Kind = pl.DataType | DataTypeClass
SLICE = 50_000
"""Rows that are serialised at once while hashing."""


class Settled(NamedTuple):
    """What a stage returned, divided into valid and rejected rows."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    """All columns that the stage returned, and `reason`."""


def settle(frame: pl.DataFrame, schema: type[dy.Schema], stage: str) -> Settled:
    """Split a stage's frame by its column `reason` and by the rules of its schema.

    Raises DualDataError if a column of the schema is missing: a defect of the stage, not of its data.
    """
    if "reason" not in frame.columns:
        frame = frame.with_columns(reason=pl.lit(None, pl.String))
    columns = list(schema.columns())
    if absent := [name for name in columns if name not in frame.columns]:
        raise DualDataError(f"{stage}: the stage returned no column {', '.join(absent)}; it returned {frame.columns}")
    candidates = frame.filter(pl.col("reason").is_null())
    rows, failure = schema.filter(candidates.select(columns), cast=True)
    details = failure.details()
    rules = [name for name in details.columns if name not in columns]
    first_broken = pl.coalesce(
        *(pl.when(pl.col(rule).cast(pl.String) == "invalid").then(pl.lit(f"schema:{rule}")) for rule in rules),
        pl.lit("schema"),
    )
    broken = details.select(*columns, reason=first_broken)
    rejected = pl.concat([frame.filter(pl.col("reason").is_not_null()), broken], how="diagonal_relaxed")
    return Settled(rows, rejected.select([c for c in rejected.columns if c != "reason"] + ["reason"]))


def expect_supported(tables: Mapping[str, pl.DataFrame], stage: str) -> None:
    """Raise DualDataError if a column has bytes or Python objects, which have no content hash, or categories, to which
    readers other than polars give another type."""
    for table, frame in tables.items():
        for name, dtype in frame.schema.items():
            if any(kind in (pl.Binary, pl.Object, pl.Enum, pl.Categorical) for kind in _kinds(dtype)):
                raise DualDataError(
                    f"{stage}: column {name} of its table {table} is {dtype}, which cannot be kept; return text or "
                    "numbers (bytes as hexadecimal digits, for instance)"
                )


def content_hash(frame: pl.DataFrame) -> str:
    """SHA-256 of column names, types and rows in sorted order: 64 hexadecimal digits.

    Independent of row order, compression and library version, so that two machines can compare their builds.
    """
    types = frame.schema
    # JSON has only null for absent, NaN and infinite values: columns with the latter two are written as text.
    frame = frame.cast({column.name: _with_text(column.dtype) for column in frame if not _is_finite(column)})
    slices = (frame.slice(start, SLICE) for start in range(0, frame.height, SLICE))
    lines = [line for chunk in slices for line in chunk.write_ndjson().encode().splitlines()]
    header = ",".join(f"{name}:{dtype}" for name, dtype in types.items())
    hasher = hashlib.sha256(header.encode())
    for line in sorted(lines):
        hasher.update(b"\n")
        hasher.update(line)
    return hasher.hexdigest()


def _is_finite(column: pl.Series) -> bool:
    """Whether no number in the column, at any depth, is NaN or infinite."""
    if isinstance(column.dtype, pl.Struct):
        return all(map(_is_finite, column.struct.unnest()))
    if isinstance(column.dtype, pl.List | pl.Array):
        return _is_finite(column.explode())
    return not column.dtype.is_float() or bool(column.is_finite().all())


def _with_text(dtype: Kind) -> Kind:
    """The type with text in place of every inner type of numbers with a fraction."""
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _with_text(field.dtype)) for field in dtype.fields])
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_with_text(dtype.inner))
    return pl.String() if dtype.is_float() else dtype


def _kinds(dtype: Kind) -> Iterator[Kind]:
    """The types of the values of a column at any depth."""
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            yield from _kinds(field.dtype)
    elif isinstance(dtype, pl.List | pl.Array):
        yield from _kinds(dtype.inner)
    else:
        yield dtype


def read_parquet(path: Path, command: str) -> pl.DataFrame:
    """Read a table that `command` wrote. Raises DualDataError if it is damaged."""
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DualDataError(f"{path}: cannot be read ({error}); run: {command}") from None
