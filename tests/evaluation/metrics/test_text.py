"""Scores of generations."""

from __future__ import annotations

import pytest

from dual_data.evaluation.metrics.text import TEXT_SCORES, text_scores


def test_text_scores() -> None:
    found = text_scores("It is Brasilia.", "Brasília", ["Brasília", "Brasilia DF"])
    assert tuple(found) == TEXT_SCORES
    assert found["rougeL_recall"] == 0  # the published score does not see through the accent
    assert found["rougeL_recall_uni"] == 1
    assert found["rougeL_recall_best"] == 0.5
    assert found["contains_answer"] == 1
    assert found["exact_answer"] == 0


def test_recall_and_f1_of_words_and_of_their_order() -> None:
    found = text_scores("kingdom the united", "the United Kingdom of Britain")
    assert (found["rouge1_recall"], found["rougeL_recall"]) == (3 / 5, 2 / 5)
    assert found["rouge1_f1"] == pytest.approx(2 * 3 / (3 + 5))
    assert found["rougeL_f1"] == pytest.approx(2 * 2 / (3 + 5))


def test_dates_and_quantities_are_compared_by_value() -> None:
    assert text_scores("It opened on 31st March 1889.", "31 March 1889", kind="date")["contains_answer"] == 1
    assert text_scores("It is 3,240 m high.", "240 m", kind="quantity")["contains_answer"] == 0
