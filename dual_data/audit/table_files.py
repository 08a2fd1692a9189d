"""Tables in files of the usual formats, as their many writers write them: for the audit and the evaluation."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from dual_data.errors import InputError
from dual_data.sources.tables.files import read_csv, refuse_utf16

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")
"""In lower case; files may have them in any case."""
_JSON = (".json", ".jsonl", ".ndjson")
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
        if kind in _JSON:
            _refuse_halves(file)
            return _json(file) if kind == ".json" else _json_lines(file)
        if kind == ".csv":
            return read_csv(file).with_columns(pl.all().replace("", None))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InputError(f"{file}: not readable as {kind[1:]}: {error}") from error
    found = f"not in {file.suffix}" if file.suffix else "and this one has no such end"
    raise InputError(f"{file}: the name of a table ends in {', '.join(SUFFIXES)}, {found}")


def refuse_mixed(file: Path, frame: pl.DataFrame, names: Sequence[str]) -> None:
    """Raise InputError for a list or an object in a column of texts: from JSON lines, polars takes its JSON as a text.

    `frame` is what `read_table` gave. The file is read again only where a text looks like JSON. In an array of rows,
    polars itself refuses them.
    """
    texts = [frame[name] for name in names if frame.schema[name] == pl.String]
    if file.suffix.lower() not in _JSON or not any(column.str.contains(r"^[\[{]").any() for column in texts):
        return
    for number, row in enumerate(json_rows(file), 1):
        for name in names:
            if isinstance(row.get(name), list | dict):
                text = json.dumps(row[name], ensure_ascii=False)
                raise InputError(f"{file}: row {number}: {name} is {text[:40]}, not a text; write one text per row")


def json_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of JSON lines as they stand there; none of other files, an array and an object in several lines."""
    if file.suffix.lower() not in _JSON:
        return []
    lines = [line for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    try:
        rows = [json.loads(line) for line in lines]
    except ValueError:
        return []
    return rows if all(isinstance(row, dict) for row in rows) else []


_HALF = re.compile(rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2})(?!\\u[dD][c-fC-F])")
"""The first half of a character beyond 16 bits, as JSON in ASCII writes it, without the second."""


def _refuse_halves(file: Path) -> None:
    """Raise InputError for half of a character, of which polars would make a NUL."""
    text = file.read_bytes()
    if half := re.search(rb"\\u[dD][89abAB]", text) and _HALF.search(text):
        line = 1 + text[: half.start()].count(b"\n")
        raise InputError(
            f"{file}: line {line}: {half[1].decode()} is half of a character, as where a text was cut inside an emoji; "
            "delete it"
        )


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


_STRING = re.compile(rb'"(?:\\.|[^"\\])*"', re.DOTALL)


class _ConstantError(ValueError):
    """NaN or Infinity, which Python writes as JSON, and nobody else reads."""


def _refuse_constant(name: str) -> None:
    raise _ConstantError(name)


def _fault(text: bytes, first_line: int = 1) -> str:
    """Where a text is no JSON, and why; empty where it is."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except _ConstantError as error:
        outside = _STRING.sub(lambda found: b" " * len(found[0]), text)
        line = first_line + text[: outside.find(str(error).encode())].count(b"\n")
        return f"line {line}: {error} is no value in JSON; write null"
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
