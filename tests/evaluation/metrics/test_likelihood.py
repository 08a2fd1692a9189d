"""Metrics under teacher forcing on hand-made figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.evaluation.metrics import likelihood
from dual_data.evaluation.rows.request import TokenScores


def scores(
    log_p: list[float], *, end: list[float] | None = None, rank: list[int] | None = None, kl: list[float] | None = None
) -> TokenScores:
    """Scores of an answer; ranks of 1 are greedy."""
    whole = log_p + (end or [])
    ranks = rank or [1] * len(whole)
    return TokenScores(
        len(log_p),
        tuple(whole),
        tuple(ranks),
        tuple(value == 1 for value in ranks),
        tuple([-1.0] * len(whole)),
        tuple([0.5] * len(whole)),
        tuple(kl or []),
    )


def test_probability_leaves_the_end_of_the_turn_out() -> None:
    answer = scores([math.log(0.5), math.log(0.125)], end=[math.log(1e-9)])
    assert likelihood.probability(answer) == pytest.approx(0.25)
    assert likelihood.probability_with_end(answer) == pytest.approx((0.5 * 0.125 * 1e-9) ** (1 / 3))
    assert likelihood.sum_log_probability(answer) == pytest.approx(math.log(0.0625))
    assert likelihood.mean_log_probability(answer) == pytest.approx(math.log(0.25))


def test_ranks() -> None:
    answer = scores([-1.0, -2.0], end=[-3.0], rank=[4, 9, 70])
    assert likelihood.first_rank(answer) == 4
    assert likelihood.worst_rank(answer) == 9
    assert likelihood.sequence_rank(-1.0, [-2.0, -0.5, -1.0]) == 2
    assert likelihood.sequence_rank(-1.0, []) is None
    assert math.isnan(likelihood.sequence_rank(-1.0, [math.nan, -0.5]) or 0.0)


@pytest.mark.parametrize(
    ("ranks", "memorised", "strength"),
    [
        ([1, 1, 1, 1], 1.0, 1.0),
        ([2, 1, 1, 1], 0.75, 0.75),
        ([1, 2, 1, 1], 0.75, 0.5),
        ([1, 1, 1, 2], 0.75, 0.0),
        ([2, 2, 2, 2], 0.0, 0.0),
        ([1], 1.0, 1.0),
        ([2], 0.0, 0.0),  # elsewhere 1.0 for every one-token answer, right or wrong
    ],
)
def test_memorisation_and_extraction_strength(ranks: list[int], memorised: float, strength: float) -> None:
    # A greedy end of the turn must not count.
    answer = scores([-1.0] * len(ranks), end=[-1.0], rank=[*ranks, 1])
    assert likelihood.exact_memorisation(answer) == memorised
    assert likelihood.extraction_strength(answer) == strength


@given(st.lists(st.integers(1, 3), min_size=1, max_size=12))
def test_extraction_strength_is_the_definition(ranks: list[int]) -> None:
    n = len(ranks)
    least = next((k for k in range(n) if all(rank == 1 for rank in ranks[k:])), n)
    assert likelihood.extraction_strength(scores([-1.0] * n, rank=ranks)) == pytest.approx(1 - least / n)


def test_kl_and_entropy_are_means_over_the_answer_without_its_end() -> None:
    answer = scores([-1.0, -1.0], end=[-1.0], kl=[0.5, 2.5, 99.0])._replace(mean=(-3.0, -4.0, -99.0))
    assert likelihood.mean_kl(answer) == 1.5
    assert likelihood.mean_entropy(answer) == 3.5
    assert likelihood.mean_kl(scores([-1.0])) is None
