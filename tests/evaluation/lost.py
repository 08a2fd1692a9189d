"""Kills one of several processes in the middle of a grid."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_killed(folder: Path, which: int) -> Iterator[None]:
    """Kill process `which` of those that run the grid inside, once two of its cells are done."""

    def kill() -> None:
        while len(list((folder / "cells").glob("*.json"))) < 2:
            time.sleep(0.05)
        workers = sorted(multiprocessing.active_children(), key=lambda process: process.pid or 0)
        workers[which].kill()

    watcher = threading.Thread(target=kill, daemon=True)  # should the grid fail before it has two cells
    watcher.start()
    yield
    watcher.join()
