"""Which dump a file is, and its text as a stream of blocks of whole lines."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple

import polars as pl

from dual_data.errors import InputError

WIKI_TABLES = ("page", "redirect", "linktarget", "pagelinks", "page_props")
"""Tables of a wiki that inbound links are counted from."""
SITELINKS = "wb_items_per_site"
"""Wikidata's table of articles by item: truthy dumps carry neither sitelinks nor their number."""
TRIPLES = "triples"
CHUNK = 8 << 20
"""Bytes of text that are read at once."""

_SQL = re.compile(r"([a-z0-9_]+)-(\d{8}|latest)-([a-z_]+)\.sql(?:\.(?:gz|bz2|zst))?")
_NT = re.compile(r"(?:wikidata-)?(\d{8}|latest)-(?:truthy|all)(?:-BETA)?\.nt(?:\.(?:gz|bz2|zst))?")

_FETCH = "dual-data dumps fetch {} --wiki WIKI --date YYYYMMDD"


class DumpFile(NamedTuple):
    """A file that is imported."""

    path: Path
    table: str
    """Name of the SQL table, or `triples`."""
    wiki: str
    """enwiki; wikidata for triples."""
    date: str
    """YYYYMMDD, or `latest`."""


def day_of(name: str, date: str) -> str:
    """The day of a dump by its date, as YYYY-MM-DD. Raises InputError for `latest`, which does not tell it."""
    if not date.isdigit():
        raise InputError(
            f"{name}: its name does not tell the day of the dump, with which link counts are stored, and {date!r} may "
            "be of several days; put the day into the name, as in enwiki-20261101-pagelinks.sql.gz"
        )
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def recognise(path: Path) -> DumpFile | None:
    """What a file is by its name, as the dump servers name them; None for anything else."""
    if match := _NT.fullmatch(path.name):
        return DumpFile(path, TRIPLES, "wikidata", match[1])
    match = _SQL.fullmatch(path.name)
    if match and match[3] in (*WIKI_TABLES, SITELINKS):
        wiki, date, table = match.groups()
        return DumpFile(path, table, wiki, date)
    return None


def dump_files(folder: Path) -> list[DumpFile]:
    """The dumps of a folder, one per table. Raises InputError where it has none, or two that exclude each other."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; get the dumps with: {_FETCH.format(folder)}")
    dumps = [file for path in sorted(folder.iterdir()) if (file := recognise(path)) is not None]
    if not dumps:
        raise InputError(
            f"{folder}: holds no dump such as enwiki-20261101-pagelinks.sql.gz or wikidata-20261101-truthy-BETA.nt.gz; "
            f"get them with: {_FETCH.format(folder)}"
        )
    by_table: dict[str, DumpFile] = {}
    for file in dumps:
        other = by_table.setdefault(file.table, file)
        if other is not file:
            raise InputError(f"{folder}: holds both {other.path.name} and {file.path.name}; move one of them elsewhere")
    expect_one_day(folder, by_table)
    return dumps


def expect_one_day(folder: Path, by_table: Mapping[str, DumpFile]) -> None:
    """Raise InputError where the tables of a wiki are of several wikis or days, or the day of one is not known."""
    of_wiki = [by_table[table] for table in WIKI_TABLES if table in by_table]
    for file in of_wiki:
        day_of(file.path.name, file.date)
        if (file.wiki, file.date) != (of_wiki[0].wiki, of_wiki[0].date):
            raise InputError(
                f"{folder}: {of_wiki[0].path.name} and {file.path.name} are not of the same wiki and day; their page "
                "ids would not fit together"
            )


class Piece(NamedTuple):
    """What was read from some lines of a dump."""

    tables: Mapping[str, pl.DataFrame]
    counts: Mapping[str, int]
    """Statistics of the lines, such as `invalid_utf8`."""
    end: int
    """Bytes of the text up to the end of these lines."""


class Source:
    """A dump that is being read: its text, the hash of its bytes and how far it was read.

    Truncated, damaged and unreadable files raise InputError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = _Hashed(path.open("rb", buffering=0))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None

    @property
    def position(self) -> int:
        """Bytes of the file read so far."""
        return self._file.count

    def lines(self, chunk: int = CHUNK) -> Iterator[bytes]:
        """Blocks of whole lines; the last line of a file need not end in a line feed."""
        rest: list[bytes] = []
        for data in self._text(chunk):
            cut = data.rfind(b"\n") + 1
            if cut:
                yield b"".join((*rest, data[:cut]))
                rest = []
            if cut < len(data):
                rest.append(data[cut:])
        if rest:
            yield b"".join(rest)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def sha256(self) -> str:
        """Hash of the whole file; reads what is left of it."""
        while self._file.read(CHUNK):
            pass
        return self._file.hash.hexdigest()

    def _text(self, chunk: int) -> Iterator[bytes]:
        size = 0
        try:
            for data in _READERS.get(self.path.suffix, _plain)(self._file, chunk):
                size += len(data)
                yield data
        except (EOFError, OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: damaged or cut short after {size} bytes of text ({error}); delete it and fetch it again"
            ) from None


class _Hashed(io.RawIOBase):
    """A file that hashes and counts what is read of it."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self._file = file
        self.hash = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = self._file.readinto(buffer) or 0
        self.hash.update(buffer[:length])
        self.count += length
        return length

    def close(self) -> None:
        self._file.close()
        super().close()


def _plain(file: io.RawIOBase | IO[bytes], chunk: int) -> Iterator[bytes]:
    while data := file.read(chunk):
        yield data


def _gzip(file: io.RawIOBase, chunk: int) -> Iterator[bytes]:
    from isal import igzip_threaded, isal_zlib

    isal_error: Any = isal_zlib.error
    try:
        # Unpacks in a thread of its own, ahead of the parser.
        with igzip_threaded.open(file, "rb", threads=1, block_size=1 << 20) as unpacked:  # type: ignore[no-untyped-call]
            yield from _plain(unpacked, chunk)
    except isal_error as error:
        raise EOFError(error) from None


def _by_arrow(codec: str, file: io.RawIOBase, chunk: int) -> Iterator[bytes]:
    import pyarrow as pa

    # Closing the stream would close the file, whose hash is read to its end afterwards.
    packed = pa.PythonFile(SimpleNamespace(read=file.read, closed=False, close=lambda: None), mode="r")
    with pa.CompressedInputStream(packed, codec) as stream:
        yield from _plain(stream, chunk)


_READERS: dict[str, Callable[[io.RawIOBase, int], Iterator[bytes]]] = {
    ".gz": _gzip,
    # Not BZ2File: at a damaged member after the first it stops as if the file had ended.
    ".bz2": partial(_by_arrow, "bz2"),
    ".zst": partial(_by_arrow, "zstd"),
}
