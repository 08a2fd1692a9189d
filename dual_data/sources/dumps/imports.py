"""Every dump once into sharded Parquet: whole or not at all, and going on where it stopped.

A file `x.sql.gz` becomes `imported/x.sql/<table>-00000.parquet`, ... and `manifest.json`, which names the parts that
are complete, how far in the text they reach, and the file that they come from. What it does not name is not there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from dual_data.config import Strict
from dual_data.errors import DualDataError, InputError
from dual_data.sources.dumps import kept, triple_frames
from dual_data.sources.dumps.files import CHUNK, TRIPLES, DumpFile, Piece, Source, dump_files, recognise

VERSION = 1
"""Raised whenever the import gives something else for the same file."""
PART = 256 << 20
"""Bytes of text in a part."""
BATCH = 4 << 20
"""Bytes of SQL that are read at once."""
FOLDER = "imported"

Advance = Callable[[int], None]


class Part(Strict):
    """Files that were written together."""

    rows: Mapping[str, int]
    """By table; the file is `<table>-<number>.parquet`, the number being the part's place."""
    end: int
    counts: Mapping[str, int]


class Manifest(Strict):
    """manifest.json of an imported dump."""

    version: int
    file: str
    size: int
    changed: int
    """Time of the file's last change in ns; its content is not hashed again while size and time stay."""
    wiki: str
    date: str
    table: str
    sha256: str | None = None
    """Of the file; None while parts are missing."""
    parts: tuple[Part, ...] = ()

    def rows(self) -> dict[str, int]:
        """Rows by table."""
        return dict(sum((Counter(part.rows) for part in self.parts), Counter[str]()))

    def counts(self) -> dict[str, int]:
        """Counts over all parts."""
        return dict(sum((Counter(part.counts) for part in self.parts), Counter[str]()))


def import_folder(
    folder: Path, task: Callable[[str, int | None], Any], part: int = PART
) -> Iterator[tuple[DumpFile, Manifest, bool]]:
    """Import every dump of a folder; yields each with its manifest and whether anything had to be done.

    `task(label, total)` is `Progress.task`. Raises InputError for a damaged dump, DualDataError where nothing can be
    written.
    """
    if (folder / FOLDER).is_dir() and not any(recognise(path) for path in folder.iterdir()):
        return  # The dumps were deleted after their import, which is fine.
    for dump in dump_files(folder):
        before = _usable(dump)
        if before.sha256 is not None:
            yield dump, before, False
            continue
        with task(dump.path.name, before.size) as advance:
            try:
                yield dump, _import(dump, before, advance, part), True
            except OSError as error:
                raise DualDataError(
                    f"{_folder(dump.path)}: cannot be written ({error.strerror or error}). What is complete is kept: "
                    "make room or set the permissions, then run the same command again."
                ) from None


def imported(folder: Path) -> dict[str, tuple[Path, Manifest]]:
    """The complete imports of a folder by dumped table: their folder and manifest; the dumps may be gone.

    Raises InputError where there is none, one is not complete, or a dump changed since.
    """
    found: dict[str, tuple[Path, Manifest]] = {}
    if not (folder / FOLDER).is_dir():
        dump_files(folder)
    for path in sorted((folder / FOLDER).glob("*/manifest.json")):
        manifest = _read(path)
        if (
            manifest is None
            or manifest.version != VERSION
            or manifest.sha256 is None
            or _changed(folder / manifest.file, manifest)
        ):
            raise InputError(f"{path.parent}: not complete, or not of this file; run: dual-data dumps import {folder}")
        if manifest.table in found:
            raise InputError(f"{folder / FOLDER}: two imports of {manifest.table}; delete the folder of one of them")
        found[manifest.table] = path.parent, manifest
    known = {manifest.file for _, manifest in found.values()}
    new = [path for path in folder.iterdir() if recognise(path) and path.name not in known]
    if new or not found:
        raise InputError(f"{(new or [folder])[0]}: not imported yet; run: dual-data dumps import {folder}")
    return found


def parts_of(folder: Path, manifest: Manifest, table: str) -> list[Path]:
    """The files of one table of an import that hold rows; the first one where none does, for its columns."""
    with_rows = [number for number, part in enumerate(manifest.parts) if part.rows[table]]
    return [folder / f"{table}-{number:05d}.parquet" for number in with_rows or [0]]


def _import(dump: DumpFile, manifest: Manifest, advance: Advance, size: int) -> Manifest:
    folder = _folder(dump.path)
    folder.mkdir(parents=True, exist_ok=True)
    source = Source(dump.path)
    try:
        done = manifest.parts[-1].end if manifest.parts else 0
        blocks = source.lines(min(CHUNK, size))
        pieces = (
            triple_frames.pieces(blocks, done)
            if dump.table == TRIPLES
            else kept.pieces(blocks, dump.table, str(dump.path), done, min(BATCH, size))
        )
        waiting: list[Piece] = []
        told = 0
        for piece in pieces:
            waiting.append(piece)
            if piece.end - done >= size:
                manifest = _write_part(folder, manifest, waiting)
                waiting, done = [], piece.end
            advance(source.position - told)
            told = source.position
        # The last part is written even when it is empty: an import without rows has its columns all the same.
        if waiting or not manifest.parts:
            manifest = _write_part(folder, manifest, waiting or [_nothing(dump.table)])
        manifest = manifest.model_copy(update={"sha256": source.sha256()})
        _write(folder / "manifest.json", manifest)
        return manifest
    finally:
        source.close()


def _nothing(table: str) -> Piece:
    return Piece(triple_frames.empty() if table == TRIPLES else kept.empty(table), {}, 0)


def _write_part(folder: Path, manifest: Manifest, pieces: list[Piece]) -> Manifest:
    number = len(manifest.parts)
    rows = {}
    for table in pieces[0].tables:
        frame = pl.concat([piece.tables[table] for piece in pieces])
        # Not in the manifest, so not there: a half-written file is written again.
        frame.write_parquet(folder / f"{table}-{number:05d}.parquet", compression="zstd", compression_level=1)
        rows[table] = frame.height
    counts = dict(sum((Counter(piece.counts) for piece in pieces), Counter[str]()))
    part = Part(rows=rows, end=pieces[-1].end, counts=counts)
    manifest = manifest.model_copy(update={"parts": (*manifest.parts, part)})
    _write(folder / "manifest.json", manifest)
    return manifest


def _usable(dump: DumpFile) -> Manifest:
    """The manifest as far as it belongs to this very file; else an empty one."""
    manifest = _read(_folder(dump.path) / "manifest.json")
    if manifest is not None and manifest.version == VERSION and not _changed(dump.path, manifest):
        return manifest
    status = dump.path.stat()
    return Manifest(
        version=VERSION, file=dump.path.name, size=status.st_size, changed=status.st_mtime_ns, wiki=dump.wiki,
        date=dump.date, table=dump.table,
    )  # fmt: skip


def _changed(dump: Path, manifest: Manifest) -> bool:
    if not dump.exists():
        return False
    status = dump.stat()
    return (status.st_size, status.st_mtime_ns) != (manifest.size, manifest.changed)


def _folder(dump: Path) -> Path:
    return dump.parent / FOLDER / dump.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".zst")


def _read(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, manifest: Manifest) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
