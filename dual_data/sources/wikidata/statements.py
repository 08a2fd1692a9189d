"""Statements and entities from a SPARQL endpoint with Wikidata's data model.

Three steps: the subjects of every topic, their statements of every relation, then labels and the rest of all entities
that were named.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import polars as pl
from pydantic import Field

from dual_data.calls.fetching import Calls, Forecast, NotKnown
from dual_data.config import Relation, Services, Strict, Topic
from dual_data.ids import digest, is_item, item_of_iri, number
from dual_data.sources import values
from dual_data.sources.assembly import ENTITIES, STATEMENTS, Harvest, reject
from dual_data.sources.wikidata.asking import Asker, Foresight
from dual_data.sources.wikidata.queries import Entities, Members, Statements, Subclasses, described_in, in_batches
from dual_data.sources.wikidata.sparql import Term, open_endpoint
from dual_data.text.words import clean

ENTITIES_A_SUBJECT = 3
"""For forecasts: distinct entities in the facts of a topic, per subject."""
_LANGUAGES = ("en", "mul", "")


class Sizes(Strict):
    """How much one query asks for: large enough for few queries, small enough for the 60 s that Wikidata gives one."""

    subjects: int = Field(default=1000, ge=1, le=5000)
    """Subjects in a query for the statements of a relation."""
    entities: int = Field(default=400, ge=1, le=5000)
    """Entities in a query for labels, aliases, descriptions, sitelinks, titles and classes."""
    classes: int = Field(default=300, ge=1, le=5000)
    """Classes in a query for members."""
    labels: int = Field(default=100, ge=1, le=5000)
    """Labels in a query for the items that carry them (source `resolve`)."""
    bands: tuple[int, ...] = (100, 30, 10, 3)
    """Members are fetched by bands of their numbers of sitelinks, the highest first, until the topic's limit is
    reached: the lower bounds of these bands; the last band goes down to 0."""


def members(asker: Asker, topics: Mapping[str, Topic], sizes: Sizes, limit: int | None) -> dict[str, list[str]]:
    """The subjects of every topic."""
    return {name: subjects(asker, name, topic, sizes, limit) for name, topic in topics.items()}


def harvest(
    asker: Asker, members: Mapping[str, Sequence[str]], relations: Mapping[str, Relation], sizes: Sizes
) -> Harvest:
    """All statements of the relations about the topics' subjects, and the entities that they name."""
    statements = read_statements(asker, jobs_of(members, relations, sizes), relations)
    entities, classes = describe(asker, named_in(statements), sizes)
    return Harvest(reject_wrong_classes(asker, statements, classes, relations), entities)


def subclasses(asker: Asker, label: str, roots: Sequence[str]) -> list[str]:
    """Classes and everything below them, by number."""
    classes = set(roots)
    for _, rows in asker.ask(f"classes of {label}", [Subclasses(tuple(roots))]):
        classes.update(_items(row[0] for row in rows))
    return sorted(classes, key=number)


def subjects(asker: Asker, name: str, topic: Topic, sizes: Sizes, limit: int | None) -> list[str]:
    """Members of a topic's classes, most sitelinks first (ties by number) or by hash, up to its limit."""
    most = topic.most(limit)
    groups = in_batches(subclasses(asker, name, topic.classes), sizes.classes)
    sitelinks: dict[str, int] = {}
    high: int | None = None
    # Order by hash needs all members, in one band. Order by sitelinks needs no lower band once there are enough.
    bounds = sorted({*sizes.bands, 0} if topic.order == "sitelinks" else {0}, reverse=True)
    for low in bounds:
        batches = [Members(topic.property, group, low, high) for group in groups]
        for _, rows in asker.ask(f"{name} with {low} sitelinks or more", batches):
            for item, count in rows:
                if qid := _item(item):
                    sitelinks[qid] = values.integer(count) or 0
        if len(sitelinks) >= most:
            break
        high = low
    if topic.order == "hash":
        return sorted(sitelinks, key=digest)[:most]
    return sorted(sitelinks, key=lambda qid: (-sitelinks[qid], number(qid)))[:most]


def looked_up(calls: Calls, services: Services) -> dict[str, str]:
    """Day on which the endpoint was asked about each entity (its article, its sitelinks), by id, from the call log.

    The UTC day of the oldest such answer, which later questions about the entity, such as those of a preview, leave as
    it is; for the embedded snapshot its own day.
    """
    endpoint = open_endpoint(services)
    return {
        qid: endpoint.date or day
        for request, day in reversed(calls.answered(endpoint.source))
        if request == endpoint.request(request["query"])
        for qid in described_in(request["query"])
    }


class Job(NamedTuple):
    """One batch of statements and where its rows belong."""

    topic: str
    relation: str
    batch: Statements


def jobs_of(members: Mapping[str, Sequence[str]], relations: Mapping[str, Relation], sizes: Sizes) -> list[Job]:
    """The statement queries of all topics, in the order of topics and relation files."""
    return [
        job
        for topic, qids in members.items()
        for stem, relation in relations.items()
        if relation.applies_to(topic)
        for job in jobs_about(qids, topic, stem, relation, sizes)
    ]


def jobs_about(qids: Iterable[str], topic: str, stem: str, relation: Relation, sizes: Sizes) -> list[Job]:
    """The statement queries of one relation about items of a topic, by number."""
    groups = in_batches(sorted(qids, key=number), sizes.subjects)
    return [Job(topic, stem, Statements(relation.object, relation.property, group)) for group in groups]


