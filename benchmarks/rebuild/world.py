"""A Wikidata-shaped world out of the published label triplets: own ids, real shape, every trap, fixed seed.

Every distinct label is an item with an id that Wikidata has not given out. The statements are the published triplets,
those of relations that nobody asks about included. On top come the things that the stage `facts` exists for (see
`traps`), and articles about everything. How often an item is linked depends on how often it is named, on its class, and
on its country as strongly as in the published rows, so that a selection by popularity alone finds relations, answers
and classes instead.
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

from benchmarks.rebuild.traps import plant_literals, plant_names, plant_statements
from dual_data.config import Relation, Topic, load_relations, load_topics, read_toml
from dual_data.sources.tables import triplets
from tests.wiki.model import Item, Rank, Statement, Value, World

FIRST = 800_000_000
"""Number of the first item; Wikidata's own are far below."""
UNASKED = 900_000
"""Number of the first property that stands for a label which no relation file has."""
SEED = 2602
ROOT = Path(__file__).resolve().parents[2]
SCHOLARLY, JOURNAL, MAIN_SUBJECT = "Q13442814", "P1433", "P921"
ARTICLES = 5000


class Linked(NamedTuple):
    """How many articles link to an item of a class: lognormal, given how often the tables name it.

        log links = level + by_country * shift of its country + 0.25 log(1 + s) + 0.15 log(1 + o) + spread * noise

    with s rows as a subject and o as an object, shift and noise standard normal.

    The constants are fitted to the published popularity by maximum likelihood, where the two 5 % splits cut it off:
    that of 26 countries, of the cities of 921 rows (those whose ids were guessed from the name of a country left out)
    and of 474 objects that belong to no topic. The two rises are those of countries, of whose variance of log
    popularity the law tells 92 % (those of cities alone are 0.35 and 0.22); by_country is how far apart the cities of
    the five countries with the most rows are.
    """

    level: float
    spread: float
    by_country: float


COUNTRY, CITY, ALONE = Linked(5.23, 0.07, 0.0), Linked(4.36, 0.50, 0.4), Linked(3.80, 0.26, 0.0)
PUBLISHED = {"places_country": COUNTRY, "places_city": CITY}
BY_CLASS = 0.6
"""Standard deviation of the three levels above: so far apart are the levels drawn, about that of cities, of the topics
of which no popularity was published."""
BY_NAMING = (0.25, 0.15)
"""What a mention as a subject and one as an object add."""


@dataclass
class Rehearsal:
    """The world, and what is known about it besides its RDF."""

    world: World = field(default_factory=World)
    ids: dict[str, str] = field(default_factory=dict)
    """Items by the label that they were made of; names are planted later."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """Subjects by topic."""
    links: dict[str, int] = field(default_factory=dict)
    """Articles that link to an item's own, by item."""
    planted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each trap was set."""

    def say(self, subject: str, property_id: str, value: Value, *, rank: Rank = "normal", ended: bool = False) -> None:
        """One more statement."""
        self.world.statements.append(Statement(subject, property_id, value, rank, ended))


def project_files() -> tuple[dict[str, Topic], dict[str, Relation]]:
    """The repository's topics and relations."""
    return load_topics(ROOT / "pipeline" / "topics.toml"), load_relations(ROOT / "pipeline" / "relations")


