"""Scores of generations."""

from __future__ import annotations

import pytest

from dual_data.evaluation.metrics.text import TEXT_SCORES, text_scores


def test_text_scores() -> None:
    scores = text_scores("It is Brasilia.", "Brasília", ["Brasília", "Brasilia DF"])
    assert tuple(scores) == TEXT_SCORES
    assert scores["rougeL_recall"] == 0  # the published score does not fold the accent
    assert scores["rougeL_recall_uni"] == 1
    assert scores["rougeL_recall_best"] == 0.5
    assert scores["contains_answer"] == 1
    assert scores["exact_answer"] == 0


def test_every_accepted_answer_is_right_and_the_canonical_one_whether_it_is_listed_or_not() -> None:
    for generation in ("Brasília", "Brasilia DF"):
        assert text_scores(generation, "Brasília", ["Brasilia DF"])["exact_answer"] == 1
        assert text_scores(generation, "Brasília", ["Brasilia DF"])["contains_answer"] == 1


def test_recall_and_f1_of_words_and_of_their_order() -> None:
    scores = text_scores("kingdom the united", "the United Kingdom of Britain")
    assert (scores["rouge1_recall"], scores["rougeL_recall"]) == (3 / 5, 2 / 5)
    assert scores["rouge1_f1"] == pytest.approx(2 * 3 / (3 + 5))
    assert scores["rougeL_f1"] == pytest.approx(2 * 2 / (3 + 5))


def test_dates_and_quantities_are_compared_by_value() -> None:
    assert text_scores("It opened on 31st March 1889.", "31 March 1889", kind="date")["contains_answer"] == 1
    assert text_scores("31st March 1889.", "31 March 1889", kind="date")["exact_answer"] == 1
    assert text_scores("It is 3,240 m high.", "240 m", kind="quantity")["contains_answer"] == 0
