"""Whether both sides compute the same: losses step by step, and the answers of the unlearned models."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.evaluation.ours import OurCell
from benchmarks.evaluation.plain import PlainCell


class Parity(NamedTuple):
    """Differences in one cell that both sides started from the same adapter, in float32."""

    loss_first: float
    loss_tenth: float
    """At step 10, or the last one where there are fewer."""
    loss_worst: float
    log_p_worst: float
    """Of the gold answers' tokens."""
    generations: int
    same_generations: int


def parity(ours: OurCell, plain: PlainCell) -> Parity:
    """Compare two runs of one cell."""
    differences = [abs(a - b) for a, b in zip(ours.trace.losses, plain.losses, strict=False)]
    pairs = list(zip(ours.measurement.outcomes, plain.generations, strict=False))
    log_p_differences = [
        abs(a - b)
        for outcome, values in zip(ours.measurement.outcomes, plain.log_p, strict=False)
        for a, b in zip(outcome.scores[0].log_p, values, strict=False)
    ]
    return Parity(
        differences[0],
        differences[min(10, len(differences) - 1)],
        max(differences),
        max(log_p_differences),
        len(pairs),
        sum(outcome.generation == generation for outcome, generation in pairs),
    )
