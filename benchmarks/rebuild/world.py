"""A Wikidata-shaped world made from the published label triplets: own ids, real shape, every trap, fixed seed.

Every distinct label is an item with an id that Wikidata has not given out. The statements are the published triplets,
also those of relations that are not asked. Added are the cases that the stage `facts` exists for (see `traps`), and
articles about the subjects. An item's links depend on how often it is named, on its class, and on its country as
strongly as in the published rows, so that a selection by popularity alone selects relations, answers and classes
instead.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks import ROOT
from benchmarks.rebuild.traps import plant_literals, plant_names, plant_statements
from dual_data.config import Relation, Topic, load_relations, load_topics, read_toml
from dual_data.sources.tables import triplets
from tests.wiki.model import Item, Rank, Statement, Value, World

FIRST = 800_000_000
"""Number of the first item; Wikidata's own are far below."""
UNASKED = 900_000
"""Number of the first property that stands for a label without a relation file."""
SEED = 2602
SCHOLARLY, JOURNAL, MAIN_SUBJECT = "Q13442814", "P1433", "P921"
ARTICLES = 5000


class Linked(NamedTuple):
    """The number of articles that link to an item of a class: lognormal, given how often the tables name it.

        log links = level + by_country * shift of its country + 0.25 log(1 + s) + 0.15 log(1 + o) + spread * noise

    with s rows as a subject and o as an object, shift and noise standard normal.

    The constants are fitted by maximum likelihood to the published popularity, truncated at the two 5 % splits: that of
    26 countries, of the cities of 921 rows (without those whose ids were guessed from the name of a country) and of 474
    objects that belong to no topic. The slopes 0.25 and 0.15 are those of countries, where the law explains 92 % of the
    variance of log popularity (for cities alone they are 0.35 and 0.22); by_country is how far apart the cities of the
    five countries with the most rows are.
    """

    level: float
    spread: float
    by_country: float


COUNTRY, CITY, ALONE = Linked(5.23, 0.07, 0.0), Linked(4.36, 0.50, 0.4), Linked(3.80, 0.26, 0.0)
PUBLISHED = {"places_country": COUNTRY, "places_city": CITY}
BY_CLASS = 0.6
"""Standard deviation of the three levels above. The level of a topic without published popularity is drawn with it
around that of cities."""
BY_NAMING = (0.25, 0.15)
"""The slopes of log(1 + mentions) as a subject and as an object."""


@dataclass
class Rehearsal:
    """The world, and what its RDF does not say about it."""

    world: World = field(default_factory=World)
    ids: dict[str, str] = field(default_factory=dict)
    """Items by the label that they were made from; names are planted later."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """Subjects by topic."""
    links: dict[str, int] = field(default_factory=dict)
    """Number of articles that link to an item's article, by item."""
    planted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each trap was set."""

    def say(self, subject: str, property_id: str, value: Value, *, rank: Rank = "normal", ended: bool = False) -> None:
        """Add a statement."""
        self.world.statements.append(Statement(subject, property_id, value, rank, ended))


def project_files() -> tuple[dict[str, Topic], dict[str, Relation]]:
    """The repository's topics and relations."""
    return load_topics(ROOT / "pipeline" / "topics.toml"), load_relations(ROOT / "pipeline" / "relations")


