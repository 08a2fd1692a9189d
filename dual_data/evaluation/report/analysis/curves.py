"""What curves over learning rates show: retention at equal forgetting, jumps, the area under the frontier."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from dual_data.bootstrap import UNKNOWN, Interval, Spread, quantiles
from dual_data.evaluation.report.analysis.contrast import Contrast, contrast_of_draws, models_of
from dual_data.evaluation.report.analysis.frontier import Point, area, retain_at
from dual_data.evaluation.report.analysis.levels import Levels, Weights, levels_of
from dual_data.evaluation.report.analysis.runs import Group
from dual_data.statistics import Floats

_REPLICATES = 1000
"""Fewer draws than elsewhere, since each takes a pass over all points of a curve."""
_MIN_FORGOTTEN = 0.2
"""Share of the forget score that must be lost at some learning rate for jumps to be compared."""
LOST = 0.5
"""Retention is compared where this share of the forget score is lost."""
_MAX_GAP = 0.5
"""Largest gap between the points on either side that retention is interpolated over, as a share of the forget score."""
Statistic = Callable[[list[Point]], float | None]
"""A statistic of the points of a curve, the last of which is before unlearning; None where it is undefined."""


def compare_retention(first: Group, second: Group) -> Contrast | None:
    """Retention of `first` minus that of `second` where both have lost `LOST` of the forget score.

    Both are relative to the model before unlearning, and interpolated between the points on either side. None where a
    group does not lose that much, has no points close enough on either side, or has a value in fewer than half of the
    draws.
    """
    return _contrast(first, second, _retention)


def compare_jumps(first: Group, second: Group) -> Contrast | None:
    """Largest jump of `first` minus that of `second` over the learning rates of both.

    None for fewer than two rates, and where a group hardly forgets at any. Noise alone makes the largest of several
    changes large, the more so the more noise there is: the difference is descriptive, and no test of it is valid.
    """
    common = set(first.lrs) & set(second.lrs)
    left, right = (
        group._replace(runs=tuple(run for run in group.runs if run.lr in common)) for group in (first, second)
    )
    return _contrast(left, right, lambda points: _jump(points) if _has_forgotten(points) else None)


def largest_jump(group: Group) -> Interval:
    """Largest change of the forget score, relative to before, between neighbouring points; UNKNOWN for one rate.

    The curve begins with the model before unlearning, where the rate is 0: a first rate at which all is lost is a jump.
    The interval is that of the change between these two points.
    """
    return _interval(group, _jump)


def frontier_area(group: Group) -> Interval:
    """Area under the frontier of forget and retain_eval (`frontier.area`); UNKNOWN where nothing was measured."""
    return _interval(group, lambda _: lambda points: area(points[:-1], points[-1]))


def _jump(points: Sequence[Point]) -> Statistic | None:
    """The relative change of the forget score at the step where it is largest, positive in its direction there."""
    if len(points) < 3 or points[-1].forget <= 0:
        return None
    changes = _changes(points)
    step = max(range(len(changes)), key=lambda index: abs(changes[index]))
    sign = -1 if changes[step] < 0 else 1

    def jump(points: Sequence[Point]) -> float | None:
        before = points[-1].forget
        return sign * _changes(points)[step] / before if before > 0 else None

    return jump


def _changes(points: Sequence[Point]) -> list[float]:
    """Changes of the forget score from each point to the next, from before unlearning to the highest rate."""
    *rates, base = points
    return [b.forget - a.forget for a, b in itertools.pairwise([base, *rates])]


def _has_forgotten(points: Sequence[Point]) -> bool:
    *rates, base = points
    return min((point.forget for point in rates), default=base.forget) <= (1 - _MIN_FORGOTTEN) * base.forget


def _retention(points: Sequence[Point]) -> Statistic | None:
    forgets = [point.forget for point in _relative(points)]
    below = max((forget for forget in forgets if forget <= 1 - LOST), default=-math.inf)
    above = min((forget for forget in forgets if forget >= 1 - LOST), default=math.inf)
    if above - below > _MAX_GAP:
        return None
    return lambda points: retain_at(_relative(points), 1 - LOST)


def _relative(points: Sequence[Point]) -> list[Point]:
    """Points relative to the last, which is before unlearning; empty where that scores 0."""
    base = points[-1]
    if min(base.forget, base.retain) <= 0:
        return []
    return [Point(point.lr, point.forget / base.forget, point.retain / base.retain) for point in points]


def _interval(group: Group, make_statistic: Callable[[list[Point]], Statistic | None]) -> Interval:
    """`make_statistic` of the exact points gives the statistic for every draw; UNKNOWN where it gives none.

    UNKNOWN too where no draw differs, as when all scores are 1: an interval without width would claim certainty.
    """
    if (levels := levels_of(group)) is None or (statistic := make_statistic(levels.points())) is None:
        return UNKNOWN
    exact = statistic(levels.points())
    drawn = levels.draws(levels.weights(_REPLICATES), np.random.default_rng(0))
    values = [statistic(points) for points in drawn]
    defined = np.array([value for value in values if value is not None])
    has_spread = len(defined) > 0 and defined.min() < defined.max()
    return Interval(exact, *quantiles(defined)) if exact is not None and has_spread else UNKNOWN


def _contrast(
    first: Group, second: Group, make_statistic: Callable[[list[Point]], Statistic | None]
) -> Contrast | None:
    sides = [levels for group in (first, second) if (levels := levels_of(group)) is not None]
    statistics = [statistic for side in sides if (statistic := make_statistic(side.points())) is not None]
    if len(statistics) < 2:
        return None
    values = (statistic(side.points()) for statistic, side in zip(statistics, sides, strict=True))
    exact = [value for value in values if value is not None]
    if len(exact) < 2:
        return None
    weights = [side.weights(_REPLICATES) for side in sides]

    def draw(number: int, degrees: float | None) -> Floats:
        random = np.random.default_rng(models_of(first.key.data, number))
        drawn = sides[number].draws(weights[number], random, degrees)
        return np.array([statistics[number](points) for points in drawn], dtype=float)

    spread = _spread(statistics, sides, weights)
    difference = draw(0, spread.degrees) - draw(1, spread.degrees)
    if np.isnan(difference).sum() > _REPLICATES / 2:
        return None
    sums = [of_set for side in sides for of_set in side.sides]
    clusters = min(len(of_set.names) for of_set in sums)
    facts = int(min(of_set.sizes.sum() for of_set in sums))
    seeds = min(len(group.at(lr)) for group in (first, second) for lr in group.lrs)
    return contrast_of_draws(exact, [draw(0, None), draw(1, None)], difference, facts, clusters, seeds, spread)


def _spread(statistics: Sequence[Statistic], sides: Sequence[Levels], weights: Sequence[Weights]) -> Spread:
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
