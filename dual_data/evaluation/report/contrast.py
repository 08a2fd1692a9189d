"""The comparisons behind the report's answers, each with an interval over seeds and subjects.

Forgetting is the drop of ROUGE-L recall on the forget set. For two sets of different facts, the subjects of each side
are drawn separately; for two stages on the same facts, they are drawn together. For two parts of one set, seeds are
drawn together too: both parts are measured on the same models.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.evaluation.report.collect import Group, clusters, stack
from dual_data.evaluation.report.frontier import Point, area, retain_at
from dual_data.evaluation.report.levels import Levels, Weights, levels_of
from dual_data.evaluation.report.places import before_of
from dual_data.evaluation.statistics import (
    Floats,
    Interval,
    Spread,
    bootstrap_difference,
    bootstrap_mean,
    interval_of,
    mean_draws,
    mean_spread,
    quantiles,
)

_REPLICATES = 1000
_SEED = 0
CALIPER = 0.25
"""Largest difference in base log-probability per token between two paired facts, in nats."""
_MIN_FACTS = 10
"""Least number of pairs for a comparison of paired facts, and of facts on either side of one within a set."""
_MIN_FORGOTTEN = 0.2
"""Share of the forget score that must be lost at some learning rate for jumps to be compared."""
SHARE = 0.5
"""Retention is compared where this share of the forget score is lost."""
_MAX_GAP = 0.5
"""Largest gap between the points on either side that retention is interpolated over, as a share of the forget score."""

Statistic = Callable[[list[Point]], float | None]
"""A statistic of the points of a curve, the last of which is before unlearning; None where it is undefined."""


_Side = tuple[Floats, Sequence[str]]
"""Items [seeds, items] and their subjects."""


class Pairing(NamedTuple):
    """Pairs of facts of two sets on which the models before unlearning behave alike."""

    pairs: list[tuple[int, int]]
    """Indices of the items."""
    confidence: Interval
    """Mean difference, first minus second, in the base's log-probability of the answer, in nats per token."""
    score: Interval
    """The same for its ROUGE-L recall."""


class Contrast(NamedTuple):
    """A difference between two groups."""

    difference: Interval
    first: Interval
    second: Interval
    facts: int
    """Least number of facts that a side is measured on."""
    seeds: int
    """Number of training seeds, of the side and learning rate that have the fewest."""
    draws: Floats
    """The difference in every bootstrap draw; NaN where it is undefined. The k-th draw has the same subjects in every
    contrast over the same sets, however many of their facts it uses."""


def forgetting(group: Group, lr: float) -> tuple[Floats, tuple[str, ...]]:
    """Drop in the score of each forget item since before unlearning, [seeds, items], and the items' subjects."""
    runs = group.at(lr)
    before = [before_of(group.before, run) for run in runs]
    drops = stack(before, "forget", "rougeL_recall") - stack(runs, "forget", "rougeL_recall")
    return drops, clusters(runs, "forget")


def compare_sets(first: Group, second: Group, lr: float) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over all their facts."""
    sides = forgetting(first, lr), forgetting(second, lr)
    return _mean_contrast(sides, [names for _, names in sides])


def pair_facts(first: Group, second: Group) -> Pairing | None:
    """Pair facts that the model before unlearning answers both or neither and with similar probability.

    Log-probabilities differ by at most `CALIPER`. Both criteria use means over seeds. None for fewer than ten pairs.
    """

    def before(score: str) -> tuple[Floats, Floats]:
        left, right = (stack(group.before, "forget", score).mean(0) for group in (first, second))
        return left, right

    confidence, answered, recall = before("mean_log_probability"), before("contains_answer"), before("rougeL_recall")
    pairs = nearest_pairs(*confidence, apart=(answered[0] >= 0.5)[:, None] != (answered[1] >= 0.5)[None, :])
    if len(pairs) < _MIN_FACTS:
        return None
    left, right = (list(side) for side in zip(*pairs, strict=True))
    gaps = (bootstrap_difference(a[left], b[right], range(len(pairs))) for a, b in (confidence, recall))
    return Pairing(pairs, *gaps)


def nearest_pairs(
    first: Floats, second: Floats, caliper: float = CALIPER, *, apart: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Index pairs of similar values, each used once, closest first; no pair where `apart` [first, second] is true."""
    distance = np.abs(first[:, None] - second[None, :])
    eligible = distance <= caliper if apart is None else (distance <= caliper) & ~apart
    left, right = np.nonzero(eligible)
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for index in np.argsort(distance[eligible], kind="stable").tolist():
        i, j = int(left[index]), int(right[index])
        if i not in pairs and j not in used:
            pairs[i] = j
            used.add(j)
    return sorted(pairs.items())


