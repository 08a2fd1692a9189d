"""A Wikidata-shaped world out of the published label triplets: own ids, real shape, every trap, fixed seed.

Every distinct label is an item with an id that Wikidata has not given out. The statements are the published triplets,
those of relations that nobody asks about included. On top come the things that the stage `facts` exists for: ranks,
ended and unknown values, second objects, items without a name, namesakes, and articles about everything. How often an
item is linked depends on how often it is named, on its class, and on its country, so that a selection by popularity
alone finds relations and answers instead.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from dual_data.config import Relation, Topic, load_relations, load_topics, read_toml
from dual_data.sources import triplets
from tests.wiki.model import NO_UNIT, Amount, Date, Item, Statement, Unknown, Value, World

FIRST = 800_000_000
"""Number of the first item; Wikidata's own are far below."""
UNASKED = 900_000
"""Number of the first property that stands for a label which no relation file has."""
SEED = 2602
ROOT = Path(__file__).resolve().parents[2]
SCHOLARLY, JOURNAL, MAIN_SUBJECT = "Q13442814", "P1433", "P921"
ARTICLES = 5000


@dataclass
class Rehearsal:
    """The world, and what is known about it besides its RDF."""

    world: World = field(default_factory=World)
    members: dict[str, list[str]] = field(default_factory=dict)
    """Subjects by topic."""
    links: dict[str, int] = field(default_factory=dict)
    """Articles that link to an item's own, by item."""
    planted: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each trap was set."""


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
    make.literals()
    make.traps(rows)
    make.classes()
    make.popularity(rows)
    make.labels()
    make.articles()
    return make.made


class _Maker:
    def __init__(self, chance: random.Random, topics: Mapping[str, Topic], relations: Mapping[str, Relation]) -> None:
        self.chance, self.topics, self.relations = chance, topics, relations
        self.made = Rehearsal()
        self.ids: dict[str, str] = {}

    def items(self, rows: pl.DataFrame) -> None:
        """An item for every label; its class is its topic's, in half of the cases through a class below it."""
        labels = pl.concat([rows["subject"], rows["object"]]).unique(maintain_order=True)
        for label in labels:
            self._item(label)
        for topic, group in rows.group_by("topic", maintain_order=True):
            name = str(topic[0])
            own = self.topics[name]
            below = self._item(f"kind of {own.label}", parents=own.classes[:1])
            members = [self.ids[label] for label in group["subject"].unique(maintain_order=True)]
            self.made.members[name] = members
            for place, qid in enumerate(members):
                self._say(qid, own.property, below if place % 2 else own.classes[0])
                self.made.world.items[qid].description = own.label

    def statements(self, rows: pl.DataFrame) -> None:
        """The triplets as best-rank statements."""
        triples = rows.select("subject", "property", "object").unique(maintain_order=True)
        for subject, property_id, target in triples.iter_rows():
            self._say(self.ids[subject], property_id, self.ids[target])
        for subject, country in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows():
            item = self.made.world.items[self.ids[subject]]
            if item.description and " in " not in item.description:
                item.description = f"{item.description} in {country}"

    def literals(self) -> None:
        """The published tables hold items alone: dates and quantities for some of the subjects that can have them."""
        for relation in self.relations.values():
            if relation.object not in ("date", "quantity"):
                continue
            for topic, members in self.made.members.items():
                if relation.applies_to(topic):
                    for qid in self.chance.sample(members, len(members) // 8):
                        self._say(qid, relation.property, self._literal(relation))
                        self.made.planted[relation.object] += 1

    def traps(self, rows: pl.DataFrame) -> None:
        """What the best rank, the end of a statement and unknown values are there to tell apart."""
        asked = (
            rows.filter(pl.col("stem").is_not_null())
            .select("subject", "property", "object")
            .unique(maintain_order=True)
        )
        targets = {
            str(name): group["object"].unique(maintain_order=True).to_list()
            for (name,), group in asked.group_by("property", maintain_order=True)
        }
        alone = (
            asked.group_by("subject", "property", maintain_order=True)
            .agg("object")
            .filter(pl.col("object").list.len() == 1)
        )
        places = {(s.subject, s.property, s.value): s for s in self.made.world.statements if isinstance(s.value, str)}
        for subject, property_id, objects in alone.iter_rows():
            others = self.chance.sample(targets[property_id], min(3, len(targets[property_id])))
            other = next((self.ids[label] for label in others if label != objects[0]), None)
            draw, qid = self.chance.random(), self.ids[subject]
            if draw >= 0.16 or other is None:
                continue
            trap = ("deprecated", "preferred", "ended", "somevalue", "skolem", "novalue", "several")[
                int(draw / 0.16 * 7)
            ]
            self.made.planted[trap] += 1
            if trap == "deprecated":
                self._say(qid, property_id, other, rank="deprecated")
            elif trap == "preferred":
                places[qid, property_id, self.ids[objects[0]]].rank = "preferred"
                self._say(qid, property_id, other)
            elif trap == "ended":
                self._say(qid, property_id, other, ended=True)
            elif trap == "novalue":
                self.made.world.novalue.append((qid, property_id))
            elif trap == "several":
                self._say(qid, property_id, other)
            else:
                self._say(qid, property_id, Unknown(skolem=trap == "skolem"))

    def classes(self) -> None:
        """Where a relation accepts objects of some classes alone, four of five belong to one of them."""
        for relation in self.relations.values():
            if relation.object_classes:
                found = {s.value for s in self.made.world.statements if s.property == relation.property}
                for qid in sorted(value for value in found if isinstance(value, str)):
                    if self.chance.random() < 0.8:
                        self._say(qid, "P31", relation.object_classes[0])
                    else:
                        self.made.planted["wrong class"] += 1

    def popularity(self, rows: pl.DataFrame) -> None:
        """Links and sitelinks: heavy tails, carried by how often an item is named and by its country's own share."""
        named = pl.concat([rows["subject"], rows["object"]]).value_counts(name="count")
        counts = {self.ids[label]: count for label, count in named.iter_rows()}
        countries = {
            self.ids[subject]: self.ids[target]
            for subject, target in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows()
        }
        weight = {qid: self.chance.lognormvariate(0, 1.0) for qid in sorted(set(countries.values()))}
        for qid, item in self.made.world.items.items():
            base = self.chance.lognormvariate(2.0, 1.4) * weight.get(countries.get(qid, ""), 1.0) ** 1.5
            self.made.links[qid] = min(2_000_000, round(base * counts.get(qid, 1) ** 1.1))
            item.sitelinks = min(400, round(self.made.links[qid] ** 0.5 * self.chance.uniform(0.5, 1.5)))

    def labels(self) -> None:
        """Names: most in English, some for all languages alone, some only elsewhere, some that are an id; namesakes."""
        items = self.made.world.items
        for qid, item in items.items():
            draw, label = self.chance.random(), item.label or ""
            if draw < 0.03:
                item.label, item.mul = None, label
                self.made.planted["mul"] += 1
            elif draw < 0.034:
                item.label = None
                self.made.planted["no label"] += 1
            elif draw < 0.036:
                item.label = qid
                self.made.planted["id as label"] += 1
            if draw > 0.7:
                item.aliases = (f"{label} of old", f"The {label}")
        cities = [qid for qid in self.made.members.get("places_city", []) if items[qid].label not in (None, qid)]
        for one, other in zip(cities[0::50], cities[1::50], strict=False):
            items[other].label = items[one].label
            self.made.planted["namesakes"] += 1

    def articles(self) -> None:
        """Scholarly articles about the subjects: nobody is to be asked about them."""
        subjects = sorted({qid for members in self.made.members.values() for qid in members})
        for number in range(min(ARTICLES, len(subjects))):
            about = self.chance.choice(subjects)
            qid = self._item(f"On the matter of {about}, part {number}")
            self.made.world.items[qid].sitelinks = 0
            self.made.world.items[qid].title = None
            self._say(qid, "P31", SCHOLARLY)
            self._say(qid, MAIN_SUBJECT, about)
            self._say(qid, JOURNAL, self.chance.choice(subjects))

    def _item(self, label: str, parents: tuple[str, ...] = ()) -> str:
        qid = f"Q{FIRST + len(self.ids)}"
        self.ids[label] = qid
        title = None if self.chance.random() < 0.05 else self._title(label, qid)
        self.made.world.items[qid] = Item(qid, label, None, title=title, parents=parents)
        return qid

    @staticmethod
    def _title(label: str, qid: str) -> str:
        """A page title: no sign that MediaWiki refuses, the first letter large, and nobody else's."""
        plain = "".join(sign if sign.isalnum() or sign in " -'.,()" else "" for sign in label).strip() or qid
        return f"{plain[:1].upper()}{plain[1:60]} {qid}".replace("  ", " ")

    def _literal(self, relation: Relation) -> Value:
        if relation.object == "quantity":
            return Amount(f"+{self.chance.randrange(2, 5000)}", relation.unit or NO_UNIT)
        day = (
            f"{self.chance.randrange(1600, 2000)}-{self.chance.randrange(1, 13):02d}-{self.chance.randrange(1, 29):02d}"
        )
        return Date(f"{day}T00:00:00Z", 11)

    def _say(self, subject: str, property_id: str, value: Value, *, rank: str = "normal", ended: bool = False) -> None:
        self.made.world.statements.append(Statement(subject, property_id, value, rank, ended))  # type: ignore[arg-type]
