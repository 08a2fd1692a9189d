"""Questions: what each fact is asked as, what counts as an answer, and which facts cannot be asked fairly.

A fact gets the first reason that applies, in this order:

    unknown_relation    no relation file has its stem
    unlabelled          subject or object has a bare id for a label
    self_answer         the object is the subject, by id or by label
    several_objects     the relation is asked for one object, and the pair has more
    unanswerable        a literal that cannot be asked so: a coarser date, another unit
    answer_too_long     the canonical answer has more than `answer_words` words
    ambiguous_subject   another subject or object has the same label, and no hint tells the subject apart without giving
                        the answer away
    answer_in_question  `leak_share` or more of the answer's words occur in the canonical question
    no_wording_left     so many other wordings hold as much of the answer that none is left for validation or for tests
    answer_is_prefix    the subject's name begins with the answer, case and accents aside: "it" of Italian
    mirrored            another fact that can be asked states the same with subject and object swapped; one is kept
    further_object      another object of the same pair carries the question and accepts this one (relations that allow
                        several objects)
    same_question       another fact reads the same and has another answer

The leak is measured on each wording as it is asked, with its hint: that is what an answer could be copied from. Words
are compared once stemmed ("record" is a word of "Epic Records"), as the evaluation's ROUGE compares them, with an
answer's small words and without: "Province of Modena" is as much of a leak as "Modena Province", "The Lego Group" as
"Lego Group", and half of "Central Bank of Guyana" could be copied from a question that holds "of Guyana". A paraphrase
that leaks is left out for that fact; if an even number remains for validation, the last one is left out too, so that a
majority exists. Another accepted answer (an alias, a further object) that leaks into a remaining wording is dropped,
though it is right: echoing the question must never score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
from pydantic import Field

from dual_data import templates
from dual_data.config import RELATIONS, TOPICS, Profile, Relation, Strict, Topic, load_topics
from dual_data.engine.stage import Stage, Tools
from dual_data.errors import ConfigError
from dual_data.sampling import with_rank
from dual_data.schema import Questions
from dual_data.sources.assembly import mirrored, reject
from dual_data.text.matching import contains_answer
from dual_data.text.words import fold
from pipeline.wording.leaks import Leaks
from pipeline.wording.wordings import with_questions

ARTICLE = r"^[Tt]he "
BARE_ID = r"^(?:Q[1-9][0-9]*|label:[0-9a-f]{16})$"


class QuestionsParams(Strict):
    """What makes a question fair."""

    leak_share: float = Field(default=0.5, gt=0, le=1)
    """A wording leaks if it holds at least this share of the answer's words: a paraphrase is then left out; if it is
    the canonical question, the fact is rejected."""
    answer_words: int = Field(default=10, ge=1)
    """Most words of a canonical answer."""
    hint_length: int = Field(default=60, ge=10)
    """Most characters of the hint that tells namesakes apart, as in "Alexandria (city in Egypt)"."""


def run(params: QuestionsParams, tools: Tools, *, facts: pl.DataFrame) -> pl.DataFrame:
    """The questions of every fact; facts that cannot be asked carry a reason."""
    relations = tools.relations()
    chosen = with_rank(facts, "questions")
    if tools.limit is not None:
        chosen = chosen.sort("rank").head(tools.limit)
    rows = chosen.join(_relation_table(relations), on="relation", how="left", maintain_order="left")
    rows = rows.with_columns(reason=_first_reasons()).with_columns(
        answer=pl.when(pl.col("object_kind") == "entity").then("object_label")
    )
    rows = _with_literals(rows, relations)
    rows = reject(rows, pl.col("answer").str.count_matches(r"\S+") > params.answer_words, "answer_too_long")
    rows = _with_subjects(rows, facts, params.hint_length)
    topics = load_topics(tools.project / TOPICS)
    rows = _with_named_answers(_with_article(rows, topics), facts, topics)
    rows = with_questions(_with_answers(rows), relations)
    leaks = Leaks(relations, params.leak_share)
    rows = leaks.without_leaking_wordings(rows)
    rows = reject(rows, (pl.col("leaks") == "question") | _states_its_answer(rows), "answer_in_question")
    rows = reject(rows, pl.col("leaks") == "wordings", "no_wording_left")
    rows = reject(rows, _begins_with_answer(rows), "answer_is_prefix")
    mirrors = mirrored(rows.filter(pl.col("reason").is_null()), relations)
    rows = reject(rows, pl.col("fact_id").is_in(mirrors.implode()), "mirrored")
    rows = leaks.without_echoes(_with_all_objects(rows))
    rows = reject(rows, _repeated(), "same_question")
    functional = pl.col("unique_one").fill_null(False) & (pl.col("objects_of_pair") == 1)
    return rows.with_columns(functional=functional).select(*Questions.columns(), "reason").sort("fact_id")


def check(_: QuestionsParams, project: Path, profile: Profile) -> None:
    """Raise ConfigError for labels that take "the" in a language other than English."""
    if profile.about.language.split("-")[0] == "en" or not (project / TOPICS).is_file():
        return
    if marked := [name for name, topic in load_topics(project / TOPICS).items() if topic.article]:
        raise ConfigError(
            f'`article` puts the English "the" into questions, but language = "{profile.about.language}" in '
            f"{profile.path}; remove it from {', '.join(marked)}, and word the questions so that they need no article",
            file=project / TOPICS,
        )


def _relation_table(relations: Mapping[str, Relation]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "relation": list(relations),
            "unique_one": [relation.unique == "one" for relation in relations.values()],
            "template_id": [templates.template_id(stem, relation.questions) for stem, relation in relations.items()],
        }
    )


def _first_reasons() -> pl.Expr:
    """The reasons that need no wording; the first that applies."""
    same_label = pl.col("subject_label").str.to_lowercase() == pl.col("object_label").str.to_lowercase()
    is_entity = pl.col("object_kind") == "entity"  # else the label is the answer itself
    bare = pl.col("subject_label").str.contains(BARE_ID) | (is_entity & pl.col("object_label").str.contains(BARE_ID))
    return (
        pl.when(pl.col("template_id").is_null())
        .then(pl.lit("unknown_relation"))
        .when(bare)
        .then(pl.lit("unlabelled"))
        .when((pl.col("subject_qid") == pl.col("object_qid")).fill_null(False) | same_label)
        .then(pl.lit("self_answer"))
        .when(pl.col("unique_one") & (pl.col("objects_of_pair") > 1))
        .then(pl.lit("several_objects"))
    )


def _with_literals(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Column `forms`: the accepted spellings of a literal; an entity has its label and aliases instead."""
    literals = rows.filter((pl.col("object_kind") != "entity") & pl.col("template_id").is_not_null())
    keys = ["relation", "object_kind", "object_value"]
    distinct = literals.select(keys).unique(maintain_order=True)
    forms = [
        list(templates.literal_answers(relations[stem], kind, value)) for stem, kind, value in distinct.iter_rows()
    ]
    table = distinct.with_columns(forms=pl.Series(forms, dtype=pl.List(pl.String)))
    rows = rows.join(table, on=keys, how="left", maintain_order="left")
    rows = rows.with_columns(answer=pl.coalesce("answer", pl.col("forms").list.first()))
    return reject(rows, pl.col("answer").is_null(), "unanswerable")