def compare_pairs(first: Group, second: Group, lr: float, pairing: Pairing) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over paired facts."""
    sides = forgetting(first, lr), forgetting(second, lr)
    paired = [
        (drops[:, indices], [names[index] for index in indices])
        for (drops, names), indices in zip(sides, map(list, zip(*pairing.pairs, strict=True)), strict=True)
    ]
    return _mean_contrast(paired, [names for _, names in sides])


def compare_answered(group: Group, lr: float) -> Contrast | None:
    """Forgetting of the facts that the trivial rule answers minus that of the others, at one learning rate.

    None for fewer than ten of either.
    """
    drops, names = forgetting(group, lr)
    answered = group.before[0].trivial >= 0.5
    if min(answered.sum(), (~answered).sum()) < _MIN_FACTS:
        return None
    sides = [(drops[:, side], list(itertools.compress(names, side))) for side in (answered, ~answered)]
    return _mean_contrast(sides, [names, names], together=True)


def compare_retention(first: Group, second: Group) -> Contrast | None:
    """Retention of `first` minus that of `second` where both have lost `SHARE` of the forget score.

    Both are relative to the model before unlearning, and interpolated between the points on either side. None where a
    group does not lose that much, has no points close enough on either side, or has a value in fewer than half of the
    draws.
    """
    return _curve_contrast(first, second, _retention)


def compare_jumps(first: Group, second: Group) -> Contrast | None:
    """Largest jump of `first` minus that of `second` over the learning rates of both.

    None for fewer than two rates, and where a group hardly forgets at any. Noise alone makes the largest of several
    changes large, the more so the more noise there is: the difference is descriptive, and no test of it is valid.
    """
    common = set(first.lrs) & set(second.lrs)
    left, right = (
        group._replace(runs=tuple(run for run in group.runs if run.lr in common)) for group in (first, second)
    )
    return _curve_contrast(left, right, lambda points: _jump(points) if _has_forgotten(points) else None)


def largest_jump(group: Group) -> Interval | None:
    """Largest change of the forget score, relative to before, between neighbouring learning rates; None for one rate.

    The interval is that of the change between these two rates.
    """
    return _curve_interval(group, _jump)


def frontier_area(group: Group) -> Interval | None:
    """Area under the frontier of forget and retain_eval (`frontier.area`); None where nothing was measured."""
    return _curve_interval(group, lambda _: lambda points: area(points[:-1], points[-1]))


def _jump(points: Sequence[Point]) -> Statistic | None:
    """The relative change of the forget score at the step where it is largest, positive in its direction there."""
    *rates, base = points
    if len(rates) < 2 or base.forget <= 0:
        return None
    changes = [b.forget - a.forget for a, b in itertools.pairwise(rates)]
    step = max(range(len(changes)), key=lambda index: abs(changes[index]))
    sign = -1 if changes[step] < 0 else 1

    def jump(points: Sequence[Point]) -> float | None:
        before = points[-1].forget
        return sign * (points[step + 1].forget - points[step].forget) / before if before > 0 else None

    return jump


def _has_forgotten(points: Sequence[Point]) -> bool:
    *rates, base = points
    return min((point.forget for point in rates), default=base.forget) <= (1 - _MIN_FORGOTTEN) * base.forget


def _retention(points: Sequence[Point]) -> Statistic | None:
    forgets = [point.forget for point in _relative(points)]
    below = max((forget for forget in forgets if forget <= 1 - SHARE), default=-math.inf)
    above = min((forget for forget in forgets if forget >= 1 - SHARE), default=math.inf)
    if above - below > _MAX_GAP:
        return None
    return lambda points: retain_at(_relative(points), 1 - SHARE)


def _relative(points: Sequence[Point]) -> list[Point]:
    """Points relative to the last, which is before unlearning; empty where that scores 0."""
    base = points[-1]
    if base.forget <= 0 or base.retain <= 0:
        return []
    return [Point(point.lr, point.forget / base.forget, point.retain / base.retain) for point in points]


def _curve_interval(group: Group, make_statistic: Callable[[list[Point]], Statistic | None]) -> Interval | None:
    """`make_statistic` of the exact points gives the statistic for every draw; None where it gives none.

    None too where no draw differs, as when all scores are 1: an interval without width would claim certainty.
    """
    levels = levels_of(group)
    statistic = None if levels is None else make_statistic(levels.points())
    if levels is None or statistic is None:
        return None
    exact = statistic(levels.points())
    random = np.random.default_rng(_SEED)
    values = [statistic(points) for points in levels.draws(levels.weights(random, _REPLICATES), random)]
    defined = np.array([value for value in values if value is not None])
    has_spread = len(defined) > 0 and defined.min() < defined.max()
    return Interval(exact, *quantiles(defined)) if exact is not None and has_spread else None


def _curve_contrast(
    first: Group, second: Group, make_statistic: Callable[[list[Point]], Statistic | None]
) -> Contrast | None:
    sides = [levels for group in (first, second) if (levels := levels_of(group)) is not None]
    statistics = [statistic for side in sides if (statistic := make_statistic(side.points())) is not None]
    if len(statistics) < 2:
        return None
    exact = [statistic(side.points()) for statistic, side in zip(statistics, sides, strict=True)]
    if exact[0] is None or exact[1] is None:
        return None
    random = np.random.default_rng(_SEED)
    weights = [side.weights(random, _REPLICATES) for side in sides]
    # The same draws for both sides where the facts are the same: popular and rare sets share one retain set.
    if sides[0].forget.names == sides[1].forget.names:
        weights[1] = weights[1]._replace(forget=weights[0].forget)
    if sides[0].retain.names == sides[1].retain.names:
        weights[1] = weights[1]._replace(retain=weights[0].retain)
    draws = [side.draws(side_weights, random) for side, side_weights in zip(sides, weights, strict=True)]
    pairs = [(statistics[0](left), statistics[1](right)) for left, right in zip(*draws, strict=True)]
    values = np.array([pair if None not in pair else (np.nan, np.nan) for pair in pairs], dtype=float)
    if np.isnan(values[:, 0]).sum() > _REPLICATES / 2:
        return None
    sums = [of_set for side in sides for of_set in side]
    clusters = min(len(of_set.names) for of_set in sums)
    facts = int(min(of_set.sizes.sum() for of_set in sums))
    seeds = min(len(group.at(lr)) for group in (first, second) for lr in group.lrs)
    spread = partial(_curve_spread, statistics, sides, weights)
    return _contrast_of_draws((exact[0], exact[1]), (values[:, 0], values[:, 1]), facts, clusters, seeds, spread)


def _curve_spread(statistics: Sequence[Statistic], sides: Sequence[Levels], weights: Sequence[Weights]) -> Spread:
    """Spread of the difference of two curves' statistics: draws of subjects, and a jackknife over seeds."""
    values = [
        np.array([statistic(points) for points in side.draws_with_fixed_seeds(side_weights)], dtype=float)
        for statistic, side, side_weights in zip(statistics, sides, weights, strict=True)
    ]
    by_seed = []
    for statistic, side in zip(statistics, sides, strict=True):
        for level in side.without_each_seed():
            estimates = [value for points in level if (value := statistic(points)) is not None]
            if len(estimates) > 1:  # jackknife
                by_seed.append((float(np.var(estimates)) * (len(estimates) - 1), len(estimates) - 1))
    return Spread(float(np.nanvar(values[0] - values[1])), tuple(by_seed))


