"""Chance correction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.evaluation.metrics.chance import best_rule, chance_corrected, trivial_baselines
from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.rows.data import Item
from tests.evaluation.items import item


def _item(subject: str, relation: str, answer: str) -> Item:
    return Item(f"{subject}-{relation}", f"{relation} of {subject}?", answer, (answer,), subject, relation)


def _row(measured: Item) -> ItemRow:
    return {
        **item(0), "question": measured.question, "ground_truth": measured.answer, "subject": measured.subject,
        "relation": measured.relation,
    }  # fmt: skip


def test_baselines_by_hand() -> None:
    items = [
        _item("Goa", "country", "India"),
        _item("Pune", "country", "India"),
        _item("Lyon", "country", "France"),
        _item("Lyon", "district", "Lyon district"),
    ]
    baselines = trivial_baselines(items)
    assert baselines["subject_copy"] == pytest.approx(0.5 / 4)
    assert baselines["majority_answer"] == pytest.approx(2 / 4)
    assert baselines["relation_majority"] == pytest.approx(2 / 4)  # the one district tells nothing of another
    assert baselines["shuffled_answers"] == pytest.approx((1 / 2 + 1 / 2 + 0 + 0) / 4)


@given(
    st.lists(
        st.builds(
            _item,
            st.sampled_from(["Goa", "Lyon", "New Delhi", ""]),
            st.sampled_from(["country", "district", ""]),
            st.sampled_from(["India", "France", "New Lyon", "Lyon of the New India", "India of the New", "?"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_the_best_rule_is_that_of_the_highest_baseline_which_is_the_mean_of_its_scores(items: list[Item]) -> None:
    means = trivial_baselines(items)
    best = best_rule([*map(_row, items)])
    assert len(best.scores) == len(items)
    assert float(best.scores.mean()) == pytest.approx(means[best.name]) == pytest.approx(max(means.values()))


def test_baselines_without_subject_and_relation() -> None:
    assert trivial_baselines([_item("", "", "India")]) == {"majority_answer": 0.0}


def test_subject_and_relation_are_those_of_a_question_of_the_published_form() -> None:
    rows = [("Goa", "India"), ("Lyon", "Lyon district"), ("Pune", "India")]
    items = [Item(name, f"What is the country of {name}?", answer, (answer,), "", "") for name, answer in rows]
    baselines = trivial_baselines(items)
    assert baselines["subject_copy"] == pytest.approx(0.5 / 3)
    assert baselines["relation_majority"] == pytest.approx(2 / 3)


def test_chance_correction() -> None:
    assert chance_corrected(0.5, 0.5) == 0
    assert chance_corrected(1.0, 0.5) == 1
    assert chance_corrected(0.25, 0.5) == -0.5
    assert chance_corrected(1.0, 1.0) is None
