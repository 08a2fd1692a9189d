"""The rules on made-up questions, on drawn questions with hashed labels, and on our own templates."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.audit import phrases
from dual_data.audit.grammar import KINDS, malformed, parse, relation_label
from tests.audit.draw import draw, question_key
from tests.audit.made_up import MADE_UP, MadeUp
from tests.reference import REFERENCE, needs_reference

LABELS = Path(__file__).with_name("labels.tsv")
PIPELINE = Path(__file__).parents[2] / "pipeline"


@pytest.mark.parametrize("example", MADE_UP, ids=lambda example: example.question)
def test_made_up_questions_get_their_kind(example: MadeUp) -> None:
    assert malformed(example.question, example.answer, example.relation) == example.kind


def test_there_are_a_hundred_made_up_questions_of_every_kind() -> None:
    assert len({example.question for example in MADE_UP}) == 100
    assert {example.kind for example in MADE_UP} == {*KINDS, None}


def labels(half: str) -> dict[str, str]:
    with LABELS.open(encoding="utf-8") as file:
        return {row["key"]: row["kind"] for row in csv.DictReader(file, delimiter="\t") if row["half"] == half}


@needs_reference
@pytest.mark.parametrize(
    ("half", "true_positives", "flagged", "positives", "same_kind"),
    [("develop", 76, 76, 76, 150), ("held_out", 67, 67, 70, 147)],
)
def test_precision_and_recall_on_the_drawn_questions(
    half: str, true_positives: int, flagged: int, positives: int, same_kind: int
) -> None:
    """On the held-out half, when the rules first saw it: precision 67/67 (0.946-1), recall 67/70 (0.881-0.985)."""
    rows, kinds = draw(REFERENCE)[half], labels(half)
    assert len(rows) == len(kinds) == 150
    predicted = {question_key(row[0]): malformed(*row) or "well_formed" for row in rows.iter_rows()}
    flagged_keys, labelled_keys = (
        {key for key, kind in side.items() if kind != "well_formed"} for side in (predicted, kinds)
    )
    counts = len(flagged_keys & labelled_keys), len(flagged_keys), len(labelled_keys)
    assert counts == (true_positives, flagged, positives)
    assert sum(predicted[key] == kind for key, kind in kinds.items()) == same_kind
    assert min(true_positives / flagged, true_positives / positives) >= 0.95
    assert _least(true_positives, flagged) > 0.94
    assert _least(true_positives, positives) > 0.88


def _least(hits: int, rows: int) -> float:
    """Lower end of the 95 % interval of a share (Wilson 1927)."""
    share, spread = hits / rows, 1.959964**2 / rows
    return (share + spread / 2 - math.sqrt(spread * (share * (1 - share) + spread / 4))) / (1 + spread)


@pytest.mark.parametrize("label", [True, False], ids=["with its label", "by its property alone"])
def test_no_template_of_ours_is_malformed(label: bool) -> None:
    """The questions of dual-data must pass its own rules."""
    from dual_data.config import load_relations

    relations = load_relations(PIPELINE / "relations")
    assert relations
    failed = []
    for stem, relation in relations.items():
        names = relation.labels if label else (stem,)
        questions = relation.questions
        templates = [questions.canonical, *questions.validation, *questions.training, *questions.test]
        for subject in ("Alphaville", "the Netherlands", "upsilon decay"):
            for template in templates:
                question = template.replace("{subject}", subject)
                kinds = {malformed(question, "Kappa", name, subject, relation.property) for name in names}
                failed += [f"{stem}: {question}: {kind}" for kind in kinds if kind]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("question", "subject", "phrase", "rest"),
    [
        ("What is the capital of the Netherlands?", None, "capital", "Netherlands?"),
        (
            "What is the located in or next to body of water of Alphaville?",
            None,
            "located in or next to body of water",
            "",
        ),
        ("What is the head of state of alphaland?", "alphaland", "head of state", "alphaland"),
        ("What is the head of state of The alphaland?", "alphaland", "head of state", "alphaland"),
        ("What's the currency used in Alphaland?", "Alphaland", "currency used", "Alphaland"),
    ],
)
def test_a_question_of_the_published_form_is_split(question: str, subject: str | None, phrase: str, rest: str) -> None:
    parsed = parse(question, subject)
    assert parsed is not None
    assert parsed.phrase == phrase
    assert parsed.rest.startswith(rest.rstrip("?"))


def test_other_forms_are_not_split() -> None:
    assert parse("In which country is Alphaville located?") is None


@pytest.mark.parametrize(
    ("relation", "property_id", "label"),
    [
        ("capital of", None, "capital of"),
        ("P1376", None, "capital of"),
        ("P17_river", "P17", "country"),
        ("P99999", None, None),
        ("label:0123456789abcdef", "P36", "capital"),
        (None, None, None),
    ],
)
def test_a_relation_is_known_by_label_or_by_property(
    relation: str | None, property_id: str | None, label: str | None
) -> None:
    assert relation_label(relation, property_id) == label


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("capital", "capital"),
        ("product or material produced or service provided", "material"),
        ("head of government", "head"),
        ("headquarters location", "location"),
        ("protected area", "area"),
        ("language used", "language"),
        ("name of the river that flows", "name"),
        ("river that flows", "river"),
        ("language spoken", "language"),
        ("language used in court", "language"),
        ("officially recognised language", "language"),
        ("family name", "name"),
    ],
)
def test_the_head_of_a_noun_phrase(phrase: str, head: str) -> None:
    assert phrases.parse(phrase) == (head, None)


def test_an_adjective_alone_names_nothing() -> None:
    assert phrases.parse("identical").fault is not None
    assert phrases.parse("identical twin") == ("twin", None)


def test_who_asks_for_no_place_be_it_known_by_the_relation_or_by_the_answer() -> None:
    assert malformed("Who surrounds Nu Lake?", "Iota", "location") == "ungrammatical"
    assert malformed("Who surrounds Nu Lake?", "Iota District", "P9999") == "ungrammatical"


@pytest.mark.parametrize(
    ("phrase", "is_person"),
    [
        ("head of state", True),
        ("head", False),
        ("cast member", True),
        ("unmarried partner", True),
        ("trading partner", False),
    ],
)
def test_what_asks_for_no_person(phrase: str, is_person: bool) -> None:
    assert malformed(f"What is the {phrase} of Alphaland?", "Iota Kappa") == ("ungrammatical" if is_person else None)


def test_a_plural_may_follow_are() -> None:
    assert malformed("What are the colours of Alphaland?", "red and blue") is None
    assert malformed("What are the family names of Alphaland?", "Iota and Kappa") is None
    assert malformed("What is the colours of Alphaland?", "red and blue") == "ungrammatical"
    assert malformed("What are the located in of Alphaland?", "red and blue") == "ungrammatical"


@pytest.mark.parametrize(
    ("question", "answer", "subject"),
    [
        ('Who sings "A Different Rho"?', "Iota Kappa", "A Different Rho"),
        ("Who commissioned Omega Stadium?", "Mu County", "Omega Stadium"),
        ("Who or what is Omega Tower named after?", "Omega District", "Omega Tower"),
        ("Who takes care of Nu Bridge?", "Department of Bridges", "Nu Bridge"),
        ("Who lives in Omega Castle?", "Iota Kappa", "Omega Castle"),
        ("Who is the coach of Omega United?", "Iota Kappa", "Omega United"),
        ("What is the author of Omega Charter?", "EU", "Omega Charter"),
    ],
)
@pytest.mark.parametrize("relation", ["P9999", "head of training"])
def test_a_good_question_is_not_taken_for_another_by_a_word_in_it(
    question: str, answer: str, subject: str, relation: str
) -> None:
    assert malformed(question, answer, relation, subject) is None


@given(st.text(max_size=80), st.text(max_size=30), st.none() | st.text(max_size=30), st.none() | st.text(max_size=20))
def test_any_text_gets_an_answer(question: str, answer: str, relation: str | None, subject: str | None) -> None:
    assert malformed(question, answer, relation, subject) in (*KINDS, None)


@needs_reference
def test_no_drawn_question_stands_in_the_tests() -> None:
    """The labels are stored by hash, and no made-up question is from the data."""
    questions = {question for rows in draw(REFERENCE).values() for question in rows["question"]}
    assert not questions & {example.question for example in MADE_UP}
    assert all(re.fullmatch(r"[0-9a-f]{16}", key) for half in ("develop", "held_out") for key in labels(half))
    assert pl.Series(sorted(questions)).n_unique() == 300