def read_statements(asker: Asker, jobs: Sequence[Job], relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Rows of STATEMENTS: what the endpoint says, with the reason where that is no object."""
    stated: list[tuple[str | None, ...]] = []
    for position, rows in asker.ask("statements", [job.batch for job in jobs]):
        job = jobs[position]
        relation = relations[job.relation]
        for subject, term, *details in rows:
            if (qid := _item(subject)) and term is not None:
                value = values.stated(relation, term, details)
                stated.append((job.topic, job.relation, relation.property, qid, relation.object, *value))
    frame = pl.DataFrame(stated, schema={**STATEMENTS, "language": pl.String}, orient="row")
    return prefer_languages(frame)


def prefer_languages(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the texts of a pair keep those in English, else those for all languages, else those without a language."""
    rank = pl.col("language").replace_strict({name: position for position, name in enumerate(_LANGUAGES)}, default=9)
    stated = pl.col("reason").is_null() & (pl.col("object_kind") == "text")
    best = pl.when(stated).then(rank).min().over("relation", "subject_qid")
    return reject(rows, stated & (rank > best), "other_language").drop("language")


def named_in(statements: pl.DataFrame) -> list[str]:
    """Subjects and objects of usable statements, by number."""
    usable = statements.filter(pl.col("reason").is_null())
    objects = usable.filter(pl.col("object_kind") == "entity")["object_value"]
    return sorted({*usable["subject_qid"].to_list(), *objects.to_list()}, key=number)


def describe(asker: Asker, qids: Sequence[str], sizes: Sizes) -> tuple[pl.DataFrame, dict[str, set[str]]]:
    """Rows of ENTITIES, and the classes (P31) of each."""
    groups = in_batches(qids, sizes.entities)
    fields_of: dict[str, dict[str, list[Term]]] = defaultdict(lambda: defaultdict(list))
    for _, rows in asker.ask("entities", [Entities(group) for group in groups]):
        for item, field, value in rows:
            if (qid := _item(item)) and field is not None and value is not None:
                fields_of[qid][field.value].append(value)
    described = [(qid, *_entity(fields_of[qid])) for qid in sorted(fields_of, key=number)]
    classes = {qid: set(_items(fields["class"])) for qid, fields in fields_of.items()}
    return pl.DataFrame(described, schema=ENTITIES, orient="row"), classes


def _entity(fields: Mapping[str, list[Term]]) -> tuple[str | None, list[str], str | None, int | None, str | None]:
    """Label, aliases, description, sitelinks and title. An English label is preferred to one for all languages."""
    labels = {term.tag: clean(term.value) for term in fields["label"]}
    # Some items are called by their own id, which is no name.
    labels = {language: label for language, label in labels.items() if label and not is_item(label)}
    label = labels.get("en") or labels.get("mul")
    names = {clean(term.value) for term in fields["alias"]} | set(labels.values())
    description = next((clean(term.value) for term in sorted(fields["description"])), None)
    counts = [count for term in fields["sitelinks"] if (count := values.integer(term)) is not None]
    title = next((term.value for term in sorted(fields["title"])), None)
    return label, sorted(names - {label or "", ""}), description, max(counts, default=None), title


def reject_wrong_classes(
    asker: Asker, statements: pl.DataFrame, classes: Mapping[str, set[str]], relations: Mapping[str, Relation]
) -> pl.DataFrame:
    """Give `wrong_class` to objects that belong to none of the classes that their relation accepts."""
    for stem, relation in relations.items():
        here = pl.col("reason").is_null() & (pl.col("relation") == stem)
        objects = statements.filter(here)["object_value"].unique().to_list() if relation.object_classes else []
        if objects:
            accepted = set(subclasses(asker, f"objects of {stem}", relation.object_classes))
            wrong = [qid for qid in objects if not accepted & classes.get(qid, set())]
            statements = reject(statements, here & pl.col("object_value").is_in(wrong), "wrong_class")
    return statements


def forecast(
    asker: Foresight, topics: Mapping[str, Topic], relations: Mapping[str, Relation], sizes: Sizes, limit: int | None
) -> Forecast:
    """Calls that `harvest` makes in all.

    What the log knows is followed exactly. A topic whose subjects are not known is taken to fill its limit, found in
    one band; a batch that is not known is taken to succeed whole; entities are taken as a multiple of the subjects.
    """
    guessed = 0
    known: dict[str, Sequence[str]] = {}
    unknown: dict[str, int] = {}
    for name, topic in topics.items():
        try:
            known[name] = subjects(asker, name, topic, sizes, limit)
        except NotKnown:
            unknown[name] = topic.most(limit)
            # The classes are asked for first; where they are missing, no query for members has been counted yet.
            classes_asked = asker.endpoint.request(Subclasses(topic.classes).query())
            guessed += len(asker.calls.missing(asker.endpoint.source, [classes_asked]))
    for name, count in unknown.items():
        applying = sum(relation.applies_to(name) for relation in relations.values())
        guessed += applying * math.ceil(count / sizes.subjects)
    jobs = jobs_of(known, relations, sizes)
    try:
        statements = read_statements(asker, jobs, relations)
        if unknown:
            raise NotKnown
        _, classes = describe(asker, named_in(statements), sizes)
        reject_wrong_classes(asker, statements, classes, relations)
    except NotKnown:
        count = sum(unknown.values()) + sum(len(qids) for qids in known.values())
        guessed += math.ceil(count * ENTITIES_A_SUBJECT / sizes.entities)
        guessed += sum(1 for relation in relations.values() if relation.object_classes)
        return asker.forecast(asker.in_log + asker.missing + guessed)
    return asker.forecast()


def _item(term: Term | None) -> str | None:
    """The id of an item; None for any other term, and where there is none."""
    return None if term is None else item_of_iri(term.value)


def _items(terms: Iterable[Term | None]) -> list[str]:
    return [qid for term in terms if (qid := _item(term))]
