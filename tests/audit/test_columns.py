"""Columns of other tables, and how they are converted to the standard frame."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from dual_data.audit.columns import standard
from dual_data.errors import InputError

QUESTIONS = ["What is the capital of A?", "What is the capital of B?"]


def table(**columns: Any) -> pl.DataFrame:
    """A table of two questions, with default answers."""
    return pl.DataFrame({"question": QUESTIONS, "answer": ["Nu", "Mu"], **columns})


@pytest.mark.parametrize(
    ("answers", "holds"),
    [
        ([["Nu"], ["Mu", "Muu"]], "lists"),
        (pl.Series([["Nu"], ["Mu"]], dtype=pl.Array(pl.String, 1)), "lists"),
        ([{"text": ["Nu"]}, {"text": ["Mu"]}], "objects"),
        ([b"\xff", b"Mu"], "values of type Binary"),
    ],
)
def test_answers_that_are_no_texts_are_refused(answers: Any, holds: str) -> None:
    with pytest.raises(InputError) as refused:
        standard(table(answer=answers), "some")
    assert str(refused.value) == f"some: the column answer holds {holds}, but the audit needs one text per row"


def test_a_table_in_one_row_is_refused_with_what_pandas_does_instead() -> None:
    whole = {name: [{str(n): value for n, value in enumerate(values)}] for name, values in table().to_dict().items()}
    with pytest.raises(InputError, match=r"the column question holds objects, .* to_json\(.*, lines=True\)"):
        standard(pl.DataFrame(whole))


def test_triplets_need_texts_too() -> None:
    triplets = pl.DataFrame({"subjectLabel": [["A"], ["B"]], "relation": "capital", "objectLabel": ["Nu", "Mu"]})
    with pytest.raises(InputError, match="the column subjectLabel holds lists"):
        standard(triplets)


@pytest.mark.parametrize(
    ("values", "numbers", "lost"),
    [
        (["many", " 3 "], [None, 3.0], 1),
        (["", None], [None, None], 0),
        ([math.inf, 3.5], [None, 3.5], 1),
        ([-math.inf, math.nan], [None, None], 1),
        ([["3"], None], [None, None], 1),
        (pl.Series(["low", "high"], dtype=pl.Categorical), [None, None], 2),
    ],
)
def test_what_is_no_number_is_left_out_and_told(values: Any, numbers: list[float | None], lost: int) -> None:
    messages: list[str] = []
    assert standard(table(pop_sum=values), "some", messages.append).rows["popularity"].to_list() == numbers
    line = f"some: {lost} value(s) of the column pop_sum are left out, since they are not a finite number"
    assert messages == ([line] if lost else [])


def test_a_column_that_the_table_may_lack_is_left_out_once() -> None:
    messages: list[str] = []
    rows = standard(table(relation=[["P36"], ["P36"]]), "some", messages.append).rows
    assert rows["stated_relation"].to_list() == [None, None]
    assert messages == ["some: 2 value(s) of the column relation are left out, since they are not a text"]


def test_a_column_named_nearly_as_one_that_is_absent_is_told() -> None:
    messages: list[str] = []
    rows = pl.DataFrame(
        {"question": ["Q?"], "answer": ["A"], "Subject": ["S"], "popularty": [1], "notes": ["relation"]}
    )
    table = standard(rows, "some", messages.append)
    assert messages == [
        "some: column Subject is not read; it would be if it were named subject",
        "some: column popularty is not read; it would be if it were named popularity",
    ]
    assert table.rows["subject"].null_count() == 1


@pytest.mark.parametrize(("others", "is_parsed"), [(1, True), (2, False)])
def test_relations_are_parsed_where_nearly_all_questions_that_there_are_name_one(others: int, is_parsed: bool) -> None:
    questions = ["What is the capital of A?"] * (20 - others) + ["Where lies B?"] * others + [None, ""] * 9
    relations = standard(pl.DataFrame({"question": questions, "answer": ["Nu"] * len(questions)})).rows["relation"]
    assert relations.count() == (20 - others if is_parsed else 0)


def test_a_column_without_values_gives_way_to_the_next_of_its_names() -> None:
    facts = table(
        relation=[None, None], property_id="P36", subject_sitelinks=pl.Series([None, None], dtype=pl.Int64),
        subject_mentions=[7, None], subject=pl.Series([None, None], dtype=pl.String), subject_label=["A", "B"],
    )  # fmt: skip
    rows, names_subjects, _ = standard(facts)
    assert rows["relation"].to_list() == ["P36", "P36"]
    assert rows["popularity"].to_list() == [7.0, None]
    assert not names_subjects, "a question's own name for the subject is not known"


def test_whole_numbers_may_be_written_with_a_point() -> None:
    messages: list[str] = []
    assert standard(table(objects_of_pair=["3.0", ""]), "some", messages.append).rows["objects_of_pair"][0] == 3
    assert messages == []


def test_an_empty_text_is_no_value_in_any_column() -> None:
    rows = standard(table(relation=["", "capital"], subject_label=[" ", "B"])).rows
    assert rows["relation"].to_list() == rows["stated_relation"].to_list() == [None, "capital"]
    assert rows["subject_label"].to_list() == [None, "B"]
