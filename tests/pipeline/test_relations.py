"""The content of pipeline/relations and topics.toml: it covers the published tables, and its questions are fair.

What `dual-data check` finds is left to its test on the shipped project.
"""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.config import Relation, load_relations, load_topics
from dual_data.templates import overlap
from dual_data.text.rouge import unicode_tokens
from dual_data.text.words import words
from tests.reference import REFERENCE, needs_reference

PIPELINE = Path(__file__).parents[2] / "pipeline"
RELATIONS = load_relations(PIPELINE / "relations")
TOPICS = load_topics(PIPELINE / "topics.toml")
EXCLUDED: dict[str, dict[str, Any]] = tomllib.loads((PIPELINE / "relations" / "EXCLUDED.toml").read_text("utf-8"))
every_relation = pytest.mark.parametrize("stem", sorted(RELATIONS))


def topics_of(relation: Relation) -> tuple[str, ...]:
    return tuple(TOPICS) if "*" in relation.topics else relation.topics


def excluded(label: str, topic: str) -> bool:
    return label in EXCLUDED and topic in EXCLUDED[label].get("topics", TOPICS)


ASKED = {
    (label, topic) for relation in RELATIONS.values() for label in relation.labels for topic in topics_of(relation)
}


@cache
def raw() -> pl.DataFrame:
    """All rows of the published tables: topic, subjectLabel, relation, objectLabel."""
    files = sorted((REFERENCE / "wikidata_triplets").glob("*.csv"))
    frames = [pl.read_csv(path, infer_schema_length=0).with_columns(topic=pl.lit(path.stem)) for path in files]
    return pl.concat(frames).select("topic", "subjectLabel", "relation", "objectLabel")


def test_at_least_eighty_properties_are_asked() -> None:
    assert len({relation.property for relation in RELATIONS.values()}) >= 80


def test_dates_quantities_and_texts_are_asked_beside_entities() -> None:
    kinds = {relation.object for relation in RELATIONS.values()}
    assert kinds == {"entity", "date", "quantity", "text"}


@every_relation
def test_each_use_has_its_own_questions(stem: str) -> None:
    wording = RELATIONS[stem].questions
    assert len(wording.validation) == 3
    assert len(wording.training) >= 1
    assert len(wording.test) >= 2
    assert wording.statement is not None


@every_relation
def test_questions_are_sentences(stem: str) -> None:
    wording = RELATIONS[stem].questions
    for question in wording.questions():
        assert re.fullmatch(r'(?:[A-Z]|\{subject\}|"\{subject\}").*[?.]', question), question
        imperative = re.match(r"(?:Name|Give|Quote|Write)\b", question) is not None
        assert question.endswith("." if imperative else "?"), question
    assert wording.statement is not None
    assert wording.statement.endswith(".")


@every_relation
def test_a_question_about_a_date_names_the_precision(stem: str) -> None:
    relation = RELATIONS[stem]
    if relation.object == "date":
        for question in relation.questions.questions():
            assert re.search(rf"\b{relation.precision}\b", question), question


@every_relation
def test_a_question_about_a_quantity_names_the_unit_and_never_as_the_answer_writes_it(stem: str) -> None:
    relation = RELATIONS[stem]
    if relation.object == "quantity" and relation.unit is not None:
        full = {"m": "metres", "cm": "centimetres", "km": "kilometres", "km²": "square kilometres", "V": "volts"}
        for question in relation.questions.questions():
            assert full[relation.unit_name] in question, question
            assert not set(words(relation.unit_name)) & set(words(question)), question


@every_relation
def test_songs_stand_in_quotation_marks_wherever_a_file_is_about_songs_alone(stem: str) -> None:
    relation = RELATIONS[stem]
    if relation.topics == ("entertainment_song",):
        for question in relation.questions.questions():
            assert '"{subject}"' in question, question


@every_relation
def test_people_are_asked_about_in_words_that_fit_the_living_and_the_dead(stem: str) -> None:
    relation = RELATIONS[stem]
    if all(topic.startswith("human_") for topic in relation.topics):
        assert not re.search(r"\b(?:still|currently|now|today|late)\b", " ".join(relation.questions.questions()))


@every_relation
def test_conditions_and_performed_genres_need_no_article(stem: str) -> None:
    """ "What causes wart?" lacks an article; "a case of wart" and "a case of sepsis" are both right."""
    conditions = set(RELATIONS[stem].topics) <= {"health_disease", "health_symptom"}
    if conditions or stem == "P3095_genre":
        before = r"[Cc]ases? of|condition known as|diagnosis of" if conditions else "genre"
        for question in (*RELATIONS[stem].questions.questions(), RELATIONS[stem].questions.statement):
            assert re.search(rf"\b(?:{before}) \{{subject\}}", question or ""), question


@every_relation
def test_the_name_of_a_language_may_contain_that_word(stem: str) -> None:
    if "language" in topics_of(RELATIONS[stem]):
        assert "language {subject}" not in " ".join(RELATIONS[stem].questions.questions())


