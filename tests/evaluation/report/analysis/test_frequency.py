"""Forgetting by popularity."""

from __future__ import annotations

import numpy as np
import pytest

from dual_data.evaluation.report.analysis.frequency import _parts, frequency
from tests.evaluation.items import item


def test_popular_facts_that_lose_less() -> None:
    before = [item(i, popularity=i, probability=0.9, contains_answer=1.0) for i in range(100)]
    after = [item(i, popularity=i, probability=0.9 * i / 100, contains_answer=float(i >= 80)) for i in range(100)]
    result = frequency(before, after)
    assert result is not None
    assert result.by_probability.value == pytest.approx(-1)
    assert result.by_answer.value < -0.5
    assert result.agreement.value > 0.5
    assert len(result.parts) == 10
    assert result.parts[0].probability_drop.value == pytest.approx(0.9 - 0.9 * 0.045)
    assert [decile.answer_drop.value for decile in result.parts] == [1.0] * 8 + [0.0] * 2
    # Half the probability left, answer lost: facts 50 to 79.
    assert result.disagreeing == 30


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        # Ten equal parts would divide the last popularity by the ids of the facts.
        ({1: 24, 2: 22, 3: 17, 5: 26}, [24, 22, 17, 26]),
        ({1: 1, 2: 88}, [89]),  # of a single fact nothing can be said
        ({0: 60, **dict.fromkeys(range(1, 41), 1)}, [60, 10, 10, 10, 10]),
        ({7: 30}, [30]),
        (dict.fromkeys(range(100), 1), [10] * 10),
        (dict.fromkeys(range(16), 1), [6, 5, 5]),  # a small set has fewer
    ],
)
def test_facts_of_equal_popularity_are_in_one_part(facts: dict[int, int], parts: list[int]) -> None:
    popularity = np.repeat([*facts], [*facts.values()]).astype(float)
    assert [len(part) for part in _parts(popularity)] == parts
    rows = [item(number, popularity=value) for number, value in enumerate(popularity)]
    result = frequency(rows, rows)
    assert result is not None
    assert len(result.parts) == len(parts)


def test_facts_without_popularity_and_other_facts() -> None:
    assert frequency([item(0)], [item(0)]) is None
    result = frequency([item(0), item(1, popularity=3.0)], [item(0), item(1, popularity=3.0)])
    assert result is not None
    assert result.facts == len(result.parts) == 1


def test_a_model_that_gave_no_number_before_or_after_is_not_analysed() -> None:
    rows = [item(i, popularity=i) for i in range(6)]
    without = [*rows[:5], item(5, popularity=5, probability=None)]
    assert frequency(without, rows) is None
    assert frequency(rows, without) is None


def test_an_answer_that_stays_without_probability_disagrees_and_one_never_given_does_not() -> None:
    before = [item(i, popularity=i, probability=0.8, contains_answer=float(i < 3)) for i in range(4)]
    left = [(0.1, 1.0), (0.7, 0.0), (0.1, 0.0), (0.7, 0.0)]
    after = [item(i, popularity=i, probability=p, contains_answer=given) for i, (p, given) in enumerate(left)]
    result = frequency(before, after)
    assert result is not None
    assert result.disagreeing == 2