def _mean_contrast(sides: Sequence[_Side], among: Sequence[Sequence[str]], *, together: bool = False) -> Contrast:
    """Contrast of the means of two sides, whose subjects are drawn among all of their sets.

    `together` is for two parts of one set in the same models: both get the same draws of subjects and seeds.
    """
    left, right = (
        mean_draws(*side, among=names, seed=(_SEED, 0 if together else number))
        for number, (side, names) in enumerate(zip(sides, among, strict=True))
    )
    exact = [float(values.mean()) for values, _ in sides]
    facts = min(values.shape[1] for values, _ in sides)
    clusters = min(len(set(names)) for _, names in sides)
    seeds = min(len(values) for values, _ in sides)
    spread = partial(_spread_within, sides, among[0]) if together else partial(_mean_spread, sides)
    return _contrast_of_draws((exact[0], exact[1]), (left, right), facts, clusters, seeds, spread)


def _mean_spread(sides: Sequence[_Side]) -> Spread:
    """Spread of the difference of two sides' means, each with its own subjects and models."""
    spreads = [mean_spread(*side) for side in sides]
    return Spread(
        sum(spread.subjects for spread in spreads), tuple(term for spread in spreads for term in spread.seeds)
    )


def _spread_within(sides: Sequence[_Side], among: Sequence[str]) -> Spread:
    """Spread of the difference of the means of two parts of one set in the same models."""
    left, right = (mean_draws(values.mean(0), names, among=among, seed=_SEED) for values, names in sides)
    by_seed = sides[0][0].mean(1) - sides[1][0].mean(1)
    return Spread(float(np.nanvar(left - right)), mean_spread(by_seed[:, None], ["all"]).seeds)


