"""Forgetting against retention over learning rates: the chosen rate, the frontier, retention at equal forgetting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

CHOICE = (
    "the learning rate with the largest harmonic mean of forgetting (base - forget) / base and retention "
    "retain_train / base, both cut to [0, 1] and taken on ROUGE-L recall; ties go to the smaller rate, as for a base "
    "of 0, where there is nothing to choose by"
)
"""How a learning rate is chosen; retain_eval plays no part in it."""


class Point(NamedTuple):
    """One learning rate of a method: its scores on the forget set and on a set to retain."""

    lr: float
    forget: float
    retain: float


def choose(points: Sequence[Point], base: Point) -> Point:
    """The point that `CHOICE` picks; `retain` must be of retain_train. Raises ValueError for no points."""
    return max(sorted(points), key=lambda point: balance(point, base))


def balance(point: Point, base: Point) -> float:
    """Harmonic mean of forgetting and retention relative to the base; 0 where one of them is 0."""
    forgetting = _unit((base.forget - point.forget) / base.forget) if base.forget > 0 else 0.0
    retention = _unit(point.retain / base.retain) if base.retain > 0 else 0.0
    total = forgetting + retention
    return 2 * forgetting * retention / total if total else 0.0


def frontier(points: Sequence[Point]) -> list[Point]:
    """Pareto-optimal points (lower forget, higher retain), by ascending forget score."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.forget, -point.retain)):
        if not best or point.retain > best[-1].retain:
            best.append(point)
    return best


def retain_at(points: Sequence[Point], forget: float) -> float | None:
    """Retention at a given forget score, interpolated linearly between the nearest points on either side; None outside.

    It does not follow the frontier, which would skip a worse point nearby for a better one far away.
    """
    at_most = [point for point in points if point.forget <= forget]
    at_least = [point for point in points if point.forget >= forget]
    if not at_most or not at_least:
        return None
    below = max(at_most, key=lambda point: (point.forget, point.retain))
    above = min(at_least, key=lambda point: (point.forget, -point.retain))
    share = (forget - below.forget) / (above.forget - below.forget) if above.forget > below.forget else 0.0
    return below.retain + share * (above.retain - below.retain)


def area(points: Sequence[Point], base: Point) -> float:
    """Area under the frontier from forget score 0 to the base's, relative to the base's rectangle; 1 is ideal.

    To the left of the frontier nothing is retained; at its right end the base itself is a point.
    """
    if base.forget <= 0 or base.retain <= 0:
        return 0.0
    curve = frontier([base, *(point for point in points if point.forget <= base.forget)])
    curve.append(curve[-1]._replace(forget=base.forget))
    total = sum(
        (right.forget - left.forget) * (left.retain + right.retain) / 2 for left, right in itertools.pairwise(curve)
    )
    return total / (base.forget * base.retain)


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
