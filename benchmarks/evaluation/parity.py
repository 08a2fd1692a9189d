"""Whether both sides compute the same: losses step by step, and the answers of the unlearned models."""

from __future__ import annotations

import math
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
    """Compare two runs of one cell.

    Raises RuntimeError where our training ended early or a number is not finite: the worst difference of the others
    would say nothing.
    """
    if ours.trace.stopped:
        raise RuntimeError(f"our training ended early: {ours.trace.stopped}")
    differences = [abs(a - b) for a, b in zip(ours.trace.losses, plain.losses, strict=True)]
    outcomes = ours.measurement.outcomes
    log_p_differences = [
        abs(a - b)
        for outcome, values in zip(outcomes, plain.log_p, strict=True)
        for a, b in zip(outcome.scores[0].log_p, values, strict=False)  # ours have the end of the turn as well
    ]
    if not all(map(math.isfinite, differences + log_p_differences)):
        raise RuntimeError("a loss or a log-probability is not finite on one side")
    return Parity(
        differences[0],
        differences[min(10, len(differences) - 1)],
        max(differences),
        max(log_p_differences),
        len(outcomes),
        sum(outcome.generation == text for outcome, text in zip(outcomes, plain.generations, strict=True)),
    )
