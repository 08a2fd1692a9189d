"""Answers that other wordings elicit: of the fact itself and, by chance, of another."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from dual_data.evaluation.report.analysis.elicited import elicited
from dual_data.evaluation.results import ItemRow, Wording
from dual_data.text.matching import ObjectKind, may_be_right
from tests.evaluation.items import item


def _row(number: int, text: str, relation: str = "P17") -> ItemRow:
    return {
        **item(number), **_wording(number, ""), "id": f"fact {number}", "relation": relation,
        "ground_truth": f"Land{number}", "answers": [], "paraphrases": [_wording(number, text)],
    }  # fmt: skip


def _wording(number: int, text: str) -> Wording:
    return {"question": f"{number}?", "generation": text, "scores": {"contains_answer": f"Land{number}" in text}}


def test_what_only_other_wordings_bring_out() -> None:
    rows = [_row(0, "Land1, or Land2"), _row(1, "Land1"), _row(2, ""), _row(3, "Land3 Land0", relation="P36")]
    # The reverse attack asks for the subject, so it does not count.
    rows[2]["attacks"] = [{"attack": "reverse", **_wording(2, "Land0 Land1 Land2")}]
    # The last item is the only one of its relation.
    assert elicited(rows) == [(False, True), (True, False), (False, False), (True, None)]
    rows[2]["attacks"].append({"attack": "cloze", **_wording(2, "Land0, Land1")})
    assert elicited(rows)[2] == (False, True)


def test_what_the_question_says_too_is_not_brought_out_by_others() -> None:
    rows = [_row(0, "Land0 Land1"), _row(1, "Land0 Land1")]
    assert elicited(rows) == [(True, True)] * 2
    answered: list[ItemRow] = [{**row, **_wording(number, "Land0 Land1")} for number, row in enumerate(rows)]
    assert elicited(answered) == [(False, False)] * 2


def test_facts_of_one_answer_have_no_other() -> None:
    rows = [_row(number, "Land0") | {"ground_truth": "Land0"} for number in range(3)]
    assert [other for _, other in elicited(rows)] == [None] * 3


def test_which_other_answer_is_the_control_is_found_once_for_all_runs_on_a_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each pair of answers is compared once: most facts have the same here."""
    compared = list[str]()

    def record(text: str, answers: Collection[str], kind: ObjectKind) -> bool:
        compared.append(text)
        return may_be_right(text, answers, kind)

    monkeypatch.setattr("dual_data.evaluation.report.analysis.elicited.may_be_right", record)
    rows = [_row(number, "Land7") | {"ground_truth": "Here" if number < 50 else "There"} for number in range(60)]
    for text in ("Here There", "There"):
        run = [row | {"paraphrases": [_wording(1, text)]} for row in rows]
        assert {other for _, other in elicited(run[:50])} == {None}
        assert {other for _, other in elicited(run)[:50]} == {True}
    assert len(compared) <= 6


def test_what_also_answers_the_question_is_no_other_answer() -> None:
    rows = [_row(0, "1889") | {"ground_truth": "31 March 1889", "kind": "date"}, _row(1, "") | {"ground_truth": "1889"}]
    assert elicited(rows)[0] == (False, None)
    rows = [_row(0, "Land1"), _row(1, "") | {"question": "0?"}]
    assert elicited(rows) == [(False, None)] * 2


def test_which_other_answer_is_the_control_does_not_depend_on_the_order_of_the_file() -> None:
    rows = [_row(number, f"Land{(number + 1) % 9} Land{(number + 4) % 9}") for number in range(9)]
    expected = dict(zip([row["id"] for row in rows], elicited(rows), strict=True))
    assert {other for _, other in expected.values()} == {True, False}
    for order in (rows[::-1], rows[4:] + rows[:4], sorted(rows, key=lambda row: int(row["id"][-1]) % 3)):
        assert dict(zip([row["id"] for row in order], elicited(order), strict=True)) == expected
