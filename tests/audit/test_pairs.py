"""What two splits share, by id and by label."""

from __future__ import annotations

import polars as pl
import pytest

from dual_data.audit import audit
from dual_data.audit.columns import standard
from dual_data.audit.pairs import UNTOLD, compare, counted, word_at


def facts(rows: list[tuple[str, str, str]], *, ids: bool = True) -> pl.DataFrame:
    """Triplets (subject, relation, object) as questions, by default with the labels as ids."""
    frame = pl.DataFrame(
        {
            "question": [f"What is the {relation} of {subject}?" for subject, relation, _ in rows],
            "answer": [answer for *_, answer in rows],
            "relation": [relation for _, relation, _ in rows],
            "subject_label": [subject for subject, *_ in rows],
        }
    )
    return frame.with_columns(subject_qid="subject_label", object_qid="answer") if ids else frame


def pair(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, object]:
    return compare(counted(standard(first).rows), counted(standard(second).rows))


def test_shared_values_are_counted_once_and_their_rows_all() -> None:
    first = facts([("A", "country", "Nu"), ("A", "currency", "nu"), ("B", "country", "Mu")])
    second = facts([("A", "country", "Nu"), ("C", "country", "Mu"), ("D", "country", "Nu")])
    measured = pair(first, second.with_columns(pl.col("question").str.to_uppercase()))
    assert measured["shared_questions"] == 1
    assert measured["shared_subjects"] == 1
    assert measured["shared_answers"] == 2
    assert measured["shared_subject_rows"] == [2, 1]
    assert measured["shared_answer_rows"] == [3, 3]


def test_subjects_whose_names_are_answers_in_the_other_split_are_counted_once() -> None:
    first = facts([("Peru", "capital", "Lima"), ("Peru", "continent", "America"), ("Chad", "capital", "N'Djamena")])
    second = facts([("Lima", "country", "PERU"), ("Cusco", "country", "Peru")])
    assert pair(first, second)["answering_subjects"] == [1, 1]
    assert pair(first[2:], second)["answering_subjects"] == [0, 0]
    bare = first.select("answer", question=pl.lit("Where lies it?"))
    assert pair(bare, second)["answering_subjects"] == [None, 1], "it names no subjects"


@pytest.mark.parametrize(
    ("first", "second", "mirrored"),
    [
        (("A", "twinned with", "B"), ("B", "twinned with", "A"), 1),
        (("A", "capital", "B"), ("B", "capital of", "A"), 1),
        (("A", "P131", "B"), ("B", "P150", "A"), 1),
        (("A", "P131_city", "B"), ("B", "P150", "A"), 1),
        (("A", "P150", "B"), ("B", "P131_city", "A"), 1),
        (("A", "P737_genre", "B"), ("B", "P737_technology", "A"), 1),
        (("A", "P737", "B"), ("B", "P737_genre", "A"), 1),
        (("A", "lies_in", "B"), ("B", "lies_by", "A"), 0),
        (("A", "child", "B"), ("B", "father", "A"), 1),
        (("A", "child", "B"), ("B", "mother", "A"), 1),
        (("A", "mother", "B"), ("B", "father", "A"), 0),
        (("A", "country", "B"), ("B", "capital", "A"), 0),
        (("A", "capital", "B"), ("B", "capital", "A"), 0),
        (("A", "twinned with", "B"), ("A", "twinned with", "B"), 0),
        (("A", "twinned with", "A"), ("A", "twinned with", "A"), 0),
    ],
)
@pytest.mark.parametrize("ids", [True, False], ids=["ids", "labels"])
def test_a_fact_stated_from_the_other_side_is_mirrored(
    first: tuple[str, str, str], second: tuple[str, str, str], mirrored: int, ids: bool
) -> None:
    assert pair(facts([first], ids=ids), facts([second], ids=ids))["mirrored_facts"] == mirrored


def test_labels_are_compared_where_one_side_has_no_ids() -> None:
    with_ids = facts([("Alpha", "country", "Nu")]).with_columns(subject_qid=pl.lit("Q1"), object_qid=pl.lit("Q2"))
    assert pair(with_ids, facts([("alpha", "currency", "nu")], ids=False))["shared_subjects"] == 1


def test_ids_tell_subjects_of_one_name_apart_and_one_subject_of_two_names_together() -> None:
    paris = facts([("Paris", "twinned with", "Roma")]).with_columns(
        subject_qid=pl.lit("Q90"), object_qid=pl.lit("Q220")
    )
    texas = paris.with_columns(subject_qid=pl.lit("Q830149"))
    french = facts([("Rome", "twinned with", "Ville de Paris")]).with_columns(
        subject_qid=pl.lit("Q220"), object_qid=pl.lit("Q90")
    )
    assert (pair(paris, texas)["shared_subjects"], pair(paris, paris)["shared_subjects"]) == (0, 1)
    assert (pair(paris, french)["mirrored_facts"], pair(texas, french)["mirrored_facts"]) == (1, 0)
    for missing in ("subject_qid", "object_qid"):
        assert pair(paris.drop(missing), texas.drop(missing))["shared_subjects"] == 1
        assert pair(paris.drop(missing), french)["mirrored_facts"] == 0


