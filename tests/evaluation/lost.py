"""Kills one of several processes in the middle of a grid."""

from __future__ import annotations

import os
import signal
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
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(int(workers[which]), signal.SIGKILL)

    watcher = threading.Thread(target=kill, daemon=True)  # should the grid fail before it has two cells
    watcher.start()
    yield
    watcher.join()
