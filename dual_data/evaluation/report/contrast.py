"""The comparisons that the report's answers rest on, each with an interval over seeds and subjects.

Forgetting is the drop of ROUGE-L recall on the forget set. Two sets of different facts are compared by drawing each
side's subjects apart; two stages on the same facts by drawing them together.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.evaluation.frontier import Point, area, retain_at
from dual_data.evaluation.report.collect import Group, clusters, stack
from dual_data.evaluation.report.levels import levels_of
from dual_data.evaluation.statistics import Interval, interval_of, mean_draws, quantiles

Floats = NDArray[np.float64]
_REPLICATES = 1000
CALIPER = 0.25
"""Largest difference in base log-probability a token between two facts that are paired, in nats."""


class Contrast(NamedTuple):
    """A difference between two groups."""

    difference: Interval
    first: Interval
    second: Interval
    facts: int
    """Facts on each side that it is measured on."""
    draws: Floats
    """The difference in bootstrap draws, NaN in one that has none. The k-th draw is of the same subjects in every
    contrast over the same sets, however many of their facts it uses."""


def forgetting(group: Group, lr: float) -> tuple[Floats, tuple[str, ...]]:
    """Drop of each forget item [seeds, items] from before, and the items' subjects."""
    runs = group.at(lr)
    before = {run.seed: run for run in group.before}
    same = [before.get(run.seed, group.before[0]) for run in runs]
    drops = stack(same, "forget", "rougeL_recall") - stack(runs, "forget", "rougeL_recall")
    return drops, clusters(runs, "forget")


def compare_sets(first: Group, second: Group, lrs: tuple[float, float], *, seed: int = 0) -> Contrast:
    """Forgetting of `first` minus that of `second`, each at its learning rate, over all their facts."""
    (one, names_one), (two, names_two) = forgetting(first, lrs[0]), forgetting(second, lrs[1])
    return _contrast((one, names_one), (two, names_two), (names_one, names_two), seed)


def compare_at_equal_confidence(
    first: Group, second: Group, lrs: tuple[float, float], *, seed: int = 0
) -> Contrast | None:
    """The same over facts paired by the base's mean log-probability of the answer, within `CALIPER`.

    Pairs are made greedily, each fact once. None where fewer than ten facts can be paired.
    """
    (one, names_one), (two, names_two) = forgetting(first, lrs[0]), forgetting(second, lrs[1])
    pairs = paired_by_confidence(
        stack(first.before[:1], "forget", "mean_log_probability")[0],
        stack(second.before[:1], "forget", "mean_log_probability")[0],
    )
    if len(pairs) < 10:
        return None
    left, right = (list(side) for side in zip(*pairs, strict=True))
    some = ((one[:, left], [names_one[i] for i in left]), (two[:, right], [names_two[i] for i in right]))
    return _contrast(*some, (names_one, names_two), seed)


def paired_by_confidence(first: Floats, second: Floats, caliper: float = CALIPER) -> list[tuple[int, int]]:
    """Index pairs of like value: both sides sorted, merged, each value used once."""
    left, right = np.argsort(first, kind="stable"), np.argsort(second, kind="stable")
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        distance = first[left[i]] - second[right[j]]
        if abs(distance) <= caliper:
            pairs.append((int(left[i]), int(right[j])))
            i, j = i + 1, j + 1
        elif distance < 0:
            i += 1
        else:
            j += 1
    return pairs


def compare_retention(first: Group, second: Group, *, share: float = 0.5, seed: int = 0) -> Contrast | None:
    """Retention of `first` minus that of `second` where both have forgotten the same `share` of what they knew.

    Both are relative to the model before unlearning, along the frontier over learning rates. None where one of them
    does not get there, or gets there in fewer than half of the draws.
    """
    return _of_curves(first, second, lambda points: _retention(points, share), seed)


def compare_jumps(first: Group, second: Group, *, seed: int = 0) -> Contrast | None:
    """Largest jump of `first` minus that of `second` over the learning rates of both; None for fewer than two."""
    common = set(first.lrs) & set(second.lrs)
    one, two = (group._replace(runs=tuple(run for run in group.runs if run.lr in common)) for group in (first, second))
    return _of_curves(one, two, jump, seed)


