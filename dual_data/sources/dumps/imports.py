"""Import every dump once into sharded Parquet: whole or not at all, and going on where it stopped.

A file `x.sql.gz` becomes `imported/x.sql/<table>-00000.parquet`, ... and `manifest.json`, which names the parts that
are complete, how far in the text they reach, and the file that they come from. One process at a time writes there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import polars as pl

from dual_data.errors import InputError
from dual_data.sources.dumps import kept, triples
from dual_data.sources.dumps.files import CHUNK, TRIPLES, DumpFile, Piece, Source, dump_files, expect_one_day, recognise
from dual_data.sources.dumps.manifests import (
    FOLDER,
    VERSION,
    ImportManifest,
    Part,
    clear,
    fault,
    part_path,
    read_manifest,
    total,
    write_manifest,
    write_part,
)
from dual_data.system.files import locked, writing
from dual_data.system.progress import Progress

PART = 256 << 20
"""Bytes of text in a part."""
BATCH = 4 << 20
"""Bytes of SQL that are read at once."""


def import_folder(
    folder: Path, progress: Progress, part: int = PART
) -> Iterator[tuple[DumpFile, ImportManifest, bool]]:
    """Import every dump of a folder; yields each with its manifest and whether anything had to be done.

    Raises InputError for a damaged dump, ProjectBusy while another process imports, DualDataError where nothing can be
    written.
    """
    if (folder / FOLDER).is_dir() and not any(recognise(path) for path in folder.iterdir()):
        return  # The dumps were deleted after their import, which is fine.
    dumps = dump_files(folder)
    complete = all(_usable(dump).sha256 for dump in dumps)
    # With nothing to do, several processes may check at once, also in a folder that is read-only.
    lock = nullcontext() if complete else locked(folder / FOLDER / ".lock", "another import")
    with writing(folder / FOLDER, "What is complete is kept"), lock:
        for dump in dumps:
            before = _usable(dump)
            if before.sha256 is not None:
                yield dump, before, False
                continue
            with progress.task(dump.path.name, before.size) as advance:
                after = _import(dump, before, advance, part)
            yield dump, after, True


def imported(folder: Path) -> dict[str, tuple[Path, ImportManifest]]:
    """The complete imports of a folder by dumped table: their folder and manifest; the dumps may be gone.

    Raises InputError where there is none, one is not complete or damaged, a dump changed since, or they are of several
    days.
    """
    imports: dict[str, tuple[Path, ImportManifest]] = {}
    if not (folder / FOLDER).is_dir():
        dump_files(folder)
    folders = [_folder(path) for path in folder.iterdir() if recognise(path)]
    for path in sorted((folder / FOLDER).glob("*/manifest.json")):
        manifest = read_manifest(path.parent)
        problem = fault(path.parent, manifest)
        if manifest is None or problem or manifest.sha256 is None or _changed(folder / manifest.file, manifest):
            advice = "" if path.parent in folders else f"fetch {path.parent.name} again, then "
            problem = problem or "not complete, or not of this file"
            raise InputError(f"{path.parent}: {problem}; {advice}run: dual-data dumps import {folder}")
        if manifest.table in imports:
            raise InputError(f"{folder / FOLDER}: two imports of {manifest.table}; delete the folder of one of them")
        imports[manifest.table] = path.parent, manifest
    # The dumps may have been deleted one by one, each after its import.
    dumps = {table: DumpFile(Path(of.file), table, of.wiki, of.date) for table, (_, of) in imports.items()}
    expect_one_day(folder / FOLDER, dumps)
    known = {manifest.file for _, manifest in imports.values()}
    new = [path for path in sorted(folder.iterdir()) if recognise(path) and path.name not in known]
    if new or not imports:
        raise InputError(f"{(new or [folder])[0]}: not imported yet; run: dual-data dumps import {folder}")
    return imports


def _import(dump: DumpFile, manifest: ImportManifest, advance: Callable[[int], None], size: int) -> ImportManifest:
    folder = _folder(dump.path)
    folder.mkdir(parents=True, exist_ok=True)
    if not manifest.parts:
        clear(folder)
    for rest in folder.glob(".*.tmp"):  # of a killed import; the folder's lock admits one writer
        rest.unlink()
    with closing(Source(dump.path)) as source:
        done = manifest.parts[-1].end if manifest.parts else 0
        blocks = source.lines(min(CHUNK, size))
        pieces = (
            triples.pieces(blocks, done)
            if dump.table == TRIPLES
            else kept.pieces(blocks, dump.table, str(dump.path), done, min(BATCH, size))
        )
        waiting: list[Piece] = []
        reported = 0
        for piece in pieces:
            waiting.append(piece)
            if piece.end - done >= size:
                manifest = _write_part(folder, manifest, waiting)
                waiting, done = [], piece.end
            advance(source.position - reported)
            reported = source.position
        # The last part is written even when it is empty: an import without rows has its columns all the same.
        if waiting or not manifest.parts:
            nothing = triples.empty() if dump.table == TRIPLES else kept.empty(dump.table)
            manifest = _write_part(folder, manifest, waiting or [Piece(nothing, {}, 0)])
        manifest = manifest.model_copy(update={"sha256": source.sha256()})
        write_manifest(folder, manifest)
        return manifest


def _write_part(folder: Path, manifest: ImportManifest, pieces: list[Piece]) -> ImportManifest:
    number = len(manifest.parts)
    rows, sizes = {}, {}
    for table in pieces[0].tables:
        frame = pl.concat([piece.tables[table] for piece in pieces])
        rows[table], sizes[table] = frame.height, write_part(frame, part_path(folder, table, number))
    part = Part(rows=rows, sizes=sizes, end=pieces[-1].end, counts=total(piece.counts for piece in pieces))
    manifest = manifest.model_copy(update={"parts": (*manifest.parts, part)})
    write_manifest(folder, manifest)
    return manifest


def _usable(dump: DumpFile) -> ImportManifest:
    """The manifest as far as it belongs to this file and its parts are there; else an empty one."""
    folder = _folder(dump.path)
    manifest = read_manifest(folder)
    if manifest is not None and not _changed(dump.path, manifest) and not fault(folder, manifest):
        return manifest
    status = dump.path.stat()
    return ImportManifest(
        version=VERSION, file=dump.path.name, size=status.st_size, changed=status.st_mtime_ns, wiki=dump.wiki,
        date=dump.date, table=dump.table,
    )  # fmt: skip


def _changed(dump: Path, manifest: ImportManifest) -> bool:
    if not dump.exists():
        return False
    status = dump.stat()
    return (status.st_size, status.st_mtime_ns) != (manifest.size, manifest.changed)


def _folder(dump: Path) -> Path:
    return dump.parent / FOLDER / dump.name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".zst")
