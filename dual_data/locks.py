"""One writer at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dual_data.errors import ProjectBusy


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, whose folder is made. Raises ProjectBusy where another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ProjectBusy(f"{path.parent}: {what} is running here; wait for it to end, or stop it") from None
    try:
        yield
    finally:
        lock.release()
