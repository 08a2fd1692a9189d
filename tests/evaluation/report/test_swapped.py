"""Answers of other facts, got out by chance."""

from __future__ import annotations

from typing import Any

from dual_data.evaluation.report.swapped import swapped_hits


def _row(place: int, said: str, relation: str = "P17") -> dict[str, Any]:
    return {
        "id": f"fact {place}", "relation": relation, "ground_truth": f"Land{place}", "answers": [], "generation": said,
        "paraphrases": [], "attacks": [],
    }  # fmt: skip


def test_an_answer_of_another_fact_is_a_hit_by_chance() -> None:
    rows = [_row(0, "Land1, or Land2"), _row(1, "Land1"), _row(2, ""), _row(3, "Land0 Land1 Land2", relation="P36")]
    # It asks for the subject.
    rows[2]["attacks"] = [{"attack": "reverse", "generation": "Land0 Land1"}]
    assert swapped_hits(rows) == [True, False, False, None]  # the last is alone in its relation
    rows[2]["paraphrases"] = [{"generation": "Land0 or Land1"}]
    assert swapped_hits(rows)[2] is True


def test_facts_of_one_answer_have_no_other() -> None:
    rows = [_row(place, "Land0") | {"ground_truth": "Land0"} for place in range(3)]
    assert swapped_hits(rows) == [None] * 3
