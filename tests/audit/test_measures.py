"""Measurements of small tables, computed by hand, and which of them are null."""

from __future__ import annotations

import polars as pl
import pytest

from dual_data.audit import audit
from dual_data.audit.baselines import baseline_table
from dual_data.audit.columns import standard
from dual_data.audit.facts import ambiguous_subjects
from dual_data.audit.measures import measure
from dual_data.errors import InputError
from dual_data.ids import label_id

OURS = pl.DataFrame(
    {
        "fact_id": ["0", "1", "2", "3"],
        "subject": ["Alpha (city)", "Alpha (river)", "Beta", "Gamma"],
        "subject_label": ["Alpha", "Alpha", "Beta", "Gamma"],
        "subject_qid": ["Q1", "Q2", "Q3", "Q4"],
        "relation": ["P17", "P17_river", "P17", "P569"],
        "property_id": ["P17", "P17", "P17", "P569"],
        "object_kind": ["entity", "entity", "entity", "date"],
        "object_qid": ["Q9", "Q9", "Q3", None],
        "question": [
            "In which country is Alpha (city)?",
            "Which country does Alpha (river) flow through?",
            "In which country is Beta?",
            "When was Gamma born?",
        ],
        "answer": ["Nu", "Nu", "Beta", "12 May 1900"],
        "objects_of_pair": [1, 2, 1, 1],
        "inbound_links": [5, None, 11, 7],
    }
)


def test_our_columns() -> None:
    measured = audit({"ours": OURS})["splits"]["ours"]
    assert measured == {
        "rows": 4,
        "empty_questions": 0,
        "empty_answers": 0,
        "distinct_questions": 4,
        "distinct_answers": 3,
        "top_relation": "P17",
        "top_relation_share": 0.5,
        "top_answer": "Nu",
        "top_answer_share": 0.5,
        "subject_copy_rouge": 0.25,
        # "Beta" for Beta; the prefixes of the others are no words of their answers.
        "subject_prefix_rouge": 0.25,
        "majority_answer": "Nu",
        "majority_rouge": 0.5,
        # No answer repeats within its relation; P17's two answers have no word in common.
        "relation_majority_rouge": 0.0,
        "shuffled_rouge": 0.0,
        "answer_in_question_share": 0.25,
        "same_id_share": 0.25,
        "several_names_share": 0.0,
        "malformed_share": 0.0,
        "ungrammatical_share": 0.0,
        "inverted_share": 0.0,
        "vacuous_share": 0.0,
        "ambiguous_subject_share": 0.0,
        "many_objects_share": 0.25,
        "self_answer_share": 0.25,
        "mirrored_share": 0.0,
        "duplicate_share": 0.0,
        "bare_id_share": 0.0,
        "popularity": {"min": 5.0, "median": 7.0, "max": 11.0},
    }


def test_an_ambiguous_subject_that_the_question_does_not_tell_apart_is_counted() -> None:
    bare = OURS.with_columns(subject=pl.col("subject_label"))
    assert audit({"bare": bare})["splits"]["bare"]["ambiguous_subject_share"] == 0.5


@pytest.mark.parametrize(
    ("columns", "share"),
    [
        (("subject", "subject_label", "subject_qid"), 0.0),
        (("subject_label", "subject_qid"), None),
        (("subject", "subject_qid"), None),
        (("subject", "subject_label"), None),
    ],
)
def test_no_ambiguity_is_known_only_from_ids_and_both_names(columns: tuple[str, ...], share: float | None) -> None:
    told_apart = OURS.tail(2).select("question", "answer", *columns)
    assert audit({"some": told_apart})["splits"]["some"]["ambiguous_subject_share"] == share


def test_an_id_that_was_minted_from_a_label_tells_no_two_things_apart() -> None:
    rows = pl.DataFrame(
        {
            "question": [f"In which country is {name}, {number}?" for number, name in enumerate("AAB")],
            "subject": ["A", "A", "B"],
            "subject_label": ["A", "A", "B"],
            "subject_qid": [*map(label_id, "AAB")],
            "relation": "P17",
            "answer": ["Nu", "Mu", "Nu"],
            "object_qid": [*map(label_id, ["Nu", "Mu", "Nu"])],
        }
    )
    measured = audit({"all": rows, "one": rows.tail(1)}, {"all": "all"})["splits"]
    assert measured["all"]["ambiguous_subject_share"] == pytest.approx(2 / 3)
    assert measured["one"]["ambiguous_subject_share"] is None
    assert measured["one"]["same_id_share"] is None


def test_rows_without_a_subject_are_not_ambiguous_and_do_not_count() -> None:
    rows = OURS.with_columns(subject=pl.Series(["Alpha", "Alpha", "Beta", None]))
    assert audit({"some": rows})["splits"]["some"]["ambiguous_subject_share"] == pytest.approx(2 / 3)


