"""Tables in files of the usual formats, as their many writers write them: for the audit and the evaluation."""

from __future__ import annotations

import codecs
from pathlib import Path

import polars as pl

from dual_data.errors import InputError
from dual_data.sources.tables.files import read_csv

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")
"""In lower case; files may have them in any case."""
_BLANK = 16
"""Smaller text files, in bytes, are checked for being blank, as some writers write a table without rows."""


def read_table(file: Path) -> pl.DataFrame:
    """The rows of a file; values of CSV stay texts, since 076 may be an answer. Raises InputError that says why not."""
    kind = file.suffix.lower()
    try:
        if kind == ".parquet":
            return pl.read_parquet(file, glob=False)
        if kind in SUFFIXES and file.stat().st_size < _BLANK and not file.read_bytes().strip():
            return pl.DataFrame()
        if kind in {".jsonl", ".ndjson"}:
            return _json_lines(file)
        if kind == ".json":
            return _json(file)
        if kind == ".csv":
            return _csv(file)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: not readable as {kind[1:]}: {error}") from error
    raise InputError(f"{file}: the name of a table ends in {', '.join(SUFFIXES)}, not in {file.suffix or 'nothing'}")


def _csv(file: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(file, infer_schema=False, glob=False)
    except pl.exceptions.PolarsError:
        return read_csv(file).with_columns(pl.all().replace("", None))  # which names the line of a fault


def _json(file: Path) -> pl.DataFrame:
    """A JSON array of rows, or JSON lines under the same suffix, as TOFU's files have them."""
    try:
        return pl.read_json(file, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        try:
            return _json_lines(file)
        except pl.exceptions.PolarsError as error:
            raise InputError(
                f"{file}: not readable as json: neither an array of rows nor JSON lines ({error})"
            ) from None


def _json_lines(file: Path) -> pl.DataFrame:
    # Editors on Windows begin a file with a byte order mark, which polars skips in the other formats alone.
    lines = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    return pl.read_ndjson(lines, infer_schema_length=None)
