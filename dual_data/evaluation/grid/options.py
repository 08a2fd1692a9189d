"""How a grid is run."""

from __future__ import annotations

from typing import NamedTuple

from dual_data.evaluation.device.sharding import ALONE, Ranks


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
