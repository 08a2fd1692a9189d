"""Files and folders that get their name only once they are complete: no reader sees half of one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import polars as pl


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, write: Callable[[Path], object], *, lasting: bool = False) -> None:
    """Let `write` fill a temporary file next to `path`, then rename it; with `lasting` only once it is on disk.

    Raises OSError, and then leaves nothing new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not named by process id: machines and containers that share a folder may have equal ids.
    temporary = path.with_name(f".{path.name}-{token_hex(8)}.tmp")
    temporary.touch(exist_ok=False)
    try:
        write(temporary)
        if lasting:
            _settle(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write text in UTF-8 with `write_whole`."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), lasting=lasting)


def write_parquet(frame: pl.DataFrame, path: Path, *, level: int | None = None) -> None:
    """Write Parquet at zstd's `level` with `write_whole`."""
    try:
        write_whole(path, lambda temporary: frame.write_parquet(temporary, compression_level=level))
    except pl.exceptions.ComputeError as error:  # what a full disk is to polars
        raise OSError(str(error)) from None


@contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which gets its name when all its files are on disk.

    If the folder exists by then, it is replaced or, without `replace`, stays: of two writers the first wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        partial = Path(scratch) / folder.name  # has the permissions of a new folder, unlike the scratch folder
        partial.mkdir()
        yield partial
        for path in partial.iterdir():
            _settle(path)
        if replace and folder.exists():
            # Deleted with the scratch folder; of a link, the link alone.
            folder.rename(partial.with_name(f"{folder.name}-before"))
        if not folder.exists():
            partial.rename(folder)


def _settle(path: Path) -> None:
    """Wait until a file is on disk, where it outlasts a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
