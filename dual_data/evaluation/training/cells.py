"""The cells that are trained at once: what goes in, and what happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import Encoded


class CellData(NamedTuple):
    """The rows of cells that are trained together, and the seed of their order."""

    forget: Sequence[Encoded]
    retain: Sequence[Encoded]
    seed: int
    refusal: Sequence[Encoded] = ()
    """For each forget row, the same prompt with the answer to prefer."""
    items: Sequence[Item] = ()
    """The forget rows as read; empty where no unlearning method is trained."""
    train_end: bool = True
    """Whether the end of the turn is a label too."""

    @property
    def by_kind(self) -> dict[str, Sequence[Encoded]]:
        """The rows by the kinds that a method names."""
        return {"forget": self.forget, "retain": self.retain, "refusal": self.refusal}


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
