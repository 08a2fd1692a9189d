"""One run of a grid: its options, what its stages share, and the failing of cells."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from dual_data.evaluation.device.memory import enough_memory
from dual_data.evaluation.device.sharding import ALONE, Ranks
from dual_data.evaluation.grid.cells import Cell, Grid, is_done
from dual_data.evaluation.grid.claims import any_free, claimed
from dual_data.evaluation.grid.provenance import blank
from dual_data.evaluation.grid.stages import Prepared
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.models.shard import shard
from dual_data.evaluation.results import write_result
from dual_data.evaluation.settings import ModelSettings
from dual_data.system.progress import LINE_EVERY, duration


class RunOptions(NamedTuple):
    """How a grid is run; nothing here changes results beyond rounding."""

    device: str = "cpu"
    cells_at_once: int = 0
    """Most learning rates of a method and seed that are one batch; 0 for as many as suit device and model."""
    rows: int = 0
    """Rows per measurement batch, of all cells together; 0 for as many as suit device and model."""
    save_adapters: bool = False
    """Whether every cell's adapter is kept, below adapters/ in the results' folder."""
    start: float = 0.0
    """Where to begin, as a share of the grid, so that processes that share a grid begin with different stages."""
    ranks: Ranks = ALONE
    """This process's rank where processes share a base; `joined` must be active."""


def load_model(settings: ModelSettings, device: str) -> Loaded:
    """Load a model of the grid file on a device."""
    return load(
        settings.spec,
        settings.dtype,
        device,
        trust_remote_code=settings.trust_remote_code,
        revision=settings.revision,
    )


class Pace:
    """Tells every quarter of a minute, when a cell ends, how many are done, by all processes that share the grid."""

    def __init__(self, cells: Sequence[Cell], is_done: Callable[[Cell], bool], say: Callable[[str], None]) -> None:
        self._left, self._is_done, self._say = cells, is_done, say
        self._total, self._began = len(cells), time.monotonic()
        self._told = self._began

    def cell_ended(self) -> None:
        """To be called once a cell's result is written."""
        now = time.monotonic()
        if now - self._told < LINE_EVERY:
            return
        self._told, elapsed = now, now - self._began
        self._left = [cell for cell in self._left if not self._is_done(cell)]
        if self._left and (done := self._total - len(self._left)):
            remaining = duration(elapsed / done * len(self._left))
            self._say(f"cells: {done}/{self._total} after {elapsed:.0f} s, at this rate {remaining} left")


class GridRun(NamedTuple):
    """What is run and how; and failing of cells, which the next run tries again."""

    grid: Grid
    cells: Sequence[Cell]
    """All cells that were asked for, also those that have results."""
    options: RunOptions
    say: Callable[[str], None]
    pace: Pace

    def begin(self, cells: Sequence[Cell]) -> None:
        """Say which cells begin, all of one set and method."""
        cell = cells[0]
        several = f"{cell.model} {cell.stage} {cell.set} {cell.method}, {len(cells)} cells"
        self.say(f"{cell.label if len(cells) == 1 else several}: begun")

    def load(self, name: str) -> Loaded:
        """Load a model of the grid, or this process's shard of it. Raises OutOfMemory."""
        settings, ranks, device = self.grid.models[name], self.options.ranks, self.options.device
        self.say(f"{name}: loading {settings.spec} in {settings.dtype}")
        with enough_memory(f"loading {settings.spec}"):
            if ranks.alone:
                return load_model(settings, device)
            return shard(load_model(settings, "cpu"), ranks, device)

    def any_free(self, cells: Sequence[Cell]) -> bool:
        """Whether one of the cells is left to claim, as the first process decides."""
        ranks = self.options.ranks
        return ranks.agree(ranks.first and any_free(self.grid.folder, cells, adapter=self.options.save_adapters))

    def is_done(self, cell: Cell) -> bool:
        """Whether nothing of the cell is left to do."""
        return is_done(self.grid.folder, cell, adapter=self.options.save_adapters)

    def claimed(self, cells: Sequence[Cell]) -> AbstractContextManager[list[Cell]]:
        """Claim cells as `claims.claimed` does; of processes that share a base, the first claims for all."""
        own = cells if self.options.ranks.first else ()
        return claimed(self.grid.folder, own, adapter=self.options.save_adapters)

    def fail(self, cells: Sequence[Cell], reason: str, loaded: Loaded | None, stage: Prepared | None) -> None:
        """Write `reason` as the result of cells that this process has claimed; cells that have a result keep it."""
        for cell in cells:
            self.say(f"{cell.label}: failed: {reason}")
            if not is_done(self.grid.folder, cell):
                result = blank(self.grid, cell, status="failed", reason=reason, loaded=loaded, stage=stage)
                write_result(self.grid.folder, cell.id, result)

    def fail_free(
        self, cells: Sequence[Cell], reason: str, loaded: Loaded | None = None, stage: Prepared | None = None
    ) -> Counter[str]:
        """Write `reason` as the result of those cells that no other process has claimed. Returns how the cells ended.

        Cells that only lack their adapter count as failed and keep their result.
        """
        counts = Counter[str]()
        for cell in cells if self.options.ranks.first else ():
            with self.claimed([cell]) as taken:  # one at a time: a claim is an open file, and their number is limited
                self.fail(taken, reason, loaded, stage)
            counts["failed" if taken else "elsewhere"] += 1
        return counts
