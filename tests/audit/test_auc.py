"""The estimator on balanced, separable and random data, and compared with its definition, computed pair by pair."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dual_data.audit.auc import auc, auc_of_counts, auc_of_number_counts, leave_pair_out

Counts = list[tuple[int, int]]
counts = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8).filter(
    lambda cells: all(sum(side) for side in zip(*cells, strict=True))
)


def held_out(cells: Counts, share: float) -> dict[tuple[int, float], list[int]]:
    """Labels of the rows left out, by the number of rows remaining in the category and the side of its surplus."""
    labels: dict[tuple[int, float], list[int]] = {}
    for a, b in cells:
        for label, times, rows_b in ((0, a, b), (1, b, b - 1)):
            surplus = rows_b - (a + b - 1) * share
            labels.setdefault((a + b - 1, float(np.sign(round(surplus, 9)))), []).extend([label] * times)
    return labels


def spelled_out(cells: Counts) -> tuple[float, float]:
    """The area with every pair of rows left out in turn, and the share of pairs without any information."""
    total_a, total_b = sum(a for a, _ in cells), sum(b for _, b in cells)
    share = total_b / (total_a + total_b)
    left_out = held_out(cells, share)

    def score(rows: int, rows_b: int) -> tuple[float, bool]:
        surplus = rows_b - rows * share
        side = float(np.sign(round(surplus, 9)))
        margin = max(share, 1 - share, math.sqrt(max(rows, 0) * share * (1 - share))) + 1e-9
        value = math.copysign(max(abs(surplus) - margin, 0.0), surplus) / max(rows, 1)
        purest = rows * (1 - share if side > 0 else share)
        if rows < 1 or not side or purest > margin:
            return value, rows > 0
        labels = left_out[rows, side]
        deviation = math.sqrt((rows + 1) * len(labels) * share * (1 - share))
        # Rounded: what equals two deviations is not beyond them.
        if round(side * (sum(labels) - share * len(labels)) - 2 * deviation, 9) > 0:
            value = sum(labels) / len(labels) - share
        return value, round(purest / rows * len(labels) - 2 * deviation, 9) > 0

    wins = untold = 0.0
    for i, (a_i, b_i) in enumerate(cells):
        for j, (a_j, b_j) in enumerate(cells):
            pairs = a_i * b_j
            if not pairs:
                continue
            (left, left_telling), (right, right_telling) = score(a_i + b_i - 1, b_i), score(a_j + b_j - 1, b_j - 1)
            wins += pairs * (0.5 if i == j or abs(left - right) < 1e-10 else float(left < right))
            untold += pairs * (not left_telling and not right_telling)
    return wins / (total_a * total_b), untold / (total_a * total_b)


@given(counts)
@example([(0, 2)] * 40 + [(2, 0)] * 10 + [(1, 1)] * 20 + [(40, 2), (0, 38)])
@example([(0, 2), (0, 6), (0, 6), (2, 0), (3, 6)])  # equal to two deviations
def test_it_is_leave_pair_out_cross_validation(cells: Counts) -> None:
    first, second = zip(*cells, strict=True)
    expected, untold = spelled_out(cells)
    assert leave_pair_out(first, second) == pytest.approx((expected, untold), abs=1e-9)
    if abs(untold - 0.5) > 1e-9:
        has_area = untold < 0.5
        assert auc_of_counts(first, second) == (pytest.approx(max(expected, 0.5), abs=1e-9) if has_area else None)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.integers(1, 9))
def test_proportional_categories_tell_nothing(sizes: list[int], factor: int) -> None:
    assert leave_pair_out(sizes, [factor * size for size in sizes]).area == 0.5


@given(st.lists(st.integers(3, 50), min_size=1, max_size=20))
def test_separate_categories_tell_all(sizes: list[int]) -> None:
    nothing = [0] * len(sizes)
    assert auc_of_counts(sizes + nothing, nothing + sizes) == 1.0


@given(counts)
@example([(0, 2), (0, 6), (2, 0)])
def test_the_order_of_the_splits_does_not_matter(cells: Counts) -> None:
    first, second = zip(*cells, strict=True)
    assert leave_pair_out(first, second) == pytest.approx(leave_pair_out(second, first), abs=1e-9)


@pytest.mark.parametrize("weights", [np.ones(200), 1 / np.arange(1, 21), np.ones(3)], ids=["many", "skewed", "few"])
@pytest.mark.parametrize("rows", [(482, 482), (482, 4000)], ids=str)
def test_random_labels_tell_nothing_on_average(weights: npt.NDArray[np.float64], rows: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    shares = weights / weights.sum()
    samples = [[random.multinomial(size, shares) for size in rows] for _ in range(600)]
    estimates = np.array([leave_pair_out(*sides).area for sides in samples])
    assert estimates.mean() == pytest.approx(0.5, abs=0.006)
    reported = np.array([auc_of_counts(*sides) for sides in samples], dtype=float)
    assert reported.mean() <= 0.52
    assert np.quantile(reported, 0.95) < 0.56


@given(st.lists(st.tuples(st.integers(9, 60), st.integers(-1, 1)), min_size=1, max_size=30))
def test_nearly_balanced_categories_tell_nothing(cells: list[tuple[int, int]]) -> None:
    """A split that is matched except for a few rows is not called confounded."""
    assert auc_of_counts([size + extra for size, extra in cells], [size for size, _ in cells]) == 0.5


def test_a_partial_confound_shows_through_balanced_categories() -> None:
    """90 equal categories and 5 more on each side: with ties at 1/2, the ideal area is 1 - (equal share)^2 / 2."""
    measured = auc_of_counts([10] * 90 + [10] * 5 + [0] * 5, [10] * 90 + [0] * 5 + [10] * 5)
    assert measured == pytest.approx(1 - (90 / 95) ** 2 / 2, abs=1e-9)


def test_a_weak_confound_is_its_youden_index() -> None:
    assert auc_of_counts([60, 40], [40, 60]) == pytest.approx(0.6, abs=0.001)


def test_nulls_and_empty_sides() -> None:
    assert auc(pl.Series([None, None], dtype=pl.String), pl.Series(["a"])) is None
    assert auc(pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String)) is None
    assert auc(pl.Series(["a", None, "a", "a"]), pl.Series(["b", "b", "b", None])) == 1.0


def test_series_are_counted_by_value() -> None:
    first, second = pl.Series(["a"] * 60 + ["b"] * 40), pl.Series(["a"] * 40 + ["b"] * 60)
    assert auc(first, second) == auc_of_counts([60, 40], [40, 60])
    lengths = pl.Series([1] * 2 + [7] * 3 + [20] * 3), pl.Series([1] * 2 + [10] * 3 + [30] * 3)
    assert auc(*lengths) == auc_of_number_counts([2, 3, 0, 3, 0], [2, 0, 3, 0, 3]) == 0.5


@pytest.mark.parametrize(("rare", "popular"), [(241, 241), (500, 50), (50, 500), (9, 9)], ids=str)
def test_answers_that_occur_twice_in_one_split_alone_tell_all(rare: int, popular: int) -> None:
    """One row remains of a pair of equal answers, as of one answer in each split: the rows left out must decide."""
    assert auc_of_counts([2] * rare + [0] * popular, [0] * rare + [2] * popular) == 1.0
    assert auc_of_counts([1] * rare, [1] * rare) == 0.5


def test_rare_answers_tell_beside_frequent_ones_that_do_not() -> None:
    measured = auc_of_counts([10] * 90 + [2] * 25 + [0] * 25, [10] * 90 + [0] * 25 + [2] * 25)
    assert measured == pytest.approx(1 - (900 / 950) ** 2 / 2, abs=1e-9)


@pytest.mark.parametrize("rows", [(482, 482), (100, 864), (864, 100)], ids=str)
@pytest.mark.parametrize("sizes", [[2] * 482, [1] * 400 + [2] * 100 + [4] * 91], ids=["twice", "mixed"])
def test_rare_answers_with_random_labels_tell_nothing(sizes: list[int], rows: tuple[int, int]) -> None:
    random = np.random.default_rng(5)
    estimates = []
    for _ in range(200):
        categories = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
        sides = (np.bincount(side, minlength=len(sizes)) for side in np.split(categories, [rows[0]]))
        estimates.append(auc_of_counts(*sides))
    assert np.array(estimates, dtype=float).mean() <= 0.51


@pytest.mark.parametrize(
    ("first", "second", "has_area"),
    [
        ([1] * 40 + [0] * 40, [0] * 40 + [1] * 40, False),
        ([1] * 40 + [0] * 5, [0] * 40 + [8] * 5, True),
        ([1] * 40 + [0] * 40 + [40], [0] * 40 + [1] * 40 + [40], True),
        ([1] * 40 + [0] * 40 + [10], [0] * 40 + [1] * 40 + [10], False),
        ([1] * 40, [0] * 40 + [1] * 20 + [20], True),
        ([2], [0, 2], False),
    ],
    ids=["all once", "once in one split alone", "half once", "most once", "half of the pairs", "two rows a side"],
)
def test_what_no_other_row_can_tell_has_no_area(first: list[int], second: list[int], has_area: bool) -> None:
    size = max(len(first), len(second))
    padded = [side + [0] * (size - len(side)) for side in (first, second)]
    assert (auc_of_counts(*padded) is not None) == has_area


@pytest.mark.parametrize("rows", [4, 482])
def test_lengths_beyond_the_usual_are_told_apart(rows: int) -> None:
    assert auc(pl.Series([20] * rows), pl.Series([80] * rows)) == 1.0


def test_numbers_are_told_apart_by_their_spread_and_by_their_order() -> None:
    middle, wide = [40] * 200 + [42] * 200, [10] * 200 + [70] * 200
    assert auc(pl.Series(middle), pl.Series(wide)) == 1.0
    # Every value once, as with lengths of long texts: no value recurs, but the order separates the splits.
    assert auc(pl.Series(range(60)), pl.Series(range(100, 160))) == 1.0
    # A shift by a tenth of the standard deviation, which no bin shows beyond its margin.
    random = np.random.default_rng(3)
    lengths = [pl.Series(np.round(random.normal(mean, 30, 5000)).astype(int)) for mean in (100, 103)]
    area = auc(*lengths)
    assert area is not None
    assert 0.52 < area < 0.54


@pytest.mark.parametrize(("rows", "area"), [([58, 42], 0.54), ([42, 58], 0.54), ([53, 47], 0.5), ([47, 53], 0.5)])
def test_an_order_counts_beyond_its_deviation_with_ties(rows: list[int], area: float) -> None:
    """The deviation is 0.035; without the correction for ties it would be 0.041."""
    assert auc_of_number_counts(rows, [50, 50]) == pytest.approx(area, abs=1e-9)


def test_neighbouring_lengths_are_one_category_until_it_has_the_root_of_all_rows() -> None:
    """16 rows, so at least 4 a bin: 4, 3 + 3, 3 + 3. Each value alone would tell the splits apart."""
    first, second = [2, 3, 0, 3, 0], [2, 0, 3, 0, 3]
    alone = auc_of_counts(first, second)
    assert alone is not None
    assert alone > 0.7
    assert auc_of_number_counts(first, second) == 0.5


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_equal_lengths_tell_nothing(sizes: list[int]) -> None:
    if sum(sizes) > 3:
        assert auc_of_number_counts(sizes, sizes) == 0.5


@pytest.mark.parametrize("rows", [(482, 482), (482, 4000)], ids=str)
def test_random_lengths_tell_nothing_on_average(rows: tuple[int, int]) -> None:
    random = np.random.default_rng(2)
    samples = [[pl.Series(random.lognormal(2.3, 0.6, size).astype(int)) for size in rows] for _ in range(200)]
    reported = np.array([auc(*sides) for sides in samples], dtype=float)
    assert reported.mean() <= 0.525
    assert np.quantile(reported, 0.95) < 0.57


def test_a_number_without_rows_or_without_company_has_no_area() -> None:
    nothing, three = pl.Series([None], dtype=pl.Int64), pl.Series([3])
    assert [auc(*sides) for sides in ((nothing, three), (three, nothing), (nothing, nothing))] == [None] * 3
    assert auc(pl.Series([1]), pl.Series([9])) is None
