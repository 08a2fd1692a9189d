"""Learning rates: choice, frontier, retention at equal forgetting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.evaluation.report.analysis.frontier import Point, area, balance, choose, frontier, retain_at

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
    with pytest.raises(ValueError, match="empty"):
        choose([], BASE)


def test_frontier_and_retention_at_equal_forgetting() -> None:
    assert frontier(POINTS) == [POINTS[4], POINTS[2], POINTS[1], POINTS[0]]
    assert retain_at(POINTS, 0.25) == pytest.approx(0.6 + 0.5 * 0.25)
    assert retain_at(POINTS, 0.1) == pytest.approx(0.6)
    assert retain_at(POINTS, 0.9) is None
    assert retain_at(POINTS[:1], 0.8) == 0.9


def test_a_base_that_knows_or_keeps_nothing_has_no_balance_and_no_area() -> None:
    for base in (Point(0.0, 0.0, 0.9), Point(0.0, 0.8, 0.0), Point(0.0, 0.0, 0.0)):
        assert [balance(point, base) for point in POINTS] == [0] * len(POINTS)
        assert area(POINTS, base) == 0
    assert balance(Point(1e-4, 0.8, 0.0), BASE) == 0  # nothing is forgotten and all is lost


def test_keeping_more_than_the_base_is_no_gain_and_learning_the_facts_is_no_less_than_nothing() -> None:
    assert balance(Point(1e-5, 0.4, 1.0), BASE) == balance(Point(1e-5, 0.4, 0.9), BASE) == pytest.approx(2 / 3)
    assert balance(Point(1e-5, 1.0, 0.9), BASE) == 0


def test_the_frontier_leaves_out_what_keeps_no_more_for_less_forgetting() -> None:
    better, worse = Point(1e-4, 0.2, 0.6), Point(1e-5, 0.4, 0.6)
    assert frontier([worse, better]) == [better]
    assert frontier([]) == []


def test_retention_is_unknown_outside_and_of_the_best_where_two_forget_alike() -> None:
    assert retain_at(POINTS[:3], 0.05) is None  # all forget less than that
    assert retain_at([], 0.5) is None
    # At 0.1 both 0.6 and 0.3 are kept: read from above as from below, the better counts.
    assert retain_at(POINTS[2:], 0.05) == pytest.approx(0.3)
    assert retain_at(POINTS[2:], 0.1) == pytest.approx(0.6)


def test_area() -> None:
    assert area([Point(1e-5, 0.0, 0.9)], BASE) == 1
    assert area([], BASE) == 0
    assert area([Point(1e-5, 0.4, 0.9)], BASE) == pytest.approx(0.5)


def test_the_area_ends_at_the_base() -> None:
    left = Point(1e-4, 0.4, 0.5)
    trapezoid = 0.5 * (0.5 + 0.9) / 2 / 0.9  # half of the way to the base, and up to what it keeps
    assert area([left], BASE) == pytest.approx(trapezoid)
    # What remembers more than the base is beyond its rectangle, and what equals it in forgetting alone is beaten by it.
    for other in (Point(1e-5, 0.9, 1.0), Point(1e-6, 0.8, 0.6), BASE):
        assert area([left, other], BASE) == pytest.approx(trapezoid)
    # To the right of a point that keeps more than the base nothing is lost again.
    assert area([Point(1e-4, 0.4, 0.99)], BASE) == pytest.approx(0.5 * 0.99 / 0.9)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9)), max_size=6), st.integers(0, 8), st.integers(0, 9))
def test_a_point_that_is_beaten_changes_no_area(cells: list[tuple[int, int]], forget: int, retain: int) -> None:
    points = [Point(float(place), x / 10, y / 10) for place, (x, y) in enumerate(cells)]
    beaten = any(x <= forget and y >= retain for x, y in [*cells, (8, 9)])
    if beaten:
        assert area([*points, Point(9.0, forget / 10, retain / 10)], BASE) == pytest.approx(area(points, BASE))
    assert 0 <= area(points, BASE) <= 1
