"""When a cell is stopped early: where its losses or gradients are not finite, or exceed a limit."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.training.optimisation import Optimisation


class Limit(NamedTuple):
    """The most that a part of the loss may be at a step."""

    part: str
    most: float
    why: str
    """The reason given where it is exceeded."""


def limits_of(optimisation: Optimisation, parts: Collection[str], method: str, vocabulary: int) -> list[Limit]:
    """The limits of a run whose loss has these parts.

    Raises UsageError where a limit is asked for that the method cannot reach.
    """
    limits = list[Limit]()
    if optimisation.stop_forget_nll:
        if "forget_nll" not in parts:
            raise UsageError(f"{method} computes no forget loss to stop at, so stop_forget_nll cannot be set")
        most = optimisation.stop_forget_nll
        limits.append(Limit("forget_nll", most, f"forget loss above {most:g}"))
    if optimisation.diverged_nll:
        most = optimisation.diverged_nll * math.log(vocabulary)
        excess = f"above {most:.3g}, {optimisation.diverged_nll:g} times what guessing gives,"
        losses = {"retain_nll": "retain loss", "nll": "loss"}
        limits += [Limit(part, most, f"diverged: {name} {excess}") for part, name in losses.items() if part in parts]
    return limits


def why_stopped(
    losses: Tensor, norms: Tensor, parts: Mapping[str, Tensor], limits: Sequence[Limit], optimisation: Optimisation
) -> tuple[str, int]:
    """Why a stopped cell was, and after how many steps, from its figures at every step, [steps] each."""
    norm = optimisation.diverged_norm
    exceeded = [
        (~(losses.isfinite() & norms.isfinite()), "loss or gradient not finite"),
        (norms > (norm or math.inf), f"diverged: gradient norm above {norm:g}"),
        *((~(parts[limit.part] <= limit.most), limit.why) for limit in limits),
    ]
    step, why = min(
        ((int(mask.nonzero()[0]), why) for mask, why in exceeded if bool(mask.any())), key=lambda pair: pair[0]
    )
    return f"{why} at step {step + 1}", step