def _with_subjects(rows: pl.DataFrame, facts: pl.DataFrame, longest: int) -> pl.DataFrame:
    """Column `subject`: the label, with a hint where another entity of the dataset has the same label.

    Among subjects, case is no difference; an object must have the very label, for many are common nouns: nobody takes
    "Apple" for the fruit.
    """
    subjects = facts.select("subject_qid", "subject_label", "subject_description")
    objects = facts.filter(pl.col("object_qid").is_not_null()).select(
        subject_qid="object_qid", subject_label="object_label", subject_description=pl.lit(None, pl.String)
    )
    namesakes = objects.join(subjects, on="subject_label", how="semi", maintain_order="left")
    entities = pl.concat([subjects, namesakes]).unique("subject_qid", keep="first", maintain_order=True)
    shared = entities.filter(pl.col("subject_label").str.to_lowercase().is_duplicated())
    forms = templates.disambiguated({qid: (label, text) for qid, label, text in shared.iter_rows()}, longest)
    ambiguous = pl.col("subject_qid").is_in(list(forms))
    open_rows = rows.filter(ambiguous & pl.col("reason").is_null())
    chosen_forms = [
        _form(forms[qid], label, [answer, *(aliases or [])])
        for qid, label, answer, aliases in open_rows.select(
            "subject_qid", "subject_label", "answer", "object_aliases"
        ).iter_rows()
    ]
    table = open_rows.select("fact_id", form=pl.Series(chosen_forms, dtype=pl.String))
    rows = rows.join(table, on="fact_id", how="left", maintain_order="left")
    rows = rows.with_columns(subject=pl.when(ambiguous).then("form").otherwise("subject_label"))
    return reject(rows, pl.col("subject").is_null(), "ambiguous_subject")


def _with_article(rows: pl.DataFrame, topics: Mapping[str, Topic]) -> pl.DataFrame:
    """The subject as it appears inside a sentence: "the" before labels that take it, as their topic says.

    An article in the label stays, in lower case if the label takes one: "the Gambia", but "The Hague".
    """
    key = ["topic", "subject_label"]
    with_article = _taking_article(rows.select(key).unique(), topics).with_columns(takes=True)
    with_the = "the " + pl.col("subject").str.replace(ARTICLE, "")
    marked = rows.join(with_article, on=key, how="left", maintain_order="left")
    return marked.with_columns(subject=pl.when("takes").then(with_the).otherwise("subject")).drop("takes")


def _with_named_answers(rows: pl.DataFrame, facts: pl.DataFrame, topics: Mapping[str, Topic]) -> pl.DataFrame:
    """Column `named_answer`: the answer as it appears inside a statement, with "the" as if it were the subject.

    The topics of an answer are those that it is a subject of. Unlike a subject's, an article in its label stays as it
    is, for the statement holds the answer as it is accepted.
    """
    answers = rows.select("object_qid", subject_label="object_label").unique()
    described = answers.join(facts.select("topic", object_qid="subject_qid").unique(), on="object_qid")
    takes = pl.col("object_qid").is_in(_taking_article(described, topics)["object_qid"].implode())
    with_the = pl.when(takes & ~pl.col("answer").str.contains(ARTICLE)).then("the " + pl.col("answer"))
    return rows.with_columns(named_answer=pl.coalesce(with_the, "answer"))


