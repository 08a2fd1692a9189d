"""The comparisons that the report's answers rest on, each with an interval over seeds and subjects.

Forgetting is the drop of ROUGE-L recall on the forget set. Two sets of different facts are compared by drawing each
side's subjects apart; two stages on the same facts by drawing them together.
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
    interval_of,
    mean_draws,
    mean_spread,
    quantiles,
)

_REPLICATES = 1000
_SEED = 0
CALIPER = 0.25
"""Largest difference in base log-probability a token between two facts that are paired, in nats."""
_FEWEST = 10
"""Pairs that a comparison of paired facts needs."""
_FORGOTTEN = 0.2
"""Share of the forget score that must be gone at some learning rate before jumps say anything."""
SHARE = 0.5
"""Retention is compared where this share of the forget score is gone."""
_WIDEST = 0.5
"""Retention is read where rates were measured on both sides no further apart than this share of the forget score."""

Statistic = Callable[[list[Point]], float | None]
"""Of the points of a curve, of which the last is before unlearning."""


class Pairing(NamedTuple):
    """Facts of two sets that the models before unlearning treat alike."""

    pairs: list[tuple[int, int]]
    confidence: Interval
    """Mean of first minus second in the base's mean log-probability of the answer, in nats a token."""
    score: Interval
    """The same of its ROUGE-L recall."""


class Contrast(NamedTuple):
    """A difference between two groups."""

    difference: Interval
    first: Interval
    second: Interval
    facts: int
    """Facts on each side that it is measured on."""
    seeds: int
    """Training seeds of the side and learning rate that has the fewest."""
    draws: Floats
    """The difference in bootstrap draws, NaN in one that has none. The k-th draw is of the same subjects in every
    contrast over the same sets, however many of their facts it uses."""


def forgetting(group: Group, lr: float) -> tuple[Floats, tuple[str, ...]]:
    """Drop of each forget item [seeds, items] from before, and the items' subjects."""
    runs = group.at(lr)
    before = [before_of(group.before, run) for run in runs]
    drops = stack(before, "forget", "rougeL_recall") - stack(runs, "forget", "rougeL_recall")
    return drops, clusters(runs, "forget")


def compare_sets(first: Group, second: Group, lr: float) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over all their facts."""
    sides = forgetting(first, lr), forgetting(second, lr)
    return _contrast(sides, [names for _, names in sides])


def pair_facts(first: Group, second: Group) -> Pairing | None:
    """Pair facts that the model before unlearning answers both or neither, with like probability, within `CALIPER`.

    Both are means over its seeds. None where fewer than ten facts can be paired.
    """

    def before(score: str) -> tuple[Floats, Floats]:
        one, two = (stack(group.before, "forget", score).mean(0) for group in (first, second))
        return one, two

    confidence, answered, recall = before("mean_log_probability"), before("contains_answer"), before("rougeL_recall")
    pairs = nearest_pairs(*confidence, apart=(answered[0] >= 0.5)[:, None] != (answered[1] >= 0.5)[None, :])
    if len(pairs) < _FEWEST:
        return None
    left, right = (list(side) for side in zip(*pairs, strict=True))
    gaps = (bootstrap_difference(one[left], two[right], range(len(pairs))) for one, two in (confidence, recall))
    return Pairing(pairs, *gaps)


def nearest_pairs(
    first: Floats, second: Floats, caliper: float = CALIPER, *, apart: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Index pairs of like value, each value used once, the closest first; none where `apart` [first, second] holds."""
    distance = np.abs(first[:, None] - second[None, :])
    near = distance <= caliper if apart is None else (distance <= caliper) & ~apart
    left, right = np.nonzero(near)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(distance[near], kind="stable").tolist():
        one, two = int(left[place]), int(right[place])
        if one not in pairs and two not in taken:
            pairs[one] = two
            taken.add(two)
    return sorted(pairs.items())