def read_published(folder: Path, topics: Mapping[str, Topic], relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Distinct published triplets: topic, subject, property, object, stem (null where no relation asks)."""
    entries = read_toml(ROOT / "pipeline" / "relations" / "EXCLUDED.toml")
    excluded = {label: tuple(entry.get("topics", ("*",))) for label, entry in entries.items()}
    rows = triplets.read_labels(folder, tuple(topics), relations, excluded)
    labelled = rows.filter(pl.col("subject_label").is_not_null() & pl.col("object_label").is_not_null())
    numbers = {name: UNASKED + place for place, name in enumerate(sorted(set(labelled["property_id"].unique())))}
    unasked = {name: f"P{number}" for name, number in numbers.items() if name.startswith("label:")}
    return labelled.select(
        "topic",
        "stem",
        subject="subject_label",
        property=pl.col("property_id").replace(unasked),
        object="object_label",
    ).unique(maintain_order=True)


def build(folder: Path, subjects: int | None = None) -> Rehearsal:
    """The rehearsal's world from `wikidata_triplets`, with about `subjects` subjects spread over the topics, or all."""
    topics, relations = project_files()
    rows = read_published(folder, topics, relations)
    if subjects is not None:
        firsts = rows.select("topic", "subject").unique(maintain_order=True)
        share = min(1.0, subjects / firsts.height)
        chosen = firsts.filter(pl.int_range(pl.len()).over("topic") < (pl.len().over("topic") * share).ceil())
        rows = rows.join(chosen, on=["topic", "subject"], how="semi")
    maker = _Maker(random.Random(SEED), topics, relations)
    maker.items(rows)
    maker.statements(rows)
    plant_literals(maker.rehearsal, relations, maker.rng)
    maker.traps(rows)
    maker.classes()
    maker.popularity(rows)
    plant_names(maker.rehearsal, maker.rng)
    maker.articles()
    return maker.rehearsal


class _Maker:
    def __init__(self, rng: random.Random, topics: Mapping[str, Topic], relations: Mapping[str, Relation]) -> None:
        self.rng, self.topics, self.relations = rng, topics, relations
        self.rehearsal = Rehearsal()

    def items(self, rows: pl.DataFrame) -> None:
        """An item for every label; members have the class of their topic, or for every other one a subclass of it."""
        labels = pl.concat([rows["subject"], rows["object"]]).unique(maintain_order=True)
        for label in labels:
            self._item(label)
        for topic, group in rows.group_by("topic", maintain_order=True):
            name = str(topic[0])
            own = self.topics[name]
            noun = name.partition("_")[2].replace("_", " ") or name
            below = self._item(f"kind of {noun}", parents=own.classes[:1])
            members = [self.rehearsal.ids[label] for label in group["subject"].unique(maintain_order=True)]
            self.rehearsal.members[name] = members
            for place, qid in enumerate(members):
                self.rehearsal.say(qid, own.property, below if place % 2 else own.classes[0])
                self.rehearsal.world.items[qid].description = noun

    def statements(self, rows: pl.DataFrame) -> None:
        """The triplets as best-rank statements."""
        triples = rows.select("subject", "property", "object").unique(maintain_order=True)
        for subject, property_id, target in triples.iter_rows():
            self.rehearsal.say(self.rehearsal.ids[subject], property_id, self.rehearsal.ids[target])
        for subject, country in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows():
            item = self.rehearsal.world.items[self.rehearsal.ids[subject]]
            if item.description and " in " not in item.description:
                item.description = f"{item.description} in {country}"

    def traps(self, rows: pl.DataFrame) -> None:
        """Set traps at pairs with one object; a further object is one of another subject."""
        triples = (
            rows.filter(pl.col("stem").is_not_null())
            .select("subject", "property", "object")
            .unique(maintain_order=True)
        )
        targets = {
            str(name): [self.rehearsal.ids[label] for label in group["object"].unique(maintain_order=True)]
            for (name,), group in triples.group_by("property", maintain_order=True)
        }
        single = (
            triples.group_by("subject", "property", maintain_order=True)
            .agg("object")
            .filter(pl.col("object").list.len() == 1)
        )
        pairs = (
            (
                self.rehearsal.ids[subject],
                property_id,
                self.rehearsal.ids[own_objects[0]],
                self.rng.sample(targets[property_id], min(3, len(targets[property_id]))),
            )
            for subject, property_id, own_objects in single.iter_rows()
        )
        plant_statements(self.rehearsal, pairs, self.rng)

    def classes(self) -> None:
        """Where a relation accepts only objects of some classes, four of five belong to the first of them."""
        for relation in self.relations.values():
            if relation.object_classes:
                objects = {s.value for s in self.rehearsal.world.statements if s.property == relation.property}
                for qid in sorted(target for target in objects if isinstance(target, str)):
                    if self.rng.random() < 0.8:
                        self.rehearsal.say(qid, "P31", relation.object_classes[0])
                    else:
                        self.rehearsal.planted["wrong class"] += 1

    def popularity(self, rows: pl.DataFrame) -> None:
        """Links by the law of `Linked`; sitelinks are 5 to 15 % of them (assumed).

        Facts of countries have the largest sums of both sides' links, and the countries with the most cities are among
        the most linked; so the 5 % splits of `paper` are one-sided in relation, answer and class, as published.
        """
        mentions = [
            {self.rehearsal.ids[label]: count for label, count in rows[side].value_counts(name="count").iter_rows()}
            for side in ("subject", "object")
        ]
        country_rows = rows.filter(pl.col("property") == "P17").select("subject", "object")
        countries = {
            self.rehearsal.ids[subject]: self.rehearsal.ids[country] for subject, country in country_rows.iter_rows()
        }
        shift = {qid: self.rng.gauss(0, 1) for qid in sorted(set(countries.values()))}
        laws = self._laws()
        for qid, item in self.rehearsal.world.items.items():
            law = laws.get(qid, ALONE)
            level = law.level + law.by_country * shift.get(countries.get(qid, ""), 0.0)
            level += sum(
                rise * math.log1p(counts.get(qid, 0)) for rise, counts in zip(BY_NAMING, mentions, strict=True)
            )
            self.rehearsal.links[qid] = round(math.exp(self.rng.gauss(level, law.spread)))
            item.sitelinks = round(self.rehearsal.links[qid] * self.rng.uniform(0.05, 0.15))

    def _laws(self) -> dict[str, Linked]:
        """The law of every member of a topic."""
        laws = {}
        for topic, members in self.rehearsal.members.items():
            drawn_law = CITY._replace(level=self.rng.gauss(CITY.level, BY_CLASS))
            laws.update(dict.fromkeys(members, PUBLISHED.get(topic, drawn_law)))
        return laws

    def articles(self) -> None:
        """Scholarly articles about the subjects: they must not be asked about."""
        subjects = sorted({qid for members in self.rehearsal.members.values() for qid in members})
        for number in range(min(ARTICLES, len(subjects))):
            about = self.rng.choice(subjects)
            qid = self._item(f"On the matter of {about}, part {number}")
            self.rehearsal.world.items[qid].sitelinks = 0
            self.rehearsal.world.items[qid].title = None
            self.rehearsal.say(qid, "P31", SCHOLARLY)
            self.rehearsal.say(qid, MAIN_SUBJECT, about)
            self.rehearsal.say(qid, JOURNAL, self.rng.choice(subjects))

    def _item(self, label: str, parents: tuple[str, ...] = ()) -> str:
        qid = f"Q{FIRST + len(self.rehearsal.ids)}"
        self.rehearsal.ids[label] = qid
        title = None if self.rng.random() < 0.05 else self._title(label, qid)
        self.rehearsal.world.items[qid] = Item(qid, label, None, title=title, parents=parents)
        return qid

    @staticmethod
    def _title(label: str, qid: str) -> str:
        """A unique page title with a capital first letter and no character that MediaWiki refuses."""
        plain = "".join(sign if sign.isalnum() or sign in " -'.,()" else "" for sign in label).strip() or qid
        return f"{plain[:1].upper()}{plain[1:60]} {qid}".replace("  ", " ")
