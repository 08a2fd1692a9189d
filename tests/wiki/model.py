"""Wikidata's data model in small: items, ranked statements of every kind of value, and their RDF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

METRE, FOOT, NO_UNIT = "Q11573", "Q3710", "Q199"
GREGORIAN, JULIAN = "Q1985727", "Q1985786"

Rank = Literal["preferred", "normal", "deprecated"]

PREFIXES = {
    "p": "http://www.wikidata.org/prop/",
    "pq": "http://www.wikidata.org/prop/qualifier/",
    "ps": "http://www.wikidata.org/prop/statement/",
    "psv": "http://www.wikidata.org/prop/statement/value/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "http://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "wd": "http://www.wikidata.org/entity/",
    "wds": "http://www.wikidata.org/entity/statement/",
    "wdno": "http://www.wikidata.org/prop/novalue/",
    "wdt": "http://www.wikidata.org/prop/direct/",
    "wdv": "http://www.wikidata.org/value/",
    "wikibase": "http://wikiba.se/ontology#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


class Date(NamedTuple):
    """A point in time as Wikidata's RDF has it: precision 11 day, 10 month, 9 year, 7 century."""

    time: str
    precision: int
    calendar: str = GREGORIAN


class Amount(NamedTuple):
    """A quantity."""

    number: str
    unit: str = NO_UNIT


class Text(NamedTuple):
    """A text with its language; "" for none."""

    text: str
    language: str = ""


class Unknown(NamedTuple):
    """somevalue: a blank node as in the dumps, or the query service's skolem IRI."""

    skolem: bool = False


class Other(NamedTuple):
    """An IRI that is no item."""

    iri: str


Value = str | Date | Amount | Text | Unknown | Other
"""The id of an item, or one of the other kinds."""


@dataclass
class Statement:
    """A claim with its rank."""

    subject: str
    property: str
    value: Value
    rank: Rank = "normal"
    ended: bool = False


@dataclass
class Item:
    """What the world says about an item besides its statements."""

    qid: str
    label: str | None
    description: str | None = None
    mul: str | None = None
    aliases: tuple[str, ...] = ()
    sitelinks: int | None = 0
    title: str | None = None
    """Of its article in the English Wikipedia."""
    parents: tuple[str, ...] = ()
    """P279."""


@dataclass
class World:
    """Items by id, and statements in a fixed order. `named` finds the items of the traps."""

    items: dict[str, Item] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    novalue: list[tuple[str, str]] = field(default_factory=list)
    """(subject, property) of statements that say that there is no value."""
    named: dict[str, str] = field(default_factory=dict)

    def best(self) -> list[Statement]:
        """Statements of the best rank of their pair: preferred where there are any, else normal; never deprecated."""
        preferred = {(s.subject, s.property) for s in self.statements if s.rank == "preferred"}
        return [
            s
            for s in self.statements
            if s.rank == "preferred" or (s.rank == "normal" and (s.subject, s.property) not in preferred)
        ]

    def current(self) -> list[Statement]:
        """Best statements that have not ended."""
        return [s for s in self.best() if not s.ended]

    def values(self, subject: str, property_id: str) -> list[Value]:
        """Current objects of a pair."""
        return [s.value for s in self.current() if (s.subject, s.property) == (subject, property_id)]

    def of_class(self, *classes: str, by: str = "P31") -> list[str]:
        """Members of the classes and their subclasses, by number."""
        below = set(classes)
        while more := {qid for qid, item in self.items.items() if below & set(item.parents)} - below:
            below |= more
        members = {s.subject for s in self.best() if s.property == by and s.value in below}
        return sorted(members, key=lambda qid: int(qid[1:]))

    def turtle(self) -> str:
        """The world as RDF."""
        header = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in PREFIXES.items())
        return header + "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        best = {id(s) for s in self.best()}
        for item in self.items.values():
            yield from _item_lines(item)
        for index, statement in enumerate(self.statements):
            yield from _statement_lines(statement, index, id(statement) in best)
        for index, (subject, property_id) in enumerate(self.novalue):
            node = f"wds:novalue-{index}"
            yield f"wd:{subject} p:{property_id} {node} ."
            yield f"{node} a wdno:{property_id} , wikibase:BestRank ; wikibase:rank wikibase:NormalRank ."


def _item_lines(item: Item) -> Iterator[str]:
    subject = f"wd:{item.qid}"
    if item.label is not None:
        yield f"{subject} rdfs:label {_text(item.label)}@en , {_text(item.label + ' (de)')}@de ."
    if item.mul is not None:
        yield f"{subject} rdfs:label {_text(item.mul)}@mul ."
    for alias in item.aliases:
        yield f"{subject} skos:altLabel {_text(alias)}@en ."
    yield f"{subject} skos:altLabel {_text('Falsch ' + item.qid)}@de ."
    if item.description is not None:
        yield f"{subject} schema:description {_text(item.description)}@en , {_text('auf Deutsch')}@de ."
    if item.sitelinks is not None:
        yield f"{subject} wikibase:sitelinks {item.sitelinks} ."
    if item.title is not None:
        for wiki in ("en", "de"):
            article = f"<https://{wiki}.wikipedia.org/wiki/{item.title.replace(' ', '_')}>"
            name = _text(item.title if wiki == "en" else item.title + " (de)")
            yield f"{article} schema:about {subject} ; schema:name {name}@{wiki} ."
            yield f"{article} schema:isPartOf <https://{wiki}.wikipedia.org/> ."
    for parent in item.parents:
        yield f"{subject} wdt:P279 wd:{parent} ."


def _statement_lines(statement: Statement, index: int, best: bool) -> Iterator[str]:
    node, value = f"wds:{statement.subject}-{index}", _value(statement.value, index)
    yield f"wd:{statement.subject} p:{statement.property} {node} ."
    yield f"{node} ps:{statement.property} {value} ; wikibase:rank wikibase:{statement.rank.capitalize()}Rank ."
    if best:
        yield f"{node} a wikibase:BestRank . wd:{statement.subject} wdt:{statement.property} {value} ."
    if statement.ended:
        yield f'{node} pq:P582 "1990-01-01T00:00:00Z"^^xsd:dateTime .'
    details = f"{node} psv:{statement.property} wdv:{index} . wdv:{index}"
    if isinstance(statement.value, Date):
        yield (
            f"{details} wikibase:timeValue {value} ; wikibase:timePrecision {statement.value.precision} ; "
            f"wikibase:timeCalendarModel wd:{statement.value.calendar} ."
        )
    elif isinstance(statement.value, Amount):
        yield f"{details} wikibase:quantityAmount {value} ; wikibase:quantityUnit wd:{statement.value.unit} ."


def _value(value: Value, index: int) -> str:  # noqa: PLR0911
    match value:
        case str():
            return f"wd:{value}"
        case Date(time=time):
            return f'"{time}"^^xsd:dateTime'
        case Amount(number=number):
            return f'"{number}"^^xsd:decimal'
        case Text(text=text, language=language):
            return _text(text) + (f"@{language}" if language else "")
        case Unknown(skolem=True):
            return f"<http://www.wikidata.org/.well-known/genid/{index:032x}>"
        case Unknown():
            return f"_:some{index}"
        case Other(iri=iri):
            return f"<{iri}>"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
