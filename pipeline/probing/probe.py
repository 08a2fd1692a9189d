"""Which facts models are asked about, and the other subjects that a probe compares each with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import polars as pl

from dual_data.sampling import with_rank
from dual_data.text.matching import ObjectKind, contains_answer

SALT = "sample"
"""One salt for the probe and the judge, so that a sampled fact is probed and judged."""
DIGITS = 6
"""Decimals kept of what models give: the last bits differ between machines, and the tables' hashes must not."""
MOST_CANDIDATES = 200
"""Limit of the search for a fact's partners: all facts of a relation may have its answer."""


class Fact(NamedTuple):
    """A fact with its questions and accepted answers."""

    fact_id: str
    relation: str
    kind: ObjectKind
    subject_id: str
    question: str
    answer: str
    answers: tuple[str, ...]
    paraphrases: tuple[str, ...]


class Probe(NamedTuple):
    """What is asked: the sampled facts, further facts for control alone, and the partners by id of a sampled fact."""

    facts: list[Fact]
    extras: list[Fact]
    partners: dict[str, list[Fact]]


def sampled(questions: pl.DataFrame, sample: int | None, limit: int | None) -> pl.DataFrame:
    """The first `sample` questions (at most `limit`) by hash rank; a larger sample contains a smaller one."""
    most = min((size for size in (sample, limit) if size is not None), default=questions.height)
    return with_rank(questions, SALT).sort("rank", "fact_id").head(most).drop("rank")


def select(facts: pl.DataFrame, questions: pl.DataFrame, chosen: Collection[str], controls: int) -> Probe:
    """The facts with the ids `chosen`, and for each at most `controls` facts about other subjects."""
    every_fact = _facts(facts, questions)
    sample = [fact for fact in every_fact if fact.fact_id in chosen]
    if not controls:
        return Probe(sample, [], {fact.fact_id: [] for fact in sample})
    inside = _partners(_by_relation(sample), controls)
    unpartnered = {fact.relation for fact in sample if not inside[fact.fact_id]}
    outside = _partners({name: group for name, group in _by_relation(every_fact).items() if name in unpartnered}, 1)
    partners = {fact.fact_id: inside[fact.fact_id] or outside[fact.fact_id] for fact in sample}
    extras = {other.fact_id: other for others in partners.values() for other in others if other.fact_id not in chosen}
    return Probe(sample, [extras[fact_id] for fact_id in sorted(extras)], partners)


def _facts(facts: pl.DataFrame, questions: pl.DataFrame) -> list[Fact]:
    """Every fact that has a question, in the order of a hash."""
    rows = questions.join(facts.select("fact_id", "relation", "object_kind", "subject_qid"), on="fact_id", how="inner")
    rows = with_rank(rows, "control").sort("rank", "fact_id")
    return [
        Fact(
            fact_id=row["fact_id"],
            relation=row["relation"],
            kind=row["object_kind"],
            subject_id=row["subject_qid"],
            question=row["question"],
            answer=row["answer"],
            answers=tuple(row["answers"]),
            paraphrases=tuple(row["paraphrases_validation"]),
        )
        for row in rows.iter_rows(named=True)
    ]


def _by_relation(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.relation, []).append(fact)
    return groups


def _partners(groups: Mapping[str, Sequence[Fact]], most: int) -> dict[str, list[Fact]]:
    """For each fact the next `most` of its group, cyclically, with another subject and no answer in common."""
    partners: dict[str, list[Fact]] = {}
    for group in groups.values():
        for place, fact in enumerate(group):
            following = (group[(place + step) % len(group)] for step in range(1, min(len(group), MOST_CANDIDATES)))
            suitable = (
                other for other in following if other.subject_id != fact.subject_id and not hits(fact, other.answers)
            )
            partners[fact.fact_id] = list(islice(suitable, most))
    return partners


def hits(fact: Fact, texts: Sequence[str]) -> int:
    """How many of the texts give an accepted answer of the fact."""
    return sum(contains_answer(text, fact.answers, fact.kind) for text in texts)


def is_majority(fact: Fact, texts: Sequence[str]) -> bool:
    """Whether more than half of the texts give an accepted answer of the fact."""
    return 2 * hits(fact, texts) > len(texts)
