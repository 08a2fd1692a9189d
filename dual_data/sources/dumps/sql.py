"""mysqldump's text, exactly: CREATE TABLE for the names and kinds of the columns, INSERT for the rows.

A line feed never stands inside a value (mysqldump writes `\\n`), so a statement ends with a line that ends in `;`.
Strings are bytes: titles are cut at 255 bytes in old tables, in the middle of a character if need be.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dual_data.errors import InputError
from dual_data.text.display import count

Kind = type[int] | type[float] | type[bytes]
Value = int | float | bytes | None

_CREATE = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?`([^`]+)`")
_COLUMN = re.compile(rb"\s*`([^`]+)`\s+([a-z]+)(.*)")
_INSERT = re.compile(rb"INSERT (?:IGNORE )?INTO `([^`]+)`\s*(\([^)]*\))?\s*VALUES\s*")
_VALUE = re.compile(
    rb"\s*(?:(?P<null>NULL)|(?:_binary\s*)?'(?P<text>(?:[^'\\]|\\.|'')*)'|0x(?P<hex>[0-9A-Fa-f]*)"
    rb"|(?P<number>[-+0-9.eE]+))\s*(?P<end>[,)])",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)|''", re.DOTALL)
_MEANING = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a", b"%": b"\\%", b"_": b"\\_"}
_INTEGERS = {b"tinyint", b"smallint", b"mediumint", b"int", b"integer", b"bigint"}
_NUMBERS = {b"float", b"double", b"decimal", b"real"}


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind
    nullable: bool


class Statement(NamedTuple):
    """An INSERT, or one line of it."""

    columns: tuple[Column, ...]
    """In the order of the values."""
    values: bytes
    """Rows in parentheses with commas between, nothing before and nothing after."""
    end: int
    """Bytes of the text up to the end of this line."""


def statements(blocks: Iterator[bytes], table: str, path: str) -> Iterator[Statement]:
    """The rows of a dump of `table`, a line at a time; `path` is for messages. Raises InputError for any other text."""
    columns: dict[str, Column] = {}
    inside = ""
    inserted: tuple[Column, ...] = ()
    position = 0
    for block in blocks:
        for line in io.BytesIO(block):  # bytes.splitlines would also cut at a carriage return
            position += len(line)
            text = line.rstrip(b"\r\n")
            if inside == "insert":
                values = text
            elif match := _INSERT.match(text):
                if not columns or match[1] != table.encode():
                    name = match[1].decode("utf-8", "replace")
                    raise InputError(f"{path}: rows of {name!r} without its CREATE TABLE; is this a dump of {table}?")
                inside, values = "insert", text[match.end() :]
                inserted = _inserted(columns, match[2], path)
            else:
                inside = _definition(text, inside, table, columns)
                continue
            if values.endswith(b";"):
                inside = ""
            if values := values.rstrip(b",;"):
                yield Statement(inserted, values, position)
    if inside:
        raise InputError(f"{path}: ends inside a statement; the file is cut short: delete it and fetch it again")
    if not columns:
        raise InputError(f"{path}: no CREATE TABLE `{table}`; is this a dump of that table?")


def _definition(text: bytes, inside: str, table: str, columns: dict[str, Column]) -> str:
    """Read a line outside INSERT into `columns`; returns the statement that the next line is inside of."""
    if match := _CREATE.match(text):
        return "create" if match[1] == table.encode() else ""
    if inside == "create" and (column := _COLUMN.match(text)):
        name, kind = column[1].decode(), column[2].lower()
        type_: Kind = int if kind in _INTEGERS else float if kind in _NUMBERS else bytes
        columns[name] = Column(name, type_, b"NOT NULL" not in column[3])
    return "" if text.endswith(b";") else inside


def _inserted(columns: dict[str, Column], names: bytes | None, path: str) -> tuple[Column, ...]:
    if names is None:
        return tuple(columns.values())
    order = [name.strip(b" `").decode() for name in names[1:-1].split(b",")]
    if unknown := [name for name in order if name not in columns]:
        raise InputError(f"{path}: INSERT names the column {unknown[0]!r}, which CREATE TABLE does not")
    return tuple(columns[name] for name in order)


def rows(values: bytes, columns: Sequence[Column], path: str) -> Iterator[tuple[Value, ...]]:
    """The rows of one line, unescaped. Exact for whatever MySQL reads; slow. Raises InputError where it is not SQL."""
    at = 0
    while at < len(values):
        if values[at : at + 1] != b"(":
            raise InputError(f"{path}: '(' is expected at {values[at : at + 40]!r}")
        at += 1
        row: list[Value] = []
        end = b","
        while end == b",":
            match = _VALUE.match(values, at)
            if match is None or len(row) == len(columns):
                raise InputError(f"{path}: {len(columns)} values are expected, up to {values[at : at + 40]!r}")
            column = columns[len(row)]
            try:
                row.append(_value(match, column.kind))
            except ValueError:
                raise InputError(f"{path}: {match[0][:40]!r} is no value of {column.name}") from None
            at, end = match.end(), match["end"]
        if len(row) != len(columns):
            sizes = f"{count(len(row), 'value')} for {count(len(columns), 'column')}"
            raise InputError(f"{path}: {sizes} before {values[at : at + 40]!r}")
        yield tuple(row)
        while values[at : at + 1] in (b",", b" ", b"\n"):
            at += 1


def marks(values: bytes) -> int:
    """How many strings of the first row are marked `_binary`."""
    at, marked, end = 1, 0, b","
    while end == b"," and (match := _VALUE.match(values, at)) is not None:
        marked += match[0].lstrip().startswith(b"_binary")
        at, end = match.end(), match["end"]
    return marked


def _value(match: re.Match[bytes], kind: Kind) -> Value:
    if match["null"] is not None:
        return None
    if match["hex"] is not None:
        plain = bytes.fromhex(match["hex"].decode())
    else:
        plain = match["number"] if match["text"] is None else unescape(match["text"])
    return plain if kind is bytes else kind(plain)


def unescape(text: bytes) -> bytes:
    """The value of a string literal, given what stands between its quotes."""
    if b"\\" not in text and b"''" not in text:
        return text
    return _ESCAPE.sub(lambda match: b"'" if match[1] is None else _MEANING.get(match[1], match[1]), text)
