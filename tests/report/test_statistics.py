"""Correlations, shares and deciles against values computed by hand or published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.report.statistics import clustered_share, deciles, spearman, wilson


def test_rank_correlation_of_a_textbook_example() -> None:
    # IQ and hours of television (the usual example of the formula 1 - 6 sum d^2 / (n (n^2 - 1))): rho = -29/165.
    first = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    second = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    result = spearman(first, second, range(10))
    assert result is not None
    assert result.value == pytest.approx(-29 / 165)
    assert result.low < result.value < result.high
    assert result.clusters == 10


def test_ties_share_their_middle_rank() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5.
    result = spearman([1, 2, 2, 3], [1, 2, 3, 4], range(4))
    assert result is not None
    assert result.value == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_only_ranks_count() -> None:
    values = np.random.default_rng(1).normal(size=50)
    result = spearman(values, np.exp(values), range(50))
    assert result is not None
    assert (result.value, result.low, result.high) == pytest.approx((1.0, 1.0, 1.0))


def test_rows_of_one_subject_are_drawn_together() -> None:
    draw = np.random.default_rng(2)
    first, second = draw.normal(size=60), draw.normal(size=60)
    alone = spearman(first, second, range(60))
    repeated = spearman(np.repeat(first, 20), np.repeat(second, 20), np.repeat(np.arange(60), 20))
    assert alone is not None
    assert repeated is not None
    # Twenty copies of a row tell no more than one; as independent rows they would give a fifth of the width.
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.15)
    assert repeated.clusters == 60


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(3)
    truth = 6 / np.pi * np.arcsin(0.25)  # rho_s of a bivariate normal (Pearson 1907)
    covered = 0
    for _ in range(40):
        first = draw.normal(size=80)
        result = spearman(first, 0.5 * first + np.sqrt(0.75) * draw.normal(size=80), range(80))
        assert result is not None
        covered += result.low <= truth <= result.high
    assert 34 <= covered <= 40


@pytest.mark.parametrize(
    ("first", "second", "clusters"),
    [([1, 1, 1], [1, 2, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, 3], [1, 1, 2]), ([], [], [])],
)
def test_no_correlation_of_a_constant_or_of_two_subjects(
    first: list[int], second: list[int], clusters: list[int]
) -> None:
    assert spearman(first, second, clusters) is None


def test_deciles_keep_equal_values_together() -> None:
    assert deciles(range(20)).tolist() == [place // 2 for place in range(20)]
    assert deciles([0] * 9 + [5]).tolist() == [4] * 9 + [9]
    assert deciles([]).tolist() == []


@given(st.lists(st.integers(0, 50), min_size=1))
def test_deciles_follow_the_order_of_the_values(values: list[int]) -> None:
    result = deciles(values)
    assert result.min() >= 0
    assert result.max() <= 9
    order = np.argsort(values, kind="stable")
    assert (np.diff(result[order]) >= 0).all()


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_of_shares(hits: int, rows: int, low: float, high: float) -> None:
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5e-5)
    assert wilson(rows - hits, rows) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize("hits", range(13))
def test_with_one_row_a_cluster_the_interval_is_wilsons(hits: int) -> None:
    result = clustered_share([place < hits for place in range(12)], range(12))
    assert result[:3] == (12, 12, hits)
    assert (result.low, result.high) == pytest.approx(wilson(hits, 12))


@pytest.mark.parametrize("hits", [0, 1, 7, 19, 20])
def test_rows_that_are_alike_in_their_cluster_count_once(hits: int) -> None:
    subjects = np.repeat(np.arange(20), 5)
    result = clustered_share(subjects < hits, subjects)
    assert result[:3] == (100, 20, 5 * hits)
    assert (result.low, result.high) == pytest.approx(wilson(hits, 20))


def test_a_share_of_0_or_1_counts_clusters_by_their_sizes() -> None:
    # As informative as (1 + 2 + 3 + 4)^2 / (1 + 4 + 9 + 16) clusters of one size.
    subjects = np.repeat(np.arange(4), [1, 2, 3, 4])
    low, high = wilson(0, 100 / 30)
    for hits, bounds in ((np.zeros(10), (low, high)), (np.ones(10), (1 - high, 1 - low))):
        result = clustered_share(hits, subjects)
        assert (result.low, result.high) == pytest.approx(bounds)


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=8), min_size=1, max_size=20))
def test_a_share_lies_in_its_interval_which_is_no_narrower_than_wilsons(rows: list[list[bool]]) -> None:
    hits = np.concatenate(rows)
    result = clustered_share(hits, np.repeat(np.arange(len(rows)), [len(cluster) for cluster in rows]))
    assert 0 <= result.low <= result.value + 1e-12
    assert result.value - 1e-12 <= result.high <= 1
    low, high = wilson(int(hits.sum()), hits.size)
    assert result.high - result.low >= high - low - 1e-9


def test_a_second_copy_of_every_row_tells_nothing() -> None:
    draw = np.random.default_rng(4)
    subjects = np.sort(draw.integers(40, size=160))
    hits = draw.random(160) < draw.beta(0.5, 0.5, size=40)[subjects]
    alone = clustered_share(hits, subjects)
    copied = clustered_share(np.repeat(hits, 2), np.repeat(subjects, 2))
    assert copied[1:2] + copied[3:] == pytest.approx(alone[1:2] + alone[3:])
    order = draw.permutation(160)
    assert clustered_share(hits[order], subjects[order]) == pytest.approx(alone)


@pytest.mark.parametrize(("share", "together"), [(0.5, 0.5), (0.1, 0.5), (0.5, 0.9), (0.5, 0.1)])
def test_the_interval_of_a_share_covers_it_where_rows_of_a_cluster_go_together(share: float, together: float) -> None:
    # Shares of 40 subjects are drawn such that two facts of one subject have the correlation `together`.
    draw = np.random.default_rng(5)
    subjects = np.repeat(np.arange(40), 5)
    pull = (1 - together) / together
    covered = 0
    for _ in range(400):
        of_subject = draw.beta(share * pull, (1 - share) * pull, size=40)
        result = clustered_share(draw.random(200) < of_subject[subjects], subjects)
        covered += result.low <= share <= result.high
    assert 0.925 <= covered / 400 <= 0.99
