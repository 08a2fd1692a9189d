"""Tables in files of the usual formats, as their many writers write them: for the audit and the evaluation."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import polars as pl

from dual_data.errors import InputError
from dual_data.sources.tables.files import read_csv, refuse_utf16

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
        if kind in SUFFIXES:
            with file.open("rb") as opened:
                refuse_utf16(file, opened.read(_BLANK * 4))
        if kind in {".jsonl", ".ndjson"}:
            return _json_lines(file)
        if kind == ".json":
            return _json(file)
        if kind == ".csv":
            return read_csv(file).with_columns(pl.all().replace("", None))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: not readable as {kind[1:]}: {error}") from error
    found = f"not in {file.suffix}" if file.suffix else "and this one has no such end"
    raise InputError(f"{file}: the name of a table ends in {', '.join(SUFFIXES)}, {found}")


def _json(file: Path) -> pl.DataFrame:
    """A JSON array of rows, or JSON lines under the same suffix, as TOFU's files have them."""
    try:
        return pl.read_json(file, infer_schema_length=None)
    except pl.exceptions.PolarsError as as_array:
        try:
            return _json_lines(file)
        except (pl.exceptions.PolarsError, InputError) as error:
            text = file.read_bytes().removeprefix(codecs.BOM_UTF8)
            as_lines = str(error).removeprefix(f"{file}: not readable as json: ")
            fault = _fault(text) or _mixed(text) or as_array if text.lstrip().startswith(b"[") else as_lines
            raise InputError(
                f"{file}: not readable as json: neither an array of rows nor JSON lines ({fault})"
            ) from None


def _json_lines(file: Path) -> pl.DataFrame:
    # Editors on Windows begin a file with a byte order mark, which polars skips in the other formats alone.
    lines = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        return pl.read_ndjson(lines, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        for number, line in enumerate(lines.split(b"\n"), 1):
            no_object = "" if line.lstrip().startswith(b"{") else f"line {number}: not an object"
            if line.strip() and (fault := _fault(line, number) or no_object):
                raise InputError(f"{file}: not readable as {file.suffix.lower()[1:]}: {fault}") from None
        raise


def _fault(text: bytes, first_line: int = 1) -> str:
    """Where a text is no JSON, and why; empty where it is."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"line {first_line + error.lineno - 1}: {error.msg} (column {error.colno})"
    except (ValueError, RecursionError):
        return f"line {first_line}: not JSON in UTF-8"
    return ""


def _mixed(array: bytes) -> str:
    """Which row of a JSON array is no object, or has a list or an object where those before have another kind."""
    kinds: dict[str, str] = {}
    for number, row in enumerate(json.loads(array), 1):
        if not isinstance(row, dict):
            return f"row {number}: not an object"
        for name, value in row.items():
            kind = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a plain value"
            if value is not None and kinds.setdefault(name, kind) != kind:
                return f"row {number}: {name} is {kind}, and in rows before {kinds[name]}"
    return ""
