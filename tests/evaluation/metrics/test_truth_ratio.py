"""Truth ratio."""

from __future__ import annotations

import math

import pytest

from dual_data.evaluation.metrics.truth_ratio import (
    indistinguishable,
    normalised_probability,
    share_of_truth,
    truth_ratio,
    truthful,
)


def test_ratio_of_wrong_to_right() -> None:
    ratio = truth_ratio(math.log(0.5), [math.log(0.1), math.log(0.4)])
    assert ratio == pytest.approx(math.sqrt(0.1 * 0.4) / 0.5)  # the geometric mean of the wrong ones
    assert truth_ratio(-1.0, []) is None
    assert truth_ratio(-1e6, [0.0]) == pytest.approx(math.exp(700))


@pytest.mark.parametrize(
    ("ratio", "alike", "true", "share"),
    [(0.25, 0.25, 0.75, 0.8), (4.0, 0.25, 0.0, 0.2), (1.0, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 1.0)],
)
def test_aggregates(ratio: float, alike: float, true: float, share: float) -> None:
    assert indistinguishable(ratio) == alike
    assert truthful(ratio) == true
    assert share_of_truth(ratio) == pytest.approx(share)


def test_the_probability_among_wrong_answers_is_their_share() -> None:
    probability = normalised_probability(math.log(0.5), [math.log(0.1), math.log(0.4)])
    assert probability == pytest.approx(0.5)
    assert normalised_probability(-1.0, []) is None
    assert normalised_probability(-1e6, [0.0]) == pytest.approx(0.0)
    assert normalised_probability(0.0, [-1e6] * 3) == 1.0