def test_waters_of_a_country_may_be_rivers() -> None:
    for question in RELATIONS["P206_country"].questions.questions():
        assert "coast" not in question, question


def test_the_material_of_a_landmark_is_asked_in_words_that_fit_a_mountain() -> None:
    for question in RELATIONS["P186"].questions.questions():
        assert not re.search(r"\b(?:built|created|ma[dk]e|makers|making)\b", question), question


@every_relation
def test_a_kinship_that_holds_both_ways_is_symmetric(stem: str) -> None:
    assert RELATIONS[stem].symmetric == (RELATIONS[stem].property in {"P26", "P3373"})


def test_inverse_properties_name_each_other() -> None:
    by_property: dict[str, set[str]] = defaultdict(set)
    for relation in RELATIONS.values():
        by_property[relation.property] |= set(relation.inverse)
    for property_id, inverse in by_property.items():
        for other in inverse & set(by_property):
            assert property_id in by_property[other], (property_id, other)


def test_the_topics_are_those_of_the_tables_and_people_belong_by_occupation() -> None:
    for name, topic in TOPICS.items():
        assert topic.property == ("P106" if name.startswith("human_") else "P31"), name
        assert topic.order == "sitelinks"


@pytest.mark.parametrize("label", sorted(EXCLUDED))
def test_an_exclusion_is_explained_in_sentences(label: str) -> None:
    assert EXCLUDED[label]["note"].endswith(".")


@needs_reference
def test_every_table_has_its_topic() -> None:
    assert set(raw()["topic"]) <= set(TOPICS)


@needs_reference
def test_every_frequent_label_is_asked_or_excluded() -> None:
    labels = {label for label, _ in ASKED} | set(EXCLUDED)
    frequent = raw().group_by("relation").len().filter(pl.col("len") >= 100)
    assert sorted(set(frequent["relation"]) - labels) == []


@needs_reference
def test_every_frequent_label_of_a_topic_is_asked_or_excluded_there() -> None:
    frequent = raw().group_by("relation", "topic").len().filter(pl.col("len") >= 100)
    cells = [(label, topic) for label, topic, _ in frequent.iter_rows()]
    assert sorted(cell for cell in cells if cell not in ASKED and not excluded(*cell)) == []


@needs_reference
@pytest.mark.parametrize("label", sorted(EXCLUDED))
def test_an_exclusion_counts_its_rows(label: str) -> None:
    topics = list(EXCLUDED[label].get("topics", TOPICS))
    rows = raw().filter((pl.col("relation") == label) & pl.col("topic").is_in(topics))
    assert EXCLUDED[label]["rows"] == rows.height


@needs_reference
def test_the_relations_cover_the_expected_pairs_with_one_object() -> None:
    """28 to 33 thousand (subject, relation) pairs of the tables have one object and can be asked."""
    pairs = raw().unique().group_by("topic", "subjectLabel", "relation").len().filter(pl.col("len") == 1)
    askable = pl.DataFrame(sorted(ASKED), schema=["relation", "topic"], orient="row")
    assert 28_000 <= pairs.join(askable, on=["relation", "topic"]).height <= 33_000


@every_relation
def test_some_wording_of_each_use_fits_an_answer_with_the_name_of_a_city(stem: str) -> None:
    """A wording with "city" gives half of "Mexico City" away."""
    questions = RELATIONS[stem].questions
    for use in ((questions.canonical,), questions.validation, questions.test):
        assert any("citi" not in unicode_tokens(question) for question in use), use


@needs_reference
@every_relation
def test_answers_rarely_stand_in_the_words_of_the_question_or_of_all_wordings_of_a_use(stem: str) -> None:
    """A relation whose wordings all name the kind of answer ("which party") would lose half of its facts as leaks."""
    relation = RELATIONS[stem]
    rows = raw().filter(pl.col("relation").is_in(relation.labels) & pl.col("topic").is_in(topics_of(relation)))
    answers = rows["objectLabel"].unique()
    for use in ((relation.questions.canonical,), relation.questions.validation, relation.questions.test):
        wordings = [frozenset(unicode_tokens(question)) for question in use]
        leaking = [answer for answer in answers if all(overlap(answer, wording) >= 0.5 for wording in wordings)]
        assert len(leaking) <= max(2, len(answers) // 7), (use, leaking)


@needs_reference
@every_relation
def test_no_word_of_the_question_ends_the_words_of_many_answers(stem: str) -> None:
    """ "Which of the shires?" tells how "Yorkshire" and many others end."""
    relation = RELATIONS[stem]
    rows = raw().filter(pl.col("relation").is_in(relation.labels) & pl.col("topic").is_in(topics_of(relation)))
    asked = {word.removesuffix("s") for word in words(relation.questions.canonical) if len(word) > 4}
    answers = [words(answer) for answer in rows["objectLabel"].unique()]
    ended = [
        answer for answer in answers if any(word.endswith(end) and word != end for word in answer for end in asked)
    ]
    assert len(ended) <= max(2, len(answers) // 10), ended
