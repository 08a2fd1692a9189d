"""AdaPop: WGA with an exponent from each fact's popularity and a controlled weight of the retain loss."""

from collections.abc import Mapping, Sequence

import numpy as np

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Batch, Constants, Facts, Loss, Method, Outputs
from dual_data.statistics import average_ranks


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0) -> Loss:
    """L = -gamma mean_t sg(p_t)^b_i l_t over forget + alpha mean l_retain; b_i by row, alpha by the controller."""
    weight = (batch.forget.constants["exponent"] * policy.forget.log_p.detach()).exp()
    forget = -batch.forget.token_mean(weight * policy.forget.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    retain_before = batch.retain.token_mean(reference.retain.nll)
    alpha = batch.state["alpha"]
    parts = {
        "forget": forget,
        "forget_nll": forget_nll,
        "retain_nll": retain,
        "retain_before": retain_before,
        "alpha": alpha,
    }
    return Loss(gamma * forget + alpha * retain, parts)


def exponents(
    facts: Facts,
    *,
    by: str = "quantile",
    scale: float = 58.7,
    power: float = 0.796,
    lowest: float = 0.05,
    highest: float = 2.0,
) -> Constants:
    """b_i = highest (lowest / highest)^u_i by `quantile`, u_i in [0, 1] the rank of row i's popularity s_i; or by
    `published` clip(scale s_i^-power, lowest, highest).

    `published` is fitted to the published pop_sum only. `quantile` has the same range whatever the unit of popularity.
    Its ranks, of which ties share the mean, are taken within a cell's own set, so it weights facts against each other,
    never one set against another.
    """
    if any(value is None for value in facts.popularity):
        raise UsageError("AdaPop needs the popularity of every forget row: a column pop_sum or popularity")
    values = [float(value) for value in facts.popularity if value is not None]
    if by == "published":
        by_row = [min(max(scale * max(s, 1e-9) ** -power, lowest), highest) for s in values]
    else:
        by_row = [highest * (lowest / highest) ** u for u in ranks(values)]
    return {"exponent": [[b] * len(labels) for b, labels in zip(by_row, facts.labels, strict=True)]}


def known_rule(*, by: str, lowest: float, highest: float, decay: float) -> None:
    """Raise ValueError for options that give no exponents, and for a decay with which R is no average of losses."""
    if by not in ("quantile", "published"):
        raise ValueError(f"by: {by!r} is neither quantile nor published")
    if not (0 <= lowest <= highest and highest > 0):
        raise ValueError(f"lowest: {lowest:g}, with highest {highest:g}, is not 0 <= lowest <= highest > 0")
    if not 0 <= decay < 1:
        raise ValueError(f"decay: {decay:g} is not 0 <= decay < 1")


def share_clipped(
    facts: Facts, *, by: str, scale: float, power: float, lowest: float, highest: float
) -> dict[str, float]:
    """Share of rows whose published exponent is outside [lowest, highest], where popularity no longer matters."""
    raw = [scale * max(float(value or 0.0), 1e-9) ** -power for value in facts.popularity]
    clipped = sum(not lowest <= b <= highest for b in raw) / len(raw)
    return {"share_of_exponents_clipped": clipped if by == "published" else 0.0}


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value, scaled to [0, 1]; equal values share their mean rank; 0.5 for a single value."""
    last = len(values) - 1
    return [(rank - 1) / last if last else 0.5 for rank in average_ranks(np.asarray(values)).tolist()]


class DualAscent:
    """alpha = clip(start_alpha + lambda, 0, most_alpha), lambda 0 at first; after each epoch lambda <- clip(lambda +
    rate (max(0, (R - R0) / R0) - tolerance), 0, lambda_most), R l_retain averaged by `decay` and R0 the reference's.

    R is averaged exponentially over steps, and R0 over the same rows. The published code differs in three points that
    disable its controller: R0 is taken after an epoch of drift, alpha is capped below what lambda can reach, and the
    rate is 0.1.
    """

    def __init__(
        self,
        *,
        start_alpha: float = 0.5,
        most_alpha: float = 5.5,
        rate: float = 1.0,
        tolerance: float = 0.1,
        lambda_most: float = 5.0,
        decay: float = 0.9,
    ) -> None:
        self._start, self._most, self._rate = start_alpha, most_alpha, rate
        self._tolerance, self._lambda_most, self._decay = tolerance, lambda_most, decay
        self._lambda = 0.0
        self._average: float | None = None

    def start(self) -> dict[str, float]:
        """Alpha before the first step."""
        return {"alpha": min(max(self._start, 0.0), self._most)}

    def after_epoch(self, parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Alpha for the next epoch, from the retain losses of each step of the last one."""
        before = sum(parts["retain_before"]) / len(parts["retain_before"])
        for value in parts["retain_nll"]:
            average = before if self._average is None else self._average
            self._average = self._decay * average + (1.0 - self._decay) * value
        assert self._average is not None, "an epoch has at least one step"
        drift = max(0.0, (self._average - before) / max(before, 1e-12))
        self._lambda = min(max(self._lambda + self._rate * (drift - self._tolerance), 0.0), self._lambda_most)
        return {"alpha": min(max(self._start + self._lambda, 0.0), self._most)}


METHOD = Method(
    "AdaPop",
    loss,
    "popularity-aware WGA of the follow-up to the DUAL benchmark; exponents by rank quantile unless by = published",
    reference=frozenset({"retain"}),
    constants=exponents,
    notes=share_clipped,
    controller=DualAscent,
    check=known_rule,
)
