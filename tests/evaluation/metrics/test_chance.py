"""Chance correction."""

from __future__ import annotations

import pytest

from dual_data.evaluation.data import Item
from dual_data.evaluation.metrics.chance import chance_corrected, trivial_baselines


def _item(subject: str, relation: str, answer: str) -> Item:
    return Item(f"{subject}-{relation}", f"{relation} of {subject}?", answer, (answer,), subject, relation)


def test_baselines_by_hand() -> None:
    items = [
        _item("Goa", "country", "India"),
        _item("Pune", "country", "India"),
        _item("Lyon", "country", "France"),
        _item("Lyon", "district", "Lyon district"),
    ]
    found = trivial_baselines(items)
    assert found["subject_copy"] == pytest.approx(0.5 / 4)
    assert found["majority_answer"] == pytest.approx(2 / 4)
    assert found["relation_majority"] == pytest.approx(3 / 4)
    # country: golds India, India, France against a draw of the same three: 2/3, 2/3, 1/3; district: always itself
    assert found["shuffled_answers"] == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)


def test_baselines_without_subject_and_relation() -> None:
    assert trivial_baselines([_item("", "", "India")]) == {"majority_answer": 1.0}


def test_chance_correction() -> None:
    assert chance_corrected(0.5, 0.5) == 0
    assert chance_corrected(1.0, 0.5) == 1
    assert chance_corrected(0.25, 0.5) == -0.5
    assert chance_corrected(1.0, 1.0) is None
