"""Files and folders that get their name only once they are complete, and a lock that lets one process write to them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import polars as pl
from filelock import FileLock, Timeout

from dual_data.errors import DualDataError, InputError, ProjectBusy


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expanded(path: str) -> Path:
    """A path with a leading ~ or ~user as the home folder; where there is no such user it is left, as a shell does."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises RuntimeError there


def expect_utf_8(path: Path) -> None:
    """Raise InputError for a path that is not UTF-8 on disk, which polars and pyarrow cannot open."""
    if os.fsencode(path) != str(path).encode("utf-8", "replace"):
        # In another encoding, such as ASCII, a path in UTF-8 is read wrongly.
        remedy = "" if sys.getfilesystemencoding() == "utf-8" else ", or set PYTHONUTF8=1"
        raise InputError(
            f"{path}: the path holds bytes that are not in this system's encoding; rename or move the folder{remedy}"
        )


def write_whole(path: Path, write: Callable[[Path], object], *, lasting: bool = False) -> None:
    """Let `write` fill a temporary file next to `path`, then rename it; with `lasting` only once it is on disk.

    Raises OSError, which names a file, and then leaves nothing new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not named by process id: machines and containers that share a folder may have equal ids.
    temporary = path.with_name(f".{path.name}-{token_hex(8)}.tmp")
    try:
        with _named(path, temporary):
            temporary.touch(exist_ok=False)
            write(temporary)
            if lasting:
                _flush(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str, *, lasting: bool = False) -> None:
    """Write text in UTF-8 with `write_whole`."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), lasting=lasting)


def write_parquet(frame: pl.DataFrame, path: Path, *, level: int | None = None) -> None:
    """Write Parquet at zstd's `level` with `write_whole`."""
    try:
        write_whole(path, lambda temporary: frame.write_parquet(temporary, compression_level=level))
    except pl.exceptions.ComputeError as error:  # what a full disk is to polars
        raise OSError(None, str(error), str(path)) from None


@contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which gets its name when all its files are on disk; what is put beside it is deleted.

    If the folder exists by then, it is replaced or, without `replace`, stays. What a killed process left is cleared
    first, and a folder that it had moved aside is put back. Raises ProjectBusy while another process writes the folder.
    """
    scratch = folder.with_name(f".{folder.name}.partial")  # always the same, so that the next process finds it
    lock, new, before = scratch / "lock", scratch / "new", scratch / "before"
    with locked(lock, f"another process that writes {folder.name}"):
        _restore(folder, before)
        _delete(new)
        partial = new / "tree"
        partial.mkdir(parents=True)
        try:
            with _named(folder, partial):
                yield partial
                for path in partial.rglob("*"):
                    if path.is_file():
                        _flush(path)
            if replace and folder.exists():
                folder.rename(before)  # of a link, the link alone
            if not folder.exists():
                partial.rename(folder)
        finally:
            _restore(folder, before)
            _delete(new)
            with suppress(OSError):  # Windows deletes no open file; and there may be files that are not ours.
                lock.unlink()
                scratch.rmdir()


@contextmanager
def locked(path: Path, task: str) -> Iterator[None]:
    """Hold a lock file, making its folder. Raises ProjectBusy, which names `task`, if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(path, timeout=0).acquire()
    except Timeout:
        raise ProjectBusy(f"{path.parent}: {task} is running here; wait for it to end, or stop it") from None
    with held:
        yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold a lock file, making its folder, once no other process holds it: for what takes a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


@contextmanager
def writing(folder: Path, kept: str) -> Iterator[None]:
    """Make an OSError in a long task a DualDataError, which says what of it is kept and what to do."""
    try:
        yield
    except OSError as error:
        raise DualDataError(
            f"{folder}: cannot be written ({error.strerror or error}). {kept}: make room or set the permissions, then "
            "run the same command again."
        ) from None


@contextmanager
def _named(path: Path, temporary: Path) -> Iterator[None]:
    """Name `path` in an OSError that names no file, such as that of a full disk, or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(temporary)):
            raise
        if error.errno is None or error.errno == errno.ENOENT:  # only its own words say what else is not there
            reason = error.strerror or str(error)
        else:
            reason = os.strerror(error.errno)  # pyarrow has words of its own
        raise OSError(error.errno, reason, str(path)) from None


def _restore(folder: Path, before: Path) -> None:
    """Put back what was moved aside for a new folder that never came, or delete it."""
    if os.path.lexists(before) and not folder.exists():
        before.rename(folder)
    _delete(before)


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _flush(path: Path) -> None:
    """Wait until a file is on disk, where it outlasts a power cut."""
    with path.open("r+b") as file:  # Windows settles no file that is open for reading alone
        os.fsync(file.fileno())