def compare_pairs(first: Group, second: Group, lr: float, pairing: Pairing) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over paired facts."""
    sides = forgetting(first, lr), forgetting(second, lr)
    some = [
        (drops[:, places], [names[place] for place in places])
        for (drops, names), places in zip(sides, map(list, zip(*pairing.pairs, strict=True)), strict=True)
    ]
    return _contrast(some, [names for _, names in sides])


def compare_retention(first: Group, second: Group) -> Contrast | None:
    """Retention of `first` minus that of `second` where both have lost `SHARE` of the forget score.

    Both are relative to the model before unlearning, and read between the measurements on either side. None where one
    of them does not get there, or has no two points close to it, or gets there in fewer than half of the draws.
    """
    return _of_curves(first, second, _retention)


def compare_jumps(first: Group, second: Group) -> Contrast | None:
    """Largest jump of `first` minus that of `second` over the learning rates of both.

    None for fewer than two, and where one of them has hardly forgotten at any. The largest of several changes is large
    by noise alone, and more so where there is more noise: the difference is described, and no test of it holds.
    """
    common = set(first.lrs) & set(second.lrs)
    one, two = (group._replace(runs=tuple(run for run in group.runs if run.lr in common)) for group in (first, second))
    return _of_curves(one, two, lambda points: _jump(points) if _has_forgotten(points) else None)


def largest_jump(group: Group) -> Interval | None:
    """Largest change of the forget score, relative to before, between neighbouring learning rates; None for one.

    The interval is of the change between the two where it is largest.
    """
    return _of_curve(group, _jump)


def frontier_area(group: Group) -> Interval | None:
    """Area under the frontier of forget and retain_eval, as `frontier.area` has it; None where nothing was measured."""
    return _of_curve(group, lambda _: lambda points: area(points[:-1], points[-1]))


def _jump(points: Sequence[Point]) -> Statistic | None:
    """The change of the forget score at the step where it is largest, relative to before, in that direction."""
    *rates, base = points
    if len(rates) < 2 or base.forget <= 0:
        return None
    steps = [b.forget - a.forget for a, b in itertools.pairwise(rates)]
    place = max(range(len(steps)), key=lambda step: abs(steps[step]))
    sign = 1 if steps[place] > 0 else -1
    return lambda drawn: (
        sign * (drawn[place + 1].forget - drawn[place].forget) / drawn[-1].forget if drawn[-1].forget > 0 else None
    )


def _has_forgotten(points: Sequence[Point]) -> bool:
    *rates, base = points
    return min((point.forget for point in rates), default=base.forget) <= (1 - _FORGOTTEN) * base.forget


def _retention(points: Sequence[Point]) -> Statistic | None:
    forgets = [point.forget for point in _relative(points)]
    below = max((forget for forget in forgets if forget <= 1 - SHARE), default=-math.inf)
    above = min((forget for forget in forgets if forget >= 1 - SHARE), default=math.inf)
    if above - below > _WIDEST:
        return None
    return lambda drawn: retain_at(_relative(drawn), 1 - SHARE)


def _relative(points: Sequence[Point]) -> list[Point]:
    """To the last, which is before unlearning; nothing where that knows nothing."""
    base = points[-1]
    if base.forget <= 0 or base.retain <= 0:
        return []
    return [Point(point.lr, point.forget / base.forget, point.retain / base.retain) for point in points]


def _of_curve(group: Group, of: Callable[[list[Point]], Statistic | None]) -> Interval | None:
    """`of` the exact points is the statistic of every draw; None where they have none."""
    levels = levels_of(group)
    statistic = None if levels is None else of(levels.points())
    if levels is None or statistic is None:
        return None
    exact = statistic(levels.points())
    random = np.random.default_rng(_SEED)
    found = [statistic(points) for points in levels.drawn(levels.weights(random, _REPLICATES), random)]
    kept = np.array([value for value in found if value is not None])
    return Interval(exact, *quantiles(kept)) if exact is not None and len(kept) else None


def _of_curves(first: Group, second: Group, of: Callable[[list[Point]], Statistic | None]) -> Contrast | None:
    sides = [levels for group in (first, second) if (levels := levels_of(group)) is not None]
    statistics = [statistic for side in sides if (statistic := of(side.points())) is not None]
    if len(statistics) < 2:
        return None
    exact = [statistic(side.points()) for statistic, side in zip(statistics, sides, strict=True)]
    if exact[0] is None or exact[1] is None:
        return None
    random = np.random.default_rng(_SEED)
    weights = [side.weights(random, _REPLICATES) for side in sides]
    # The same facts are drawn for both where they are the same: popular and rare are two sets, with one to retain.
    if sides[0].forget_names == sides[1].forget_names:
        weights[1] = weights[1]._replace(forget=weights[0].forget)
    if sides[0].retain_names == sides[1].retain_names:
        weights[1] = weights[1]._replace(retain=weights[0].retain)
    draws = [side.drawn(picked, random) for side, picked in zip(sides, weights, strict=True)]
    pairs = [(statistics[0](one), statistics[1](two)) for one, two in zip(*draws, strict=True)]
    one, two = np.array([pair if None not in pair else (np.nan, np.nan) for pair in pairs], dtype=float).T
    if np.isnan(one).sum() > _REPLICATES / 2:
        return None
    clusters = min(len(names) for side in sides for names in (side.forget_names, side.retain_names))
    facts = int(min(sizes.sum() for side in sides for sizes in (side.forget_sizes, side.retain_sizes)))
    seeds = min(len(group.at(lr)) for group in (first, second) for lr in group.lrs)
    spread = partial(_spread_of_curves, statistics, sides, weights)
    return _of_draws((exact[0], exact[1]), (one, two), facts, clusters, seeds, spread)


def _spread_of_curves(statistics: Sequence[Statistic], sides: Sequence[Levels], weights: Sequence[Weights]) -> Spread:
    """Of the difference of two curves' statistics: by subjects from draws of them, by seeds from leaving each out."""
    drawn = [
        np.array([statistic(points) for points in side.held(picked)], dtype=float)
        for statistic, side, picked in zip(statistics, sides, weights, strict=True)
    ]
    by_seed = []
    for statistic, side in zip(statistics, sides, strict=True):
        for level in side.without_each_seed():
            found = [value for points in level if (value := statistic(points)) is not None]
            if len(found) > 1:  # the jackknife
                by_seed.append((float(np.var(found)) * (len(found) - 1), len(found) - 1))
    return Spread(float(np.nanvar(drawn[0] - drawn[1])), tuple(by_seed))


