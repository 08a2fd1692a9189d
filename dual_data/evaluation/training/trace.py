"""What happened to the cells that were trained at once."""

from __future__ import annotations

from typing import NamedTuple


class Trace(NamedTuple):
    """What happened to one cell."""

    steps: int
    """Optimiser steps taken before the cell ended or was stopped."""
    losses: list[float]
    parts: dict[str, list[float]]
    """By name, one value per step."""
    norms: list[float]
    """Norm of the gradient before clipping, one per step."""
    stopped: str
    """Why the cell was stopped early; empty where it was not."""
    tokens: int
    """Tokens that went through the model for all cells together, padding included."""
    notes: dict[str, float]
    fallbacks: tuple[str, ...] = ()
    """Ways that training did not take (packed, recorded, repeatable), and why where an error says it."""
