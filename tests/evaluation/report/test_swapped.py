"""What other wordings bring out, of the fact and, by chance, of another."""

from __future__ import annotations

from dual_data.evaluation.report.swapped import brought_out
from dual_data.evaluation.results import ItemRow, Wording
from tests.evaluation.items import item


def _row(place: int, said: str, relation: str = "P17") -> ItemRow:
    return {
        **item(place), **_said(place, ""), "id": f"fact {place}", "relation": relation, "ground_truth": f"Land{place}",
        "answers": [], "paraphrases": [_said(place, said)],
    }  # fmt: skip


def _said(place: int, text: str) -> Wording:
    return {"question": "?", "generation": text, "scores": {"contains_answer": f"Land{place}" in text}}


def test_what_only_other_wordings_bring_out() -> None:
    rows = [_row(0, "Land1, or Land2"), _row(1, "Land1"), _row(2, ""), _row(3, "Land3 Land0", relation="P36")]
    # It asks for the subject.
    rows[2]["attacks"] = [{"attack": "reverse", **_said(2, "Land0 Land1 Land2")}]
    # The last is alone in its relation.
    assert brought_out(rows) == [(False, True), (True, False), (False, False), (True, None)]
    rows[2]["attacks"].append({"attack": "cloze", **_said(2, "Land0, Land1")})
    assert brought_out(rows)[2] == (False, True)


def test_what_the_question_says_too_is_not_brought_out_by_others() -> None:
    rows = [_row(0, "Land0 Land1"), _row(1, "Land0 Land1")]
    assert brought_out(rows) == [(True, True)] * 2
    said: list[ItemRow] = [{**row, **_said(place, "Land0 Land1")} for place, row in enumerate(rows)]
    assert brought_out(said) == [(False, False)] * 2


def test_facts_of_one_answer_have_no_other() -> None:
    rows = [_row(place, "Land0") | {"ground_truth": "Land0"} for place in range(3)]
    assert [other for _, other in brought_out(rows)] == [None] * 3
