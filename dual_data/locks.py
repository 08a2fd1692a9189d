"""A lock that lets one process at a time write to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dual_data.errors import ProjectBusy


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