def largest_jump(group: Group, *, seed: int = 0) -> Interval | None:
    """Largest change of the forget score, relative to before, between neighbouring learning rates; None for one."""
    return _of_curve(group, jump, seed)


def frontier_area(group: Group, *, seed: int = 0) -> Interval | None:
    """Area under the frontier of forget and retain_eval, as `frontier.area` has it; None where nothing was measured."""
    return _of_curve(group, lambda points: area(points[:-1], points[-1]), seed)


def jump(points: Sequence[Point]) -> float | None:
    """Largest change of the forget score between neighbours, relative to the last point, which is before unlearning."""
    *rates, base = points
    if len(rates) < 2 or base.forget <= 0:
        return None
    return max(abs(a.forget - b.forget) for a, b in itertools.pairwise(rates)) / base.forget


def _of_curve(group: Group, statistic: Callable[[list[Point]], float | None], seed: int) -> Interval | None:
    levels = levels_of(group)
    exact = None if levels is None else statistic(levels.points())
    if levels is None or exact is None:
        return None
    random = np.random.default_rng(seed)
    found = [statistic(points) for points in levels.drawn(levels.weights(random, _REPLICATES), random)]
    kept = np.array([value for value in found if value is not None])
    return Interval(exact, *quantiles(kept)) if len(kept) else None


def _of_curves(
    first: Group, second: Group, statistic: Callable[[list[Point]], float | None], seed: int
) -> Contrast | None:
    sides = [levels for group in (first, second) if (levels := levels_of(group)) is not None]
    if len(sides) < 2:
        return None
    exact = [statistic(side.points()) for side in sides]
    if exact[0] is None or exact[1] is None:
        return None
    random = np.random.default_rng(seed)
    weights = [side.weights(random, _REPLICATES) for side in sides]
    # The same facts are drawn for both where they are the same: popular and rare are two sets, with one to retain.
    if sides[0].forget_names == sides[1].forget_names:
        weights[1] = weights[1]._replace(forget=weights[0].forget)
    if sides[0].retain_names == sides[1].retain_names:
        weights[1] = weights[1]._replace(retain=weights[0].retain)
    draws = [side.drawn(picked, random) for side, picked in zip(sides, weights, strict=True)]
    pairs = [(statistic(one), statistic(two)) for one, two in zip(*draws, strict=True)]
    one, two = np.array([pair if None not in pair else (np.nan, np.nan) for pair in pairs], dtype=float).T
    if np.isnan(one).sum() > _REPLICATES / 2:
        return None
    clusters = min(len(names) for side in sides for names in (side.forget_names, side.retain_names))
    facts = int(min(sizes.sum() for side in sides for sizes in (side.forget_sizes, side.retain_sizes)))
    return _of_draws((exact[0], exact[1]), (one, two), facts, clusters)


def _retention(points: Sequence[Point], share: float) -> float | None:
    base = points[-1]
    if base.forget <= 0 or base.retain <= 0:
        return None
    relative = [Point(point.lr, point.forget / base.forget, point.retain / base.retain) for point in points]
    return retain_at(relative, 1 - share)


def _contrast(
    first: tuple[Floats, Sequence[str]],
    second: tuple[Floats, Sequence[str]],
    among: tuple[Sequence[str], Sequence[str]],
    seed: int,
) -> Contrast:
    """Of items [seeds, items] with their subjects, each side drawn for itself among all subjects of its set."""
    sides = (first, second)
    draws = [
        mean_draws(*side, among=names, seed=(seed, place))
        for place, (side, names) in enumerate(zip(sides, among, strict=True))
    ]
    facts = min(values.shape[1] for values, _ in sides)
    clusters = min(len(set(names)) for _, names in sides)
    return _of_draws((float(first[0].mean()), float(second[0].mean())), (draws[0], draws[1]), facts, clusters)


def _of_draws(exact: tuple[float, float], draws: tuple[Floats, Floats], facts: int, clusters: int) -> Contrast:
    known = ~np.isnan(draws[0] - draws[1])
    one, two = draws[0][known], draws[1][known]
    return Contrast(
        interval_of(exact[0] - exact[1], one - two, clusters),
        Interval(exact[0], *quantiles(one)),
        Interval(exact[1], *quantiles(two)),
        facts,
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