def _contrast(sides: Sequence[tuple[Floats, Sequence[str]]], among: Sequence[Sequence[str]]) -> Contrast:
    """Of two sides' items [seeds, items] with their subjects, each drawn for itself among all subjects of its set."""
    one, two = (
        mean_draws(*side, among=names, seed=(_SEED, place))
        for place, (side, names) in enumerate(zip(sides, among, strict=True))
    )
    exact = [float(values.mean()) for values, _ in sides]
    facts = min(values.shape[1] for values, _ in sides)
    clusters = min(len(set(names)) for _, names in sides)
    seeds = min(len(values) for values, _ in sides)
    return _of_draws((exact[0], exact[1]), (one, two), facts, clusters, seeds, partial(_spread_of_means, sides))


def _spread_of_means(sides: Sequence[tuple[Floats, Sequence[str]]]) -> Spread:
    """Of the difference of two sides' means."""
    spreads = [mean_spread(*side) for side in sides]
    return Spread(sum(one.subjects for one in spreads), tuple(term for one in spreads for term in one.seeds))


def _of_draws(
    exact: tuple[float, float],
    draws: tuple[Floats, Floats],
    facts: int,
    clusters: int,
    seeds: int,
    spread: Callable[[], Spread],
) -> Contrast:
    known = ~np.isnan(draws[0] - draws[1])
    one, two = draws[0][known], draws[1][known]
    return Contrast(
        interval_of(exact[0] - exact[1], one - two, clusters, spread),
        Interval(exact[0], *quantiles(one)),
        Interval(exact[1], *quantiles(two)),
        facts,
        seeds,
        draws[0] - draws[1],
    )


def average(contrasts: Sequence[Contrast]) -> Interval:
    """Mean difference of several contrasts, its interval of the same draws of subjects in all of them.

    So it is as narrow as the facts that they do not share make it, and no narrower. In a draw that some of them have
    not, it is the mean of the others.
    """
    draws = np.stack([one.draws for one in contrasts])
    known = ~np.isnan(draws)
    counts = known.sum(0)
    means = np.where(known, draws, 0.0).sum(0)[counts > 0] / counts[counts > 0]
    return Interval(float(np.mean([one.difference.value for one in contrasts])), *quantiles(means))
