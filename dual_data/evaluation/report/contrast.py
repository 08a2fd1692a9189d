"""The comparisons that the report's answers rest on, each with an interval over seeds and subjects.

Forgetting is the drop of ROUGE-L recall on the forget set. Two sets of different facts are compared by drawing each
side's subjects apart; two stages on the same facts by drawing them together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.evaluation.frontier import Point, retain_at
from dual_data.evaluation.report.collect import Group, Run, clusters, stack
from dual_data.evaluation.statistics import Interval, bootstrap_contrast, interval_of

Floats = NDArray[np.float64]
_REPLICATES = 1000
CALIPER = 0.25
"""Largest difference in base log-probability a token between two facts that are paired, in nats."""


class Contrast(NamedTuple):
    """A difference between two groups."""

    difference: Interval
    first: float
    second: float
    facts: int
    """Facts on each side that it is measured on."""


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
    return _contrast(one, two, names_one, names_two, seed)


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
    return _contrast(one[:, left], two[:, right], [names_one[i] for i in left], [names_two[i] for i in right], seed)


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
    sides = [curve for group in (first, second) if (curve := _curve(group)) is not None]
    if len(sides) < 2:
        return None
    exact = [_retention(side, share, None) for side in sides]
    if exact[0] is None or exact[1] is None:
        return None
    random = np.random.default_rng(seed)
    # The same facts are drawn for both where they are the same.
    together = sides[0].forget_names == sides[1].forget_names and sides[0].retain_names == sides[1].retain_names
    drawn = []
    for _ in range(_REPLICATES):
        picks = [_draw(side, random) for side in sides]
        if together:
            picks[1] = picks[1]._replace(forget=picks[0].forget, retain=picks[0].retain)
        values = [_retention(side, share, pick) for side, pick in zip(sides, picks, strict=True)]
        if values[0] is not None and values[1] is not None:
            drawn.append(values[0] - values[1])
    if len(drawn) < _REPLICATES / 2:
        return None
    interval = interval_of(exact[0] - exact[1], np.array(drawn))
    return Contrast(interval, exact[0], exact[1], len(sides[0].retain_names))


def largest_jump(group: Group) -> float | None:
    """Largest change of the forget score, relative to before, between neighbouring learning rates; None for one."""
    means = [float(stack(group.at(lr), "forget", "rougeL_recall").mean()) for lr in group.lrs]
    base = float(stack(group.before, "forget", "rougeL_recall").mean()) if group.before else 0.0
    if len(means) < 2 or base <= 0:
        return None
    return max(abs(a - b) for a, b in itertools.pairwise(means)) / base


class _Curve(NamedTuple):
    forget: list[Floats]
    """By learning rate, [seeds, subjects] sums; the last one is before unlearning."""
    retain: list[Floats]
    forget_names: tuple[str, ...]
    retain_names: tuple[str, ...]
    forget_sizes: Floats
    retain_sizes: Floats


class _Draw(NamedTuple):
    forget: Floats
    retain: Floats
    seeds: list[Floats]


def _curve(group: Group) -> _Curve | None:
    if not group.before or not group.lrs:
        return None
    levels = [group.at(lr) for lr in group.lrs] + [list(group.before)]
    forget, retain = clusters(levels[0], "forget"), clusters(levels[0], "retain_eval")
    return _Curve(
        [_sums(runs, "forget", forget) for runs in levels],
        [_sums(runs, "retain_eval", retain) for runs in levels],
        tuple(dict.fromkeys(forget)),
        tuple(dict.fromkeys(retain)),
        _sizes(forget),
        _sizes(retain),
    )


def _sums(runs: Sequence[Run], name: str, subjects: Sequence[str]) -> Floats:
    table = stack(runs, name, "rougeL_recall")
    places = {subject: place for place, subject in enumerate(dict.fromkeys(subjects))}
    found = np.zeros((len(table), len(places)))
    np.add.at(found.T, [places[subject] for subject in subjects], table.T)
    return found


def _sizes(subjects: Sequence[str]) -> Floats:
    return np.array([subjects.count(name) for name in dict.fromkeys(subjects)], dtype=float)


def _draw(curve: _Curve, random: np.random.Generator) -> _Draw:
    def counts(size: int) -> Floats:
        return np.bincount(random.integers(size, size=size), minlength=size).astype(float)

    return _Draw(
        counts(len(curve.forget_names)), counts(len(curve.retain_names)), [counts(len(level)) for level in curve.forget]
    )


def _retention(curve: _Curve, share: float, draw: _Draw | None) -> float | None:
    forget_weights = np.ones(len(curve.forget_names)) if draw is None else draw.forget
    retain_weights = np.ones(len(curve.retain_names)) if draw is None else draw.retain
    points = []
    for place, (forget, retain) in enumerate(zip(curve.forget, curve.retain, strict=True)):
        seeds = np.ones(len(forget)) if draw is None else draw.seeds[place]
        points.append(
            Point(
                float(place),
                float(seeds @ forget @ forget_weights / (seeds.sum() * (curve.forget_sizes @ forget_weights))),
                float(seeds @ retain @ retain_weights / (seeds.sum() * (curve.retain_sizes @ retain_weights))),
            )
        )
    base = points[-1]
    if base.forget <= 0 or base.retain <= 0:
        return None
    relative = [Point(point.lr, point.forget / base.forget, point.retain / base.retain) for point in points]
    return retain_at(relative, 1 - share)


def _contrast(one: Floats, two: Floats, names_one: Sequence[str], names_two: Sequence[str], seed: int) -> Contrast:
    found = bootstrap_contrast(one, two, (names_one, names_two), seed=seed)
    return Contrast(found, float(one.mean()), float(two.mean()), min(one.shape[1], two.shape[1]))