def test_ambiguity_is_looked_for_over_all_splits() -> None:
    published = OURS.select("question", "answer", "relation", "subject_qid", subjectLabel="subject_label")
    report = audit({"one": published.head(1), "other": published.slice(1)})["splits"]
    assert report["one"]["ambiguous_subject_share"] == 1.0
    assert report["other"]["ambiguous_subject_share"] == pytest.approx(1 / 3)


def test_answers_that_rouge_cannot_score_count_as_0_as_in_the_baselines_of_a_build_and_are_told() -> None:
    rows = [("日本", "日本"), ("日本", "日本"), ("Oslo", "Oslo"), ("Lima", "Peru")]
    subjects, answers = zip(*rows, strict=True)
    table = pl.DataFrame({"question": [f"Q{n}?" for n in range(4)], "answer": answers, "subject": subjects})
    lines: list[str] = []
    splits = audit({"mixed": table, "none": table.head(2), "all": table.tail(2)}, say=lines.append)["splits"]
    assert [splits[name]["subject_copy_rouge"] for name in splits] == [0.25, 0.0, 0.5]
    built = baseline_table(
        table.select("answer", relation=pl.lit("P17"), subject_label="subject", split=pl.lit(1)), "split"
    )
    assert built["subject_copy"].to_list() == [splits["mixed"]["subject_copy_rouge"]]
    assert [line.split(" a letter")[0] for line in lines] == ["mixed: 2 answers without", "none: 2 answers without"]


def test_bare_questions_and_answers_tell_little_and_say_so() -> None:
    table = OURS.select("question", "answer")
    measured = audit({"bare": table})["splits"]["bare"]
    null = {name for name, value in measured.items() if value is None}
    assert null == {
        "top_relation",
        "top_relation_share",
        "subject_copy_rouge",
        "subject_prefix_rouge",
        "relation_majority_rouge",
        "shuffled_rouge",
        "same_id_share",
        "several_names_share",
        "inverted_share",
        "vacuous_share",
        "ambiguous_subject_share",
        "many_objects_share",
        "self_answer_share",
        "mirrored_share",
        "popularity",
    }


def test_subjects_and_relations_are_read_off_questions_of_the_published_form() -> None:
    table = pl.DataFrame(
        {
            "question": ["What is the capital of Alphaland?", "What is the capital of Psi City?"],
            "answer": ["Alphaville", "Psi District"],
        }
    )
    rows = standard(table).rows
    assert rows["relation"].to_list() == ["capital", "capital"]
    assert rows["subject"].to_list() == ["Alphaland", "Psi City"]
    # The relation parsed from a question is not compared with its answer.
    assert measure(standard(table))["inverted_share"] == 0.5


def test_questions_that_name_no_relation_are_not_called_inverted_or_vacuous() -> None:
    questions = ["Which district is located in Alphaland?", "How does Psi differ from Phi?", "Who is located in Chi?"]
    table = pl.DataFrame({"question": questions, "answer": ["Psi District"] * 3})
    measured = measure(standard(table))
    assert (measured["inverted_share"], measured["vacuous_share"]) == (None, None)
    assert measured["malformed_share"] == measured["ungrammatical_share"] == pytest.approx(1 / 3)
    with_relation = measure(standard(table.with_columns(relation=pl.lit("country"))))
    assert None not in (with_relation["inverted_share"], with_relation["vacuous_share"])


def test_a_popularity_that_is_no_number_is_left_out() -> None:
    table = OURS.select("question", "answer", pop_sum=pl.Series([2.0, float("nan"), None, 4.0]))
    assert audit({"odd": table})["splits"]["odd"]["popularity"] == {"min": 2.0, "median": 3.0, "max": 4.0}


def test_an_empty_split_has_no_rows_and_nothing_else() -> None:
    measured = audit({"empty": OURS.clear()})["splits"]["empty"]
    assert [measured.pop(name) for name in ("rows", "empty_questions", "empty_answers")] == [0, 0, 0]
    assert set(measured.values()) == {None}


def test_triplets_without_questions_are_measured_as_facts() -> None:
    triplets = pl.DataFrame(
        {
            "subjectLabel": ["A", "B", "A", "C", "C", "D"],
            "relation": ["twin", "twin", "twin", "kind", "kind", "capital of"],
            "objectLabel": ["B", "A", "B", "C", "Q12", "B"],
        }
    )
    measured = audit({"raw": triplets})["splits"]["raw"]
    assert measured["distinct_questions"] is None
    assert measured["empty_questions"] is None
    assert measured["malformed_share"] is None
    assert measured["mirrored_share"] == 0.5
    assert measured["duplicate_share"] == pytest.approx(1 / 6)
    assert measured["many_objects_share"] == pytest.approx(2 / 6)
    assert measured["self_answer_share"] == pytest.approx(1 / 6)
    assert measured["bare_id_share"] == pytest.approx(1 / 6)
    unknown = pl.DataFrame({"subjectLabel": ["A", None], "relation": "kind", "objectLabel": [None, "C"]})
    gaps = audit({"raw": pl.concat([triplets, unknown])})["splits"]["raw"]
    assert gaps["many_objects_share"] == measured["many_objects_share"], "a missing name is no object and no subject"
    assert audit({"raw": unknown})["splits"]["raw"]["many_objects_share"] is None