def _contrast_of_draws(
    exact: tuple[float, float],
    draws: tuple[Floats, Floats],
    facts: int,
    clusters: int,
    seeds: int,
    spread: Callable[[], Spread],
) -> Contrast:
    defined = ~np.isnan(draws[0] - draws[1])
    left, right = draws[0][defined], draws[1][defined]
    return Contrast(
        interval_of(exact[0] - exact[1], left - right, clusters, spread),
        Interval(exact[0], *quantiles(left)),
        Interval(exact[1], *quantiles(right)),
        facts,
        seeds,
        draws[0] - draws[1],
    )


def compare_shares(first: Floats, second: Floats, subjects: Sequence[str], chosen: NDArray[np.bool_]) -> Contrast:
    """The share of `first` minus that of `second`, [seeds, items], over the chosen items of a set."""
    left, right, names = first[:, chosen], second[:, chosen], list(itertools.compress(subjects, chosen))
    return Contrast(
        bootstrap_difference(left, right, names),
        bootstrap_mean(left, names, share=True),
        bootstrap_mean(right, names, share=True),
        len(names),
        len(first),
        # Cut at the values measured, which are often 0 and 1 alone, the draws would lack the tail below zero.
        mean_draws(left - right, names, among=subjects, ends=(-1.0, 1.0), seed=_SEED),
    )


def average(contrasts: Sequence[Contrast]) -> Interval:
    """Mean difference of several contrasts, with an interval from the same draws of subjects in all of them.

    Facts that contrasts share therefore do not narrow the interval. In a draw where some contrasts are undefined, the
    mean is that of the others.
    """
    draws = np.stack([contrast.draws for contrast in contrasts])
    defined = ~np.isnan(draws)
    counts = defined.sum(0)
    means = np.where(defined, draws, 0.0).sum(0)[counts > 0] / counts[counts > 0]
    return Interval(float(np.mean([contrast.difference.value for contrast in contrasts])), *quantiles(means))