def _taking_article(labels: pl.DataFrame, topics: Mapping[str, Topic]) -> pl.DataFrame:
    """The rows, of at least topic and subject_label, whose label takes "the"."""
    # Topic by topic, and each label once: the patterns are many, and nearly every label matches none of them.
    patterns = {name: "|".join(f"(?:{pattern})" for pattern in topic.article) for name, topic in topics.items()}
    matches = [
        labels.filter(pl.col("topic") == name).filter(pl.col("subject_label").str.contains(pattern))
        for name, pattern in patterns.items()
        if pattern
    ]
    return pl.concat([labels.clear(), *matches])


def _form(forms: Iterable[str], label: str, answers: list[str]) -> str | None:
    return next((form for form in forms if not templates.hint_leaks(form, label, answers)), None)


def _with_answers(rows: pl.DataFrame) -> pl.DataFrame:
    """Column `answers`: all accepted answers, the canonical one first."""
    accepted: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}
    fact_ids: list[str] = []
    answer_lists: list[tuple[str, ...]] = []
    is_named = pl.col("object_kind") == "entity"
    spellings = pl.when(is_named).then("object_aliases").otherwise(pl.col("forms").list.slice(1))
    candidates = rows.select("fact_id", "answer", is_named, "reason", spellings=spellings)
    candidates = candidates.filter(pl.col("reason").is_null() & (pl.col("spellings").list.len() > 0)).drop("reason")
    for fact_id, answer, is_entity, texts in candidates.iter_rows():
        key = answer, tuple(texts)
        if key not in accepted:
            accepted[key] = templates.accepted(answer, texts) if is_entity else (answer, *texts)
        fact_ids.append(fact_id)
        answer_lists.append(accepted[key])
    table = pl.DataFrame(
        {"fact_id": fact_ids, "all_answers": answer_lists}, {"fact_id": pl.String, "all_answers": pl.List(pl.String)}
    )
    rows = rows.join(table, on="fact_id", how="left", maintain_order="left")
    answers = pl.coalesce("all_answers", pl.concat_list("answer"))
    return rows.with_columns(answers=pl.when(pl.col("answer").is_not_null()).then(answers)).drop("all_answers")


def _states_its_answer(rows: pl.DataFrame) -> pl.Series:
    """Whether a question states the date or quantity that it asks for: "8849" and "8,849" have no word in common."""
    texts = rows.select("question", "answer", "object_kind", "reason").iter_rows()
    flags = [
        reason is None and kind in ("date", "quantity") and contains_answer(question, [answer], kind)
        for question, answer, kind, reason in texts
    ]
    return pl.Series(flags, dtype=pl.Boolean)


def _begins_with_answer(rows: pl.DataFrame) -> pl.Series:
    """Whether the subject's name begins with the answer: a leak that comparing whole words misses."""
    texts = rows.select("subject_label", "answer", "reason").iter_rows()
    flags = [reason is None and fold(label).startswith(fold(answer)) for label, answer, reason in texts]
    return pl.Series(flags, dtype=pl.Boolean)


def _with_all_objects(rows: pl.DataFrame) -> pl.DataFrame:
    """Where several objects are allowed, one fact of the pair carries the question and accepts them all.

    It is the one of lowest rank, so that popularity does not decide what the canonical answer is. An object whose own
    fact was rejected as mirrored stays an accepted answer.
    """
    pair = ["relation", "subject_qid"]
    right = ~pl.col("unique_one") & (pl.col("reason").is_null() | (pl.col("reason") == "mirrored"))
    merged = (
        rows.filter(right)
        .sort(pl.col("reason").is_not_null(), "rank", "fact_id")
        .group_by(pair, maintain_order=True)
        .agg(pl.col("fact_id").first().alias("carrier"), all_answers=pl.col("answers").explode())
        .with_columns(pl.col("all_answers").list.unique(maintain_order=True))
    )
    joined = rows.join(merged, on=pair, how="left", maintain_order="left")
    several = ~pl.col("unique_one")
    carries = several & pl.col("reason").is_null() & (pl.col("carrier") == pl.col("fact_id"))
    joined = joined.with_columns(answers=pl.when(carries).then("all_answers").otherwise("answers"))
    return reject(joined, several & (pl.col("carrier") != pl.col("fact_id")), "further_object")


def _repeated() -> pl.Expr:
    """Whether several facts have this question: no answer is right for all of them, so none is kept."""
    return pl.when(pl.col("reason").is_null()).then(pl.col("question").str.to_lowercase()).is_duplicated()


QUESTIONS = Stage(
    name="questions",
    version=13,
    run=run,
    schema=Questions,
    params=QuestionsParams,
    inputs=("facts",),
    files=(f"{RELATIONS}/*.toml", TOPICS),
    check=check,
)
