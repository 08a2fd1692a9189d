"""A Wikidata-shaped world out of the published label triplets: own ids, real shape, every trap, fixed seed.

Every distinct label is an item with an id that Wikidata has not given out. The statements are the published triplets,
those of relations that nobody asks about included. On top come the things that the stage `facts` exists for (see
`traps`), and articles about everything. How often an item is linked depends on how often it is named, on its class, and
on its country, so that a selection by popularity alone finds relations and answers instead.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmarks.rebuild.traps import plant_literals, plant_names, plant_statements
from dual_data.config import Relation, Topic, load_relations, load_topics, read_toml
from dual_data.sources import triplets
from tests.wiki.model import Item, Rank, Statement, Value, World

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
                self.made.say(qid, own.property, below if place % 2 else own.classes[0])
                self.made.world.items[qid].description = own.label

    def statements(self, rows: pl.DataFrame) -> None:
        """The triplets as best-rank statements."""
        triples = rows.select("subject", "property", "object").unique(maintain_order=True)
        for subject, property_id, target in triples.iter_rows():
            self.made.say(self.ids[subject], property_id, self.ids[target])
        for subject, country in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows():
            item = self.made.world.items[self.ids[subject]]
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
            str(name): [self.ids[label] for label in group["object"].unique(maintain_order=True)]
            for (name,), group in asked.group_by("property", maintain_order=True)
        }
        alone = (
            asked.group_by("subject", "property", maintain_order=True)
            .agg("object")
            .filter(pl.col("object").list.len() == 1)
        )
        pairs = (
            (self.ids[subject], property_id, self.ids[objects[0]], self.chance.sample(found, min(3, len(found))))
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
        """Links and sitelinks: heavy tails, carried by how often an item is named, its class and its country.

        What is an object alone varies less: in the published rows it is hardly more than how often it is named. With
        these constants the 5 % splits of `paper` about cities are as one-sided as the published ones, or more so.
        """
        named = pl.concat([rows["subject"], rows["object"]]).value_counts(name="count")
        counts = {self.ids[label]: count for label, count in named.iter_rows()}
        countries = {
            self.ids[subject]: self.ids[target]
            for subject, target in rows.filter(pl.col("property") == "P17").select("subject", "object").iter_rows()
        }
        weight = {qid: self.chance.lognormvariate(0, 1.0) for qid in sorted(set(countries.values()))}
        of_class = {qid: own for own, qids in self._classes() for qid in qids}
        for qid, item in self.made.world.items.items():
            base = self.chance.lognormvariate(2.0, 1.2 if qid in of_class else 0.7)
            base *= weight.get(countries.get(qid, ""), 1.0) * of_class.get(qid, 1.0)
            self.made.links[qid] = min(2_000_000, round(base * counts.get(qid, 1) ** 1.2))
            item.sitelinks = min(400, round(self.made.links[qid] ** 0.5 * self.chance.uniform(0.5, 1.5)))

    def _classes(self) -> Iterator[tuple[float, list[str]]]:
        """The members of each topic, with how much better than others its class is linked."""
        for members in self.made.members.values():
            yield self.chance.lognormvariate(0, 0.8), members

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
