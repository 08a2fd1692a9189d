"""The estimator on balanced, separable and random data, and against its definition spelled out pair by pair."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.audit.auc import LENGTH_EDGES, auc, auc_of_counts, leave_pair_out, length_bin

Counts = list[tuple[int, int]]
counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8).filter(
    lambda cells: all(sum(side) for side in zip(*cells, strict=True))
)


def spelled_out(cells: Counts) -> float:
    """Every pair of rows left out in turn, scored from what is left."""
    total_a, total_b = sum(a for a, _ in cells), sum(b for _, b in cells)
    share = total_b / (total_a + total_b)

    def score(rows: int, rows_b: int) -> float:
        surplus = rows_b - rows * share
        margin = max(share, 1 - share, math.sqrt(max(rows, 0) * share * (1 - share)))
        return math.copysign(max(abs(surplus) - margin - 1e-9, 0.0), surplus) / max(rows, 1)

    wins = 0.0
    for i, (a_i, b_i) in enumerate(cells):
        for j, (a_j, b_j) in enumerate(cells):
            left, right = score(a_i + b_i - 1, b_i), score(a_j + b_j - 1, b_j - 1)
            won = 0.5 if i == j or abs(left - right) < 1e-10 else float(left < right)
            wins += a_i * b_j * won
    return wins / (total_a * total_b)


@given(counts)
def test_it_is_leave_pair_out_cross_validation(cells: Counts) -> None:
    first, second = zip(*cells, strict=True)
    expected = spelled_out(cells)
    assert leave_pair_out(first, second) == pytest.approx(expected, abs=1e-9)
    assert auc_of_counts(first, second) == pytest.approx(max(expected, 0.5), abs=1e-9)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_balanced_categories_tell_nothing(sizes: list[int]) -> None:
    assert leave_pair_out(sizes, sizes) == 0.5


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 9))
def test_proportional_categories_tell_nothing(sizes: list[int], factor: int) -> None:
    assert leave_pair_out(sizes, [factor * size for size in sizes]) == 0.5


@given(st.lists(st.integers(3, 50), min_size=1, max_size=20))
def test_separate_categories_tell_all(sizes: list[int]) -> None:
    nothing = [0] * len(sizes)
    assert auc_of_counts(sizes + nothing, nothing + sizes) == 1.0


@given(counts)
def test_the_order_of_the_splits_does_not_matter(cells: Counts) -> None:
    first, second = zip(*cells, strict=True)
    assert auc_of_counts(first, second) == pytest.approx(auc_of_counts(second, first), abs=1e-9)


@pytest.mark.parametrize("weights", [np.ones(200), 1 / np.arange(1, 21), np.ones(3)], ids=["many", "skewed", "few"])
@pytest.mark.parametrize("rows", [(482, 482), (482, 4000)], ids=str)
def test_random_labels_tell_nothing_on_average(weights: npt.NDArray[np.float64], rows: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    shares = weights / weights.sum()
    drawn = [[random.multinomial(size, shares) for size in rows] for _ in range(600)]
    estimates = np.array([leave_pair_out(*sides) for sides in drawn], dtype=float)
    assert estimates.mean() == pytest.approx(0.5, abs=0.006)
    reported = np.array([auc_of_counts(*sides) for sides in drawn], dtype=float)
    assert reported.mean() <= 0.52
    assert np.quantile(reported, 0.95) < 0.56


@given(st.lists(st.tuples(st.integers(9, 60), st.integers(-1, 1)), min_size=1, max_size=30))
def test_nearly_balanced_categories_tell_nothing(cells: list[tuple[int, int]]) -> None:
    """A split that is matched but for a row here and there is not called confounded."""
    assert auc_of_counts([size + more for size, more in cells], [size for size, _ in cells]) == 0.5


def test_a_partial_confound_shows_through_balanced_categories() -> None:
    """90 categories alike and 5 more on each side: the ideal area is 1 - (share alike)^2 / 2 - 0, with ties at 1/2."""
    measured = auc_of_counts([10] * 90 + [10] * 5 + [0] * 5, [10] * 90 + [0] * 5 + [10] * 5)
    assert measured == pytest.approx(1 - (90 / 95) ** 2 / 2, abs=1e-9)


def test_a_weak_confound_is_its_youden_index() -> None:
    assert auc_of_counts([60, 40], [40, 60]) == pytest.approx(0.6, abs=0.001)


def test_nulls_and_empty_sides() -> None:
    assert auc(pl.Series([None, None], dtype=pl.String), pl.Series(["a"])) is None
    assert auc(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String)) is None
    assert auc(pl.Series(["a", None, "a", "a"]), pl.Series(["b", "b", "b", None])) == 1.0


def test_series_are_counted_by_value() -> None:
    first, second = pl.Series([1] * 60 + [2] * 40), pl.Series([1] * 40 + [2] * 60)
    assert auc(first, second) == auc_of_counts([60, 40], [40, 60])


def test_length_bins_have_the_stated_edges() -> None:
    texts = pl.DataFrame({"text": [*("x" * edge for edge in LENGTH_EDGES), "x" * (LENGTH_EDGES[-1] + 1), "", None]})
    assert texts.select(length_bin(pl.col("text")))["text"].to_list() == [0, 1, 2, 3, 4, 5, 0, None]