def test_objects_are_counted_by_relation_and_an_answer_in_another_case_is_the_subject_too() -> None:
    triplets = pl.DataFrame(
        {"subjectLabel": ["A", "A", "C"], "relation": ["twin", "kind", "kind"], "objectLabel": ["B", "D", "c"]}
    )
    measured = audit({"raw": triplets})["splits"]["raw"]
    assert measured["many_objects_share"] == 0
    assert measured["self_answer_share"] == pytest.approx(1 / 3)


def test_a_label_with_two_countries_is_ambiguous_where_there_are_no_ids() -> None:
    triplets = pl.DataFrame(
        {
            "subjectLabel": ["A", "A", "B", "B", "A"],
            "relation": ["country", "country", "country", "language", "language"],
            "objectLabel": ["Nu", "Mu", "Nu", "Nuish", "Muish"],
        }
    )
    rows = standard(triplets).rows
    assert ambiguous_subjects([rows]) == {"A"}
    assert audit({"raw": triplets})["splits"]["raw"]["ambiguous_subject_share"] == 0.6
    unknown = pl.DataFrame(
        {"subjectLabel": ["B", None, None], "relation": "country", "objectLabel": [None, "Nu", "Mu"]}
    )
    assert ambiguous_subjects([standard(pl.concat([triplets, unknown])).rows]) == {"A"}


def test_a_name_with_an_id_in_one_table_and_none_in_another_is_not_ambiguous() -> None:
    rows = standard(OURS.with_columns(subject="subject_label")).rows
    assert ambiguous_subjects([rows.tail(2), rows.tail(2).with_columns(subject_id=None)]) == frozenset()
    assert ambiguous_subjects([]) == frozenset()


def test_what_is_missing_repeats_nothing_and_is_no_id() -> None:
    rows = pl.DataFrame(
        {
            "question": ["Who?", "Who?", "Who?", None, None],
            "answer": ["Q7", "Q7", "Q8 Street", None, None],
            "subjectLabel": ["A", "Q1", None, "Q2", "Q2"],
            "relation": ["r"] * 5,
        }
    )
    measured = audit({"some": rows})["splits"]["some"]
    assert (measured["bare_id_share"], measured["duplicate_share"]) == (pytest.approx(2 / 3), 0)
    bare = audit({"some": rows.select("question", "answer")})["splits"]["some"]
    assert (bare["bare_id_share"], bare["duplicate_share"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_a_table_without_questions_or_triplets_is_refused_with_its_columns() -> None:
    with pytest.raises(InputError, match=r"links: no question-answer pairs .* qid, title"):
        standard(pl.DataFrame({"qid": ["Q1"], "title": ["A"]}), "links")


@pytest.mark.parametrize("empty", [None, "", " "])
def test_empty_cells_are_counted_and_are_no_questions_or_answers(empty: str | None) -> None:
    rows = pl.DataFrame({"question": ["What is X?", empty, "Where lies Z?", empty], "answer": [empty, "Y", "Y", "V"]})
    measured = audit({"some": rows})["splits"]["some"]
    assert (measured["rows"], measured["empty_questions"], measured["empty_answers"]) == (4, 2, 1)
    assert (measured["distinct_questions"], measured["distinct_answers"]) == (2, 2)
    assert measured["top_answer_share"] == pytest.approx(2 / 3), "of the rows with an answer"


@pytest.mark.parametrize(
    ("answer", "share"),
    [("Nova Roma", 1), ("Bank of Roma", 1), ("ROMA", 1), ("New Roma City", 0), ("Roma, in Roma City", 1), ("...", 0)],
)
def test_half_of_its_words_in_the_question_give_an_answer_away(answer: str, share: int) -> None:
    rows = pl.DataFrame({"question": ["Where lies Roma?"], "answer": [answer]})
    assert audit({"some": rows})["splits"]["some"]["answer_in_question_share"] == share


def test_an_id_with_several_names_is_told_in_all_rows_that_have_it() -> None:
    ids = ("Q30", "Q30", "Q9", None), ("Q31", "Q32", "Q30", "Q32")
    table = OURS.with_columns(
        pl.Series(name, values) for name, values in zip(("subject_qid", "object_qid"), ids, strict=True)
    )
    table = table.with_columns(
        subject_label=pl.Series(["Mur", "MUR", "Qus", "Nu"]), answer=pl.Series(["A", "B", "Qus", "b"])
    )
    assert audit({"some": table})["splits"]["some"]["several_names_share"] == 0.75


def test_only_rows_with_the_ids_of_both_ends_have_the_same_id_or_not() -> None:
    rows = OURS.with_columns(subject_qid=pl.Series(["Q1", None, "Q3", None]), object_kind=None)
    assert audit({"some": rows})["splits"]["some"]["same_id_share"] == 0.5