def test_a_literal_needs_no_id() -> None:
    paris = facts([("Paris", "inception", "1844")]).with_columns(
        subject_qid=pl.lit("Q90"), object_qid=pl.lit(None, pl.String), object_kind=pl.lit("date")
    )
    texas = paris.with_columns(subject_qid=pl.lit("Q830149"))
    assert pair(paris, texas)["shared_subjects"] == 0
    assert pair(paris, texas.drop("object_kind"))["shared_subjects"] == 1


def test_what_cannot_be_told_is_null_whichever_side_lacks_it() -> None:
    bare = pl.DataFrame({"question": ["Where lies A?"] * 4, "answer": ["Nu"] * 4})
    known = facts([("A", "country", "Nu")] * 4)
    for measured in (pair(bare, known), pair(known, bare)):
        assert {name for name, value in measured.items() if value is None} == {
            "shared_subjects",
            "shared_subject_rows",
            "mirrored_facts",
            "auc_relation",
            "auc_subject_length",
        }
        assert measured["untold"] == {}, "a reason is given only where both have values"


def test_answers_that_occur_once_are_null_with_the_reason() -> None:
    first, second = ([(f"S{n}", "country", f"{name}{n}") for n in range(9)] for name in ("Nu", "Mu"))
    measured = pair(facts(first), facts(second))
    assert measured["auc_answer"] is None
    assert measured["untold"] == dict.fromkeys(("auc_answer", "auc_answer_first_word", "auc_answer_last_word"), UNTOLD)
    assert measured["auc_relation"] == 0.5


def test_codes_that_occur_once_are_told_apart_by_their_first_word_and_names_by_their_last() -> None:
    first, second = ([(f"S{n}", "code", f"{name}-{n}") for n in range(9)] for name in ("US", "ch"))
    measured = pair(facts(first), facts(second))
    assert (measured["auc_answer"], measured["auc_answer_first_word"], measured["auc_answer_last_word"]) == (
        None,
        1,
        0.5,
    )
    first, second = ([(f"S{n}", "in", f"{n}a {kind}") for n in range(9)] for kind in ("County", "Província"))
    assert pair(facts(first), facts(second))["auc_answer_last_word"] == 1


def test_the_words_at_the_ends_of_a_text() -> None:
    texts = pl.Series(["US-CA", "Łódź", "?", None, "Rio  de Janeiro"])
    assert word_at(texts, 0).to_list() == ["us", "lodz", None, None, "rio"]
    assert word_at(texts, -1).to_list() == ["ca", "lodz", None, None, "janeiro"]


def test_an_answer_without_words_has_no_first_and_no_last_word() -> None:
    first, second = (
        [("S", "title", answer)] * 9 + [("S", "title", "?")] * odd for answer, odd in (("Nu", 0), ("Mu", 9))
    )
    assert pair(facts(first), facts(second))["auc_answer_first_word"] == 1
    first, second = ([("S", "title", "Nu")] * 9 + [("S", "title", "?")] * odd for odd in (0, 9))
    measured = pair(facts(first), facts(second))
    assert (measured["auc_answer_first_word"], measured["auc_answer_last_word"]) == (0.5, 0.5)


def test_long_answers_are_told_apart_by_their_length() -> None:
    first, second = ([("S", "motto", sign * length)] * 30 for sign, length in (("a", 20), ("b", 80)))
    assert pair(facts(first), facts(second))["auc_answer_length"] == 1.0


def test_letters_of_any_script_are_as_long_as_one_another() -> None:
    first, second = ([(letter * 20, "motto", letter * 20)] * 30 for letter in "aŁ")
    measured = pair(facts(first), facts(second))
    assert (measured["auc_answer_length"], measured["auc_subject_length"]) == (0.5, 0.5)


def test_lengths_that_occur_once_are_told_apart_by_their_order() -> None:
    first, second = ([("S", "motto", "a" * 20 * size) for size in sizes] for sizes in (range(1, 11), range(11, 21)))
    assert pair(facts(first), facts(second))["auc_answer_length"] == 1.0


def test_a_matched_pair_of_splits_is_not_told_apart_and_a_confounded_one_is() -> None:
    rows = [(f"S{index:05}", "rs"[index % 2], ("Nu", "Muu")[index % 2]) for index in range(80)]
    renamed = [(f"T{subject[1:]}", relation, answer) for subject, relation, answer in rows]
    matched = pair(facts(rows), facts(renamed))
    names = ("auc_relation", "auc_answer", "auc_answer_length", "auc_subject_length")
    assert [matched[name] for name in names] == [0.5] * 4
    confounded = pair(facts(rows), facts([(f"T{index}", "t", "A long answer") for index in range(9)]))
    assert [confounded[name] for name in names] == [1.0] * 4


def test_pairs_are_made_within_a_group() -> None:
    splits = {name: facts([("A", "country", "Nu")]) for name in ("x", "y", "z")}
    assert set(audit(splits)["pairs"]) == {"x|y", "x|z", "y|z"}
    assert set(audit(splits, {"x": "one", "y": "two", "z": "one"})["pairs"]) == {"x|z"}
