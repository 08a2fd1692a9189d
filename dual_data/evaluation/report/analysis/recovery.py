"""How much an attack recovers of what was forgotten, beyond its effect on a control with nothing to recover.

What the control gains by the attack is no recovery. What it loses is harm, which the unlearned model also takes, but
only to what it still knows. So there are two shares: one that leaves the control's losses out, and one that counts
them, a difference in differences. Where unlearning left u facts and took g, and the attack brings back a share r of
these but costs a share h of all facts known, the first is r - h (r + u / g) and the second r + h (1 - r): the truth is
between.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dual_data.bootstrap import UNIT, Interval, Scale, bootstrap_function, interval_of, mean_draws, mean_spread
from dual_data.statistics import Floats

LEVELS = (0.5, 0.9)
"""Shares of the gap for which the steps are reported."""


class Share(NamedTuple):
    """Share of the loss recovered by the mean score over log2(1 + step); 0 none, 1 all at once."""

    interval: Interval
    """Over seeds and subjects, with the p-value of "none is recovered"."""
    by_fact: Floats
    """[seeds, facts]: values with the mean and the variation of the share (:func:`_linear`)."""


class Recovery(NamedTuple):
    """Recovery along a relearning curve. The control's losses count in `area_with_losses` only."""

    steps: Floats
    """The scored steps."""
    exact: Floats
    """Recovered shares on all facts [1, steps]."""
    drawn: Floats
    """The same in bootstrap draws of seeds and subjects [replicates, steps]."""
    area: Share
    area_with_losses: Share
    lost: float
    """Number of the facts that unlearning took, on average over seeds."""

    def steps_to(self, level: float) -> Interval:
        """First scored step at which the share `level` of the gap is recovered; infinite where it never is.

        The ends of the interval are scored steps, or infinite.
        """
        exact, drawn = (_first(self.steps, shares, level) for shares in (self.exact, self.drawn))
        low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
        return Interval(float(exact[0]), float(low), float(high))


def recovered(gain: ArrayLike, by_control: ArrayLike, gap: ArrayLike, *, with_losses: bool = False) -> Floats:
    """Share of the gap between the unlearned model and the base that a treatment closes; 0 where there is no gap.

    `gain` is what the unlearned model gains by the treatment, `by_control` what the control does; a loss of the control
    counts as no gain, or `with_losses` as what it is. The share is not cut to [0, 1]: a mean of shares that noise
    cannot bring below 0 would be above 0 by noise alone.
    """
    taken_off = np.asarray(by_control) if with_losses else np.maximum(0.0, by_control)
    closed, width = np.asarray(gain) - taken_off, np.asarray(gap)
    share: Floats = closed / np.where(width > 0, width, 1.0) * (width > 0)
    return share


def recovery(
    steps: Sequence[int], tuned: ArrayLike, control: ArrayLike, base: ArrayLike, subjects: Sequence[Hashable]
) -> Recovery:
    """Recovery from scores of held-out facts: `tuned` and `control` [steps, facts] from step 0 on, `base` [facts].

    Several seeds are one more axis in front. Gains are over each model's own start.
    """
    at_steps = np.asarray(steps, dtype=float)
    widths = np.diff(np.log2(1 + at_steps))
    weights = (np.append(widths, 0.0) + np.insert(widths, 0, 0.0)) / (2 * widths.sum())

    tables = [np.asarray(curve, dtype=float) for curve in (tuned, control)]
    gained, by_control = (_gains(table if table.ndim == 3 else table[None], weights) for table in tables)
    gap = np.atleast_2d(np.asarray(base, dtype=float) - tables[0][..., 0, :])
    parts = [_means(part, subjects) for part in (gained, by_control, gap[:, None])]

    def shares(*, with_losses: bool) -> tuple[Floats, Floats, Share]:
        exact, drawn = (recovered(*means, with_losses=with_losses) for means in zip(*parts, strict=True))
        counted = with_losses or by_control[:, -1].mean() > 0
        by_fact = _linear(gained[:, -1] - by_control[:, -1] * counted, gap)
        of_all = interval_of(
            float(exact[0, -1]), drawn[:, -1], len(set(subjects)), lambda: mean_spread(by_fact, subjects)
        )
        return exact[:, :-1], drawn[:, :-1], Share(of_all, by_fact)

    lost = float(gap.sum(1).mean())
    return Recovery(at_steps, *shares(with_losses=False), shares(with_losses=True)[-1], lost)


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
    before: ArrayLike,
    unlearned: ArrayLike,
    attacked: ArrayLike,
    control: ArrayLike,
    subjects: Sequence[Hashable],
    scale: Scale = UNIT,
    *,
    with_losses: bool = False,
) -> Interval:
    """Recovered share of one treatment from the scores of each fact, with an interval over seeds and subjects.

    `attacked` is the unlearned model after the treatment, `control` the model before unlearning after it; all are
    [facts] or [seeds, facts], on one scale. `with_losses` is as in :func:`recovered`.
    """

    def share(before: Floats, unlearned: Floats, attacked: Floats, control: Floats) -> Floats:
        return recovered(attacked - unlearned, control - before, before - unlearned, with_losses=with_losses)

    return bootstrap_function(share, (before, unlearned, attacked, control), subjects, scale)
