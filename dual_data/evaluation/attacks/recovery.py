"""How much an attack recovers of what was forgotten, beyond its effect on a control with nothing to recover."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dual_data.bootstrap import UNIT, Interval, bootstrap_function, mean_draws, quantiles
from dual_data.statistics import Floats

LEVELS = (0.5, 0.9)
"""Shares of the gap for which the steps are reported."""


class Recovery(NamedTuple):
    """Recovery along a relearning curve. Intervals are over seeds and subjects."""

    steps: Floats
    """The scored steps."""
    exact: Floats
    """Recovered shares on all facts [1, steps]."""
    drawn: Floats
    """The same in bootstrap draws of seeds and subjects [replicates, steps]."""
    area: Interval
    """Share recovered by the mean score over log2(1 + step); 0 none, 1 all at once."""
    by_fact: Floats
    """[seeds, facts]: values whose mean is the area, and whose variation is that of the area (:func:`_linear`)."""
    lost: float
    """Number of the facts that unlearning took, on average over seeds."""

    def steps_to(self, level: float) -> Interval:
        """First scored step at which the share `level` of the gap is recovered; infinite where it never is.

        The ends of the interval are scored steps, or infinite.
        """
        exact, drawn = (_first(self.steps, shares, level) for shares in (self.exact, self.drawn))
        low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
        return Interval(float(exact[0]), float(low), float(high))


def recovered(gain: ArrayLike, by_control: ArrayLike, gap: ArrayLike) -> Floats:
    """Share of the gap between the unlearned model and the base that a treatment closes; 0 where there is no gap.

    `gain` is what the unlearned model gains by the treatment, `by_control` what the control does, which is no recovery;
    a loss of the control counts as no gain. The share is not cut to [0, 1]: a mean of shares that noise cannot bring
    below 0 would be above 0 by noise alone.
    """
    closed, width = np.asarray(gain) - np.maximum(0.0, by_control), np.asarray(gap)
    share: Floats = closed / np.where(width > 0, width, 1.0) * (width > 0)
    return share


def recovery(
    steps: Sequence[int], tuned: ArrayLike, control: ArrayLike, base: ArrayLike, subjects: Sequence[Hashable]
) -> Recovery:
    """Recovery from scores of held-out facts: `tuned` and `control` [steps, facts] from step 0 on, `base` [facts].

    Several seeds are one more axis in front. Recovery is the tuned model's gain over its own start, minus the control's
    gain over its own.
    """
    at_steps = np.asarray(steps, dtype=float)
    widths = np.diff(np.log2(1 + at_steps))
    weights = (np.append(widths, 0.0) + np.insert(widths, 0, 0.0)) / (2 * widths.sum())

    tables = [np.asarray(curve, dtype=float) for curve in (tuned, control)]
    gained, by_control = (_gains(table if table.ndim == 3 else table[None], weights) for table in tables)
    gap = np.atleast_2d(np.asarray(base, dtype=float) - tables[0][..., 0, :])
    parts = (gained, by_control, gap[:, None])
    exact, drawn = (recovered(*means) for means in zip(*(_means(part, subjects) for part in parts), strict=True))
    area = Interval(float(exact[0, -1]), *quantiles(drawn[:, -1]))
    counted = by_control[:, -1].mean() > 0
    by_fact = _linear(gained[:, -1] - by_control[:, -1] * counted, gap)
    return Recovery(at_steps, exact[:, :-1], drawn[:, :-1], area, by_fact, float(gap.sum(1).mean()))


def _gains(table: Floats, weights: Floats) -> Floats:
    """What each fact gains since step 0, and as one more step the mean over all.

    [seeds, steps, facts] to [seeds, steps + 1, facts]. A control's loss is cut in that mean once, not at every step,
    where noise is larger.
    """
    above_start = table - table[:, :1]
    return np.append(above_start, np.einsum("stf,t->sf", above_start, weights)[:, None], axis=1)


def _linear(gained: Floats, gap: Floats) -> Floats:
    """The ratio of two means, linear in the facts: for comparisons, which take means (the delta method).

    With r = mean(gained) / mean(gap), a fact's value is r + (gained - r gap) / mean(gap). All are 0 without a gap.
    """
    width = gap.mean()
    if width <= 0:
        return np.zeros_like(gained)
    share = gained.mean() / width
    values: Floats = share + (gained - share * gap) / width
    return values


def _means(table: Floats, subjects: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Means by step of a curve [seeds, steps, facts]: [1, steps], and in draws [draws, steps]."""
    at_each_step = np.moveaxis(table, 1, 0)
    draws = [mean_draws(values, subjects) for values in at_each_step]
    return at_each_step.mean((1, 2))[None], np.stack(draws, axis=1)


def _first(steps: Floats, shares: Floats, level: float) -> Floats:
    """For each row, the first step whose share reaches the level; infinite where none does."""
    reached = shares >= level - 1e-9  # shares are rounded, so half is not always 0.5
    first: Floats = np.where(reached, steps, np.inf).min(1)
    return first


def recovered_share(
    before: ArrayLike, unlearned: ArrayLike, attacked: ArrayLike, control: ArrayLike, subjects: Sequence[Hashable]
) -> Interval:
    """Recovered share of one treatment from the scores of each fact, with an interval over seeds and subjects.

    `attacked` is the unlearned model after the treatment, `control` the model before unlearning after it; all are
    [facts] or [seeds, facts].
    """

    def share(before: Floats, unlearned: Floats, attacked: Floats, control: Floats) -> Floats:
        return recovered(attacked - unlearned, control - before, before - unlearned)

    return bootstrap_function(share, (before, unlearned, attacked, control), subjects, UNIT)
