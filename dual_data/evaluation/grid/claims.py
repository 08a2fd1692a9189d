"""Claims of cells by a process, so that several processes can run one grid, one per device.

A claim is a lock on a file below claims/ of the results' folder. It ends with its process, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dual_data.evaluation.grid.cells import Cell, is_done

_PATIENCE = 1.0
"""Seconds to wait for a claim: `any_free` of another process holds one for a moment, and would hide what is left."""


@contextmanager
def claimed(
    folder: Path, cells: Sequence[Cell], *, adapter: bool = False, wait: float = _PATIENCE
) -> Iterator[list[Cell]]:
    """Claims `cells` up to the first that another process holds for longer than `wait` seconds, until the block ends.

    Yields those that are not done; with `adapter`, a cell without its adapter is not done. Two processes that reach a
    batch at the same moment do not share it, as each would train all of it: the one without the first cell gets none.
    """
    taken = []
    claims = folder / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    with ExitStack() as locks:
        for cell in cells:
            lock = FileLock(claims / f"{cell.id}.lock")
            try:
                lock.acquire(timeout=wait)
            except Timeout:
                break
            locks.callback(lock.release)
            if not is_done(folder, cell, adapter=adapter):
                taken.append(cell)
        yield taken


def any_free(folder: Path, cells: Sequence[Cell], *, adapter: bool = False) -> bool:
    """Whether a cell is left to claim, so that preparing its stage and measuring its base is worthwhile."""
    for cell in cells:
        with claimed(folder, [cell], adapter=adapter, wait=0) as taken:
            if taken:
                return True
    return False
