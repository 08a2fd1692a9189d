"""Statistics against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data import statistics

NUMBERS = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8)


@given(NUMBERS, NUMBERS)
def test_auc_counts_pairs(positive: list[float], negative: list[float]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in positive for b in negative]
    assert statistics.auc(positive, negative) == pytest.approx(sum(pairs) / len(pairs))


@given(st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_exact_kolmogorov_smirnov_counts_all_orders(n: int, m: int, random: object) -> None:
    values = list(range(n + m))
    random.shuffle(values)  # type: ignore[attr-defined]

    def distance(chosen: tuple[int, ...]) -> float:
        others = [value for value in values if value not in chosen]
        return max(abs(sum(v <= x for v in chosen) / n - sum(v <= x for v in others) / m) for x in values)

    observed = distance(tuple(values[:n]))
    distances = [distance(chosen) for chosen in itertools.combinations(sorted(values), n)]
    expected = sum(d >= observed - 1e-9 for d in distances) / len(distances)
    statistic, p_value = statistics.kolmogorov_smirnov(values[:n], values[n:])
    assert statistic == pytest.approx(observed)
    assert p_value == pytest.approx(expected)


def test_asymptotic_kolmogorov_smirnov_is_near_the_exact_one() -> None:
    random = np.random.default_rng(7)
    left, right = random.normal(0, 1, 1001), random.normal(0.08, 1, 1001)
    statistic, asymptotic = statistics.kolmogorov_smirnov(left, right)
    assert asymptotic == pytest.approx(statistics._exact_tail(1001, 1001, round(statistic * 1001 * 1001)), abs=0.01)


@pytest.mark.parametrize("shift", [0.03, 0.04, 0.05])
def test_the_asymptotic_p_value_is_right_where_it_decides(shift: float) -> None:
    points = (np.arange(1001) + 0.5) / 1001
    statistic, p_value = statistics.kolmogorov_smirnov(points, points + shift)
    exact = statistics._exact_tail(1001, 1001, round(statistic * 1001 * 1001))
    assert 0.1 < exact < 0.8
    assert p_value == pytest.approx(exact, rel=0.03)


def test_up_to_a_million_pairs_the_p_value_is_exact() -> None:
    points = np.arange(1000.0)
    statistic, p_value = statistics.kolmogorov_smirnov(points, points + 50.5)
    assert statistic == 0.051
    assert p_value == pytest.approx(statistics._exact_tail(1000, 1000, 51_000), rel=1e-12)


@pytest.mark.parametrize("moved", [0, 1])
def test_many_points_that_are_the_same_are_no_difference(moved: int) -> None:
    points = np.arange(100_000.0)
    other = points.copy()
    other[:moved] += 0.5
    statistic, p_value = statistics.kolmogorov_smirnov(points, other)
    assert statistic == moved / 100_000
    assert p_value == 1.0


@pytest.mark.parametrize(("size", "critical"), [(4, 0.624), (5, 0.565), (10, 0.410), (20, 0.294)])
def test_against_very_many_it_is_the_test_of_one_sample(size: int, critical: float) -> None:
    # The 5 % points of Massey 1951, doi 10.1080/01621459.1951.10500769.
    many = (np.arange(1_000_000) + 0.5) / 1_000_000
    early = [max(0.0, (place + 1) / size - critical) for place in range(size)]
    statistic, p_value = statistics.kolmogorov_smirnov(early, many)
    assert statistic == pytest.approx(critical, abs=1e-5)
    assert p_value == pytest.approx(0.05, abs=2e-3)


def test_holm_leaves_out_what_was_not_tested() -> None:
    assert statistics.holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert statistics.holm([None]) == [None]


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_closed_test(p_values: list[float]) -> None:
    corrected = statistics.holm(p_values)
    for index, value in enumerate(p_values):
        # The largest Bonferroni-adjusted minimum over the sets of p-values that Holm's steps test up to this one.
        below = sorted(p_values)
        rank = max(k for k, other in enumerate(below) if other <= value)
        expected = max(min(1.0, (len(below) - k) * below[k]) for k in range(rank + 1))
        assert corrected[index] == pytest.approx(expected)
        assert corrected[index] >= value


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_spearman_is_pearson_of_average_ranks(pairs: list[tuple[int, int]]) -> None:
    def ranks(values: list[int]) -> list[float]:
        return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]

    left, right = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    correlation = statistics.spearman([a for a, _ in pairs], [b for _, b in pairs])
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert math.isnan(correlation)
    else:
        assert correlation == pytest.approx(float(np.corrcoef(left, right)[0, 1]))


def test_harmonic_mean() -> None:
    assert statistics.harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert statistics.harmonic_mean([1.0, 0.0]) == 0
