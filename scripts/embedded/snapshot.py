"""The snapshot before it is written: entities, facts, and what was withheld and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

COUNTRY, SOVEREIGN, DEPENDENCY = "Q6256", "Q3624078", "Q161243"
DIVISION, ADMINISTRATIVE = "Q10864048", "Q56061"
HISTORICAL_COUNTRY, FORMER_DIVISION = "Q3024240", "Q19953632"
CONTINENT, REGION, LANGUAGE = "Q5107", "Q82794", "Q34770"
CLASSES = {
    COUNTRY: "country",
    SOVEREIGN: "sovereign state",
    DEPENDENCY: "dependent territory",
    DIVISION: "first-level administrative division",
    ADMINISTRATIVE: "administrative territorial entity",
    HISTORICAL_COUNTRY: "historical country",
    FORMER_DIVISION: "former administrative territorial entity",
    CONTINENT: "continent",
    REGION: "geographic region",
    LANGUAGE: "language",
}
"""Wikidata's classes for the kinds that the sources distinguish."""
SUBCLASSES = {SOVEREIGN: COUNTRY, DIVISION: ADMINISTRATIVE}
SIDES = {"left": "Q13196750", "right": "Q14565199"}

PROPERTIES = {
    "P17": "country",
    "P30": "continent",
    "P31": "instance of",
    "P47": "shares border with",
    "P131": "located in the administrative territorial entity",
    "P218": "ISO 639-1 code",
    "P219": "ISO 639-2 code",
    "P220": "ISO 639-3 code",
    "P279": "subclass of",
    "P297": "ISO 3166-1 alpha-2 code",
    "P298": "ISO 3166-1 alpha-3 code",
    "P299": "ISO 3166-1 numeric code",
    "P300": "ISO 3166-2 code",
    "P361": "part of",
    "P424": "Wikimedia language code",
    "P463": "member of",
    "P474": "country calling code",
    "P901": "FIPS 10-4 (countries and regions)",
    "P1082": "population",
    "P1366": "replaced by",
    "P1448": "official name",
    "P1566": "GeoNames ID",
    "P1622": "driving side",
    "P1705": "native label",
    "P2082": "M49 code",
    "P2936": "language used",
}
"""Every property of the snapshot; the labels are Wikidata's."""


class Fact(NamedTuple):
    """A statement of a source: ids of subject and property, and an object of one of four kinds."""

    subject: str
    property: str
    kind: str
    """entity (value is a Q-id), text, monolingual (language is its tag) or quantity (a plain number)."""
    value: str
    language: str = ""
    year: int | None = None
    """Point in time of a quantity."""


@dataclass
class Entity:
    """Names and description of an item."""

    names: dict[str, str] = field(default_factory=dict)
    """Name by source, in the order of preference."""
    aliases: set[str] = field(default_factory=set)
    description: str = ""
    title: str = ""
    """Title of its article in the English Wikipedia, where a source gives it."""

    @property
    def label(self) -> str:
        """The name that most sources use; the first of them on a tie."""
        names = [name.casefold() for name in self.names.values()]
        return max(self.names.values(), key=lambda name: (names.count(name.casefold()), -names.index(name.casefold())))


class Withheld(NamedTuple):
    """Something that a source states and the snapshot does not."""

    what: str
    """A property, or everything that one source states."""
    item: str
    name: str
    why: str


@dataclass
class Snapshot:
    """Entities by id, facts with the sources that state them, and what was left out."""

    entities: dict[str, Entity] = field(default_factory=dict)
    facts: dict[Fact, set[str]] = field(default_factory=dict)
    withheld: list[Withheld] = field(default_factory=list)
    compared: dict[str, int] = field(default_factory=dict)
    """By ISO property, the number of items that have the code from two sources or more, all of them equal."""

    def entity(self, qid: str) -> Entity:
        """The entity of an id, added if it is new."""
        return self.entities.setdefault(qid, Entity())

    def add(self, source: str, *facts: Fact) -> None:
        """Add facts of a source; the same fact of two sources is one fact."""
        for fact in facts:
            self.facts.setdefault(fact, set()).add(source)


def article_title(url: str | None) -> str:
    """Title of a Wikipedia article, from its URL."""
    return unquote(url.split("/wiki/", 1)[1]).replace("_", " ") if url else ""


def after_of(country: str) -> str:
    """A country's name as it is written after "of": some take the article."""
    prefixes = ("United ", "Netherlands", "Philippines", "Kingdom ", "Soviet ", "People's ", "Republic ", "Democratic ")
    return f"the {country}" if country.startswith(prefixes) else country
