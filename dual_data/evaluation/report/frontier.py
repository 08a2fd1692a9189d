"""Forgetting against retention over learning rates: the choice of one, the frontier, retention at equal forgetting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

RULE = (
    "the learning rate with the largest harmonic mean of forgetting (base - forget) / base and retention "
    "retain_train / base, both cut to [0, 1] and taken on ROUGE-L recall; ties go to the smaller rate"
)
"""How a learning rate is chosen; retain_eval plays no part in it."""


class Point(NamedTuple):
    """One learning rate of a method: what is left of forget, and what of a set that must be kept."""

    lr: float
    forget: float
    retain: float


def choose(points: Sequence[Point], base: Point) -> Point:
    """The point that `RULE` picks; `retain` must be of retain_train. Raises ValueError for none."""
    if not points:
        raise ValueError("no learning rate to choose from")
    return max(sorted(points), key=lambda point: balance(point, base))


def balance(point: Point, base: Point) -> float:
    """Harmonic mean of forgetting and retention relative to the base; 0 where one is nil."""
    forgetting = _unit((base.forget - point.forget) / base.forget) if base.forget > 0 else 0.0
    retention = _unit(point.retain / base.retain) if base.retain > 0 else 0.0
    total = forgetting + retention
    return 2 * forgetting * retention / total if total else 0.0


def frontier(points: Sequence[Point]) -> list[Point]:
    """Points that no other beats on both sides (lower forget, higher retain), by rising forget score."""
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (one.forget, -one.retain)):
        if not found or point.retain > found[-1].retain:
            found.append(point)
    return found


def retain_at(points: Sequence[Point], forget: float) -> float | None:
    """Retention at a given forget score: linear between the measurements next to it on either side; None outside.

    Not along the frontier: that would pass over a worse one nearby for a better one far away.
    """
    below = max((one for one in points if one.forget <= forget), key=lambda one: (one.forget, one.retain), default=None)
    above = min(
        (one for one in points if one.forget >= forget), key=lambda one: (one.forget, -one.retain), default=None
    )
    if below is None or above is None:
        return None
    share = (forget - below.forget) / (above.forget - below.forget) if above.forget > below.forget else 0.0
    return below.retain + share * (above.retain - below.retain)


def area(points: Sequence[Point], base: Point) -> float:
    """Area under the frontier from forget score 0 to the base's, relative to the base's rectangle; 1 is ideal.

    To the left of the frontier nothing is retained; to its right the base itself is a point of it.
    """
    if base.forget <= 0 or base.retain <= 0:
        return 0.0
    edge = frontier([point for point in points if point.forget <= base.forget])
    if edge:
        edge.append(Point(base.lr, base.forget, max(base.retain, edge[-1].retain)))
    total = sum(
        (right.forget - left.forget) * (left.retain + right.retain) / 2 for left, right in itertools.pairwise(edge)
    )
    return total / (base.forget * base.retain)


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