def read_published(folder: Path, topics: Mapping[str, Topic], relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Distinct published triplets: topic, subject, property, object, stem (null where nobody asks)."""
    entries = read_toml(ROOT / "pipeline" / "relations" / "EXCLUDED.toml")
    excluded = {label: tuple(entry.get("topics", ("*",))) for label, entry in entries.items()}
    rows = triplets.read_labels(folder, tuple(topics), relations, excluded)
    named = rows.filter(pl.col("subject_label").is_not_null() & pl.col("object_label").is_not_null())
    numbers = {name: UNASKED + place for place, name in enumerate(sorted(set(named["property_id"].unique())))}
    unasked = {name: f"P{number}" for name, number in numbers.items() if name.startswith("label:")}
    return named.select(
        "topic",
        "stem",
        subject="subject_label",
        property=pl.col("property_id").replace(unasked),
        object="object_label",
    ).unique(maintain_order=True)


def build(folder: Path, subjects: int | None = None) -> Rehearsal:
    """The rehearsal's world from `wikidata_triplets`; with `subjects`, only about so many, spread over the topics."""
    topics, relations = project_files()
    rows = read_published(folder, topics, relations)
    if subjects is not None:
        firsts = rows.select("topic", "subject").unique(maintain_order=True)
        share = min(1.0, subjects / firsts.height)
        kept = firsts.filter(pl.int_range(pl.len()).over("topic") < (pl.len().over("topic") * share).ceil())
        rows = rows.join(kept, on=["topic", "subject"], how="semi")
    make = _Maker(random.Random(SEED), topics, relations)
    make.items(rows)
    make.statements(rows)
    plant_literals(make.made, relations, make.chance)
    make.traps(rows)
    make.classes()
    make.popularity(rows)
    plant_names(make.made, make.chance)
    make.articles()
    return make.made


class _Maker:
    def __init__(self, chance: random.Random, topics: Mapping[str, Topic], relations: Mapping[str, Relation]) -> None:
        self.chance, self.topics, self.relations = chance, topics, relations
        self.made = Rehearsal()

    def items(self, rows: pl.DataFrame) -> None:
        """An item for every label; its class is its topic's, in half of the cases through a class below it."""
        labels = pl.concat([rows["subject"], rows["object"]]).unique(maintain_order=True)
        for label in labels:
            self._item(label)
        for topic, group in rows.group_by("topic", maintain_order=True):
            name = str(topic[0])
            own = self.topics[name]
            below = self._item(f"kind of {own.label}", parents=own.classes[:1])
            members = [self.made.ids[label] for label in group["subject"].unique(maintain_order=True)]
            self.made.members[name] = members
            for place, qid in enumerate(members):
                self.made.say(qid, own.property, below if place % 2 else own.classes[0])
                self.made.world.items[qid].description = own.label

    def statements(self, rows: pl.DataFrame) -> None:
        """The triplets as best-rank statements."""
        triples = rows.select("subject", "property", "object").unique(maintain_order=True)
        for subject, property_id, target in triples.iter_rows():
            self.made.say(self.made.ids[subject], property_id, self.made.ids[target])
        for subject, country in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows():
            item = self.made.world.items[self.made.ids[subject]]
            if item.description and " in " not in item.description:
                item.description = f"{item.description} in {country}"

    def traps(self, rows: pl.DataFrame) -> None:
        """Set traps at pairs with one object; a further object is one that others have."""
        asked = (
            rows.filter(pl.col("stem").is_not_null())
            .select("subject", "property", "object")
            .unique(maintain_order=True)
        )
        targets = {
            str(name): [self.made.ids[label] for label in group["object"].unique(maintain_order=True)]
            for (name,), group in asked.group_by("property", maintain_order=True)
        }
        alone = (
            asked.group_by("subject", "property", maintain_order=True)
            .agg("object")
            .filter(pl.col("object").list.len() == 1)
        )
        pairs = (
            (
                self.made.ids[subject],
                property_id,
                self.made.ids[objects[0]],
                self.chance.sample(found, min(3, len(found))),
            )
            for subject, property_id, objects in alone.iter_rows()
            for found in (targets[property_id],)
        )
        plant_statements(self.made, pairs, self.chance)

    def classes(self) -> None:
        """Where a relation accepts objects of some classes alone, four of five belong to one of them."""
        for relation in self.relations.values():
            if relation.object_classes:
                found = {s.value for s in self.made.world.statements if s.property == relation.property}
                for qid in sorted(value for value in found if isinstance(value, str)):
                    if self.chance.random() < 0.8:
                        self.made.say(qid, "P31", relation.object_classes[0])
                    else:
                        self.made.planted["wrong class"] += 1

    def popularity(self, rows: pl.DataFrame) -> None:
        """Links by the law of `Linked`; sitelinks are a tenth of them (assumed), give or take a half.

        Facts of countries have the largest sums of both sides' links, and the countries of the most cities are among
        the most linked; so the 5 % splits of `paper` are one-sided in relation, answer and class as published.
        """
        named = [
            {self.made.ids[label]: count for label, count in rows[side].value_counts(name="count").iter_rows()}
            for side in ("subject", "object")
        ]
        within = rows.filter(pl.col("property") == "P17").select("subject", "object")
        countries = {self.made.ids[subject]: self.made.ids[country] for subject, country in within.iter_rows()}
        shift = {qid: self.chance.gauss(0, 1) for qid in sorted(set(countries.values()))}
        laws = self._laws()
        for qid, item in self.made.world.items.items():
            law = laws.get(qid, ALONE)
            level = law.level + law.by_country * shift.get(countries.get(qid, ""), 0.0)
            level += sum(rise * math.log1p(counts.get(qid, 0)) for rise, counts in zip(BY_NAMING, named, strict=True))
            self.made.links[qid] = round(math.exp(self.chance.gauss(level, law.spread)))
            item.sitelinks = round(self.made.links[qid] * self.chance.uniform(0.05, 0.15))

    def _laws(self) -> dict[str, Linked]:
        """The law of every member of a topic."""
        found = {}
        for topic, members in self.made.members.items():
            drawn = CITY._replace(level=self.chance.gauss(CITY.level, BY_CLASS))
            found.update(dict.fromkeys(members, PUBLISHED.get(topic, drawn)))
        return found

    def articles(self) -> None:
        """Scholarly articles about the subjects: nobody is to be asked about them."""
        subjects = sorted({qid for members in self.made.members.values() for qid in members})
        for number in range(min(ARTICLES, len(subjects))):
            about = self.chance.choice(subjects)
            qid = self._item(f"On the matter of {about}, part {number}")
            self.made.world.items[qid].sitelinks = 0
            self.made.world.items[qid].title = None
            self.made.say(qid, "P31", SCHOLARLY)
            self.made.say(qid, MAIN_SUBJECT, about)
            self.made.say(qid, JOURNAL, self.chance.choice(subjects))

    def _item(self, label: str, parents: tuple[str, ...] = ()) -> str:
        qid = f"Q{FIRST + len(self.made.ids)}"
        self.made.ids[label] = qid
        title = None if self.chance.random() < 0.05 else self._title(label, qid)
        self.made.world.items[qid] = Item(qid, label, None, title=title, parents=parents)
        return qid

    @staticmethod
    def _title(label: str, qid: str) -> str:
        """A page title: no sign that MediaWiki refuses, the first letter large, and nobody else's."""
        plain = "".join(sign if sign.isalnum() or sign in " -'.,()" else "" for sign in label).strip() or qid
        return f"{plain[:1].upper()}{plain[1:60]} {qid}".replace("  ", " ")
