"""The SPARQL texts, as batches that know how to halve themselves.

Standard SPARQL 1.1 and Wikidata's RDF mapping, nothing else: no label service, no hints, no functions of one vendor;
prefixes always declared; VALUES inside every branch of a UNION (an engine need not push them down); one fixed
predicate per query; no ORDER BY and no OFFSET (whole sets are fetched, and sorted here). The same text has to run on
the Wikidata Query Service, QLever and Oxigraph. Values are in a fixed order, so that a resumed run sends the same text.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

PREFIXES = {
    "p": "http://www.wikidata.org/prop/",
    "pq": "http://www.wikidata.org/prop/qualifier/",
    "ps": "http://www.wikidata.org/prop/statement/",
    "psv": "http://www.wikidata.org/prop/statement/value/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "http://schema.org/",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "wd": "http://www.wikidata.org/entity/",
    "wdt": "http://www.wikidata.org/prop/direct/",
    "wikibase": "http://wikiba.se/ontology#",
}

_DESCRIBED = re.compile(r"VALUES \?item \{ ([^}]*) \} \?article schema:about \?item")
_SELECTED = re.compile(r"^SELECT (.*) WHERE \{", re.MULTILINE)
_USED = re.compile(r"(?<![\w:/<])([a-z]+):[A-Za-z]")


@dataclass(frozen=True)
class Batch(ABC):
    """One query over a set of things, which are its last field."""

    @abstractmethod
    def query(self) -> str:
        """Its text."""

    def halves(self) -> tuple[Batch, ...]:
        """Two smaller batches that together ask the same; none where it cannot be split."""
        things = fields(self)[-1].name
        return tuple(replace(self, **{things: half}) for half in _split(getattr(self, things)))


@dataclass(frozen=True)
class Subclasses(Batch):
    """?class: the classes themselves and everything below them."""

    roots: tuple[str, ...]

    def query(self) -> str:
        return _select("?class", f"{_values('?root', self.roots)} ?class wdt:P279* ?root .")


@dataclass(frozen=True)
class Members(Batch):
    """?item ?sitelinks: the items of some classes whose number of sitelinks lies in [low, high)."""

    property: str
    classes: tuple[str, ...]
    low: int
    high: int | None

    def query(self) -> str:
        member = f"{_values('?class', self.classes)} ?item wdt:{self.property} ?class ."
        sitelinks = "?item wikibase:sitelinks ?sitelinks ."
        bounds = [f"?sitelinks >= {self.low}"] if self.low else []
        bounds += [f"?sitelinks < {self.high}"] if self.high is not None else []
        if self.low:
            body = f"{member} {sitelinks} FILTER({' && '.join(bounds)})"
        else:
            # An item without any count belongs to the lowest band.
            upper = f" FILTER(!BOUND(?sitelinks) || {bounds[0]})" if bounds else ""
            body = f"{member} OPTIONAL {{ {sitelinks} }}{upper}"
        return _select("?item ?sitelinks", body)

    def halves(self) -> tuple[Batch, ...]:
        if len(self.classes) > 1:
            return tuple(replace(self, classes=half) for half in _split(self.classes))
        if self.high is None:
            # No item has so many sitelinks that this could go on for long.
            middle = max(1, 2 * self.low)
            return () if middle > 1024 else (replace(self, high=middle), replace(self, low=middle))
        middle = (self.low + self.high) // 2
        return () if middle == self.low else (replace(self, high=middle), replace(self, low=middle))


@dataclass(frozen=True)
class Statements(Batch):
    """?subject ?object, and the parts of the value: best-rank statements without an end (P582).

    date: ?time ?precision ?calendar; quantity: ?amount ?unit, as far as the value is known. text: in English, in the
    language `mul`, without a language, or an IRI.
    """

    kind: str
    property: str
    subjects: tuple[str, ...]

    def query(self) -> str:
        variables = f"?subject ?object {_VARIABLES[self.kind]}".rstrip()
        body = (
            f"{_values('?subject', self.subjects)} "
            f"?subject p:{self.property} ?statement . ?statement ps:{self.property} ?object . "
            f"?statement a wikibase:BestRank . FILTER NOT EXISTS {{ ?statement pq:P582 ?end }}"
            f"{_PATTERNS[self.kind].replace('PROPERTY', self.property)}"
        )
        return _select(variables, body)


_VARIABLES = {"entity": "", "date": "?time ?precision ?calendar", "quantity": "?amount ?unit", "text": ""}
_PATTERNS = {
    "entity": "",
    "date": " OPTIONAL { ?statement psv:PROPERTY ?value . ?value wikibase:timeValue ?time ; "
    "wikibase:timePrecision ?precision ; wikibase:timeCalendarModel ?calendar . }",
    "quantity": " OPTIONAL { ?statement psv:PROPERTY ?value . ?value wikibase:quantityAmount ?amount ; "
    "wikibase:quantityUnit ?unit . }",
    "text": ' FILTER(isIRI(?object) || isBlank(?object) || LANG(?object) = "en" || LANG(?object) = "mul" '
    '|| LANG(?object) = "")',
}


@dataclass(frozen=True)
class Entities(Batch):
    """?item ?field ?value: label and alias (en, mul), description (en), sitelinks, title (enwiki), class (P31)."""

    items: tuple[str, ...]

    def query(self) -> str:
        values = _values("?item", self.items)
        languages = 'FILTER(LANG(?value) = "en" || LANG(?value) = "mul")'
        branches = (
            ("label", f"?item rdfs:label ?value . {languages}"),
            ("alias", f"?item skos:altLabel ?value . {languages}"),
            ("description", '?item schema:description ?value . FILTER(LANG(?value) = "en")'),
            ("sitelinks", "?item wikibase:sitelinks ?value ."),
            (
                "title",
                "?article schema:about ?item . ?article schema:isPartOf <https://en.wikipedia.org/> . "
                "?article schema:name ?value .",
            ),
            ("class", "?item wdt:P31 ?value ."),
        )
        blocks = [f'{{ {values} {body} BIND("{field}" AS ?field) }}' for field, body in branches]
        return _select("?item ?field ?value", "\n  UNION ".join(blocks))


@dataclass(frozen=True)
class Named(Batch):
    """?label ?item ?class: items with exactly such a label or alias (en, mul), and what they belong to."""

    property: str
    labels: tuple[str, ...]

    def query(self) -> str:
        texts = " ".join(f"{literal(label)}@{language}" for label in self.labels for language in ("en", "mul"))
        values = f"VALUES ?label {{ {texts} }}"
        blocks = [
            f"{{ {values} ?item {predicate} ?label . ?item wdt:{self.property} ?class . }}"
            for predicate in ("rdfs:label", "skos:altLabel")
        ]
        return _select("?label ?item ?class", "\n  UNION ".join(blocks))


def described_in(query: str) -> list[str]:
    """The items that a query of `Entities` asks about; none for any other query."""
    match = _DESCRIBED.search(query)
    return match[1].replace("wd:", "").split() if match else []


def selected_by(query: str) -> list[str]:
    """The names of the variables that a query selects, in order."""
    match = _SELECTED.search(query)
    return match[1].replace("?", "").split() if match else []


def in_batches(items: Iterable[str], size: int) -> list[tuple[str, ...]]:
    """Consecutive groups of at most `size`."""
    ordered = list(items)
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def literal(text: str) -> str:
    """A SPARQL string literal; JSON's escapes are among SPARQL's, but for the solidus, which JSON leaves alone."""
    return json.dumps(text, ensure_ascii=False)


def _split(items: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    middle = len(items) // 2
    return (tuple(items[:middle]), tuple(items[middle:])) if middle else ()


def _values(variable: str, qids: Sequence[str]) -> str:
    return f"VALUES {variable} {{ {' '.join('wd:' + qid for qid in qids)} }}"


def _select(variables: str, body: str) -> str:
    used = sorted(set(_USED.findall(re.sub(r'"(?:[^"\\]|\\.)*"', '""', body))))
    header = "\n".join(f"PREFIX {name}: <{PREFIXES[name]}>" for name in used)
    return f"{header}\nSELECT {variables} WHERE {{\n  {body}\n}}"
