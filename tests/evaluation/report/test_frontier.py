"""Learning rates: choice, frontier, retention at equal forgetting."""

from __future__ import annotations

import pytest

from dual_data.evaluation.report.frontier import Point, area, balance, choose, frontier, retain_at

BASE = Point(0.0, 0.8, 0.9)
POINTS = [
    Point(1e-6, 0.8, 0.9),
    Point(1e-5, 0.4, 0.85),
    Point(5e-5, 0.1, 0.6),
    Point(1e-4, 0.1, 0.3),
    Point(3e-4, 0.0, 0.0),
]


def test_choice() -> None:
    assert balance(POINTS[0], BASE) == 0  # nothing forgotten
    assert balance(POINTS[-1], BASE) == 0  # nothing retained
    forgetting, retention = 0.7 / 0.8, 0.6 / 0.9
    assert balance(POINTS[2], BASE) == pytest.approx(2 * forgetting * retention / (forgetting + retention))
    assert choose(POINTS, BASE) == POINTS[2]
    assert choose([Point(2.0, 0.1, 0.6), Point(1.0, 0.1, 0.6)], BASE).lr == 1.0
    assert balance(Point(1e-5, 0.0, 1.0), Point(0, 0, 0.9)) == 0
    with pytest.raises(ValueError, match="no learning rate"):
        choose([], BASE)


def test_frontier_and_retention_at_equal_forgetting() -> None:
    assert frontier(POINTS) == [POINTS[4], POINTS[2], POINTS[1], POINTS[0]]
    assert retain_at(POINTS, 0.25) == pytest.approx(0.6 + 0.5 * 0.25)
    assert retain_at(POINTS, 0.1) == pytest.approx(0.6)
    assert retain_at(POINTS, 0.9) is None
    assert retain_at(POINTS[:1], 0.8) == 0.9


def test_area() -> None:
    assert area([Point(1e-5, 0.0, 0.9)], BASE) == 1
    assert area([], BASE) == 0
    assert area([Point(1e-5, 0.4, 0.9)], BASE) == pytest.approx(0.5)
    assert area(POINTS, Point(0, 0, 0)) == 0
