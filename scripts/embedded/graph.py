"""A snapshot as N-Triples in the shape of Wikidata's RDF, sorted, so that equal input gives equal bytes.

Item and property IRIs are Wikidata's. The IRIs of statement, value and reference nodes start with
`urn:dual-data:embedded:`, because these statements come from the sources, not from Wikidata.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from scripts.embedded.snapshot import PROPERTIES, Entity, Fact, Snapshot
from scripts.embedded.sources import Source

WD, PROP = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/"
WIKIBASE = "http://wikiba.se/ontology#"
RDF_TYPE = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
RDFS_LABEL = "<http://www.w3.org/2000/01/rdf-schema#label>"
ALT_LABEL = "<http://www.w3.org/2004/02/skos/core#altLabel>"
DERIVED = "<http://www.w3.org/ns/prov#wasDerivedFrom>"
XSD = "http://www.w3.org/2001/XMLSchema#"
OWN = "urn:dual-data:embedded:"
WIKIPEDIA = "https://en.wikipedia.org/"
ONE = f"<{WD}Q199>"
"""The item "1", the unit of a quantity without unit in Wikidata's RDF."""
YEAR_PRECISION, GREGORIAN = 9, f"<{WD}Q1985727>"

Triple = tuple[str, str, str]


def ntriples(snapshot: Snapshot, sources: Iterable[Source]) -> str:
    """The whole graph, one triple per line, sorted and without duplicates."""
    triples: set[Triple] = set()
    for qid, entity in snapshot.entities.items():
        triples.update(_entity(qid, entity))
    for property_id, label in PROPERTIES.items():
        triples.update(_property(property_id, label))
    for source in sources:
        reference = f"<{OWN}source:{source.key}>"
        triples.add((reference, RDF_TYPE, f"<{WIKIBASE}Reference>"))
        triples.add((reference, RDFS_LABEL, _literal(f"{source.name} {source.version}", "en")))
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    for fact in sorted(snapshot.facts, key=lambda fact: (fact.subject, fact.property, fact.value, fact.language)):
        numbers[fact.subject, fact.property] += 1
        name = f"{fact.subject}-{fact.property}-{numbers[fact.subject, fact.property]}"
        triples.update(_statement(name, fact, snapshot.facts[fact]))
    return "".join(sorted(" ".join(triple) + " .\n" for triple in triples))


def _entity(qid: str, entity: Entity) -> Iterator[Triple]:
    subject = f"<{WD}{qid}>"
    yield subject, RDF_TYPE, f"<{WIKIBASE}Item>"
    yield subject, RDFS_LABEL, _literal(entity.label, "en")
    for alias in (entity.aliases | set(entity.names.values())) - {entity.label}:
        if not set(alias) & set(",()"):  # index entries such as "Korea, South" and glosses are not names
            yield subject, ALT_LABEL, _literal(alias, "en")
    if entity.description:
        yield subject, "<http://schema.org/description>", _literal(entity.description, "en")
    if entity.title:
        article = f"<{WIKIPEDIA}wiki/{quote(entity.title.replace(' ', '_'), safe='()/,:;!*@&=+$-_.~')}>"
        yield article, RDF_TYPE, "<http://schema.org/Article>"
        yield article, "<http://schema.org/about>", subject
        yield article, "<http://schema.org/isPartOf>", f"<{WIKIPEDIA}>"
        yield article, "<http://schema.org/name>", _literal(entity.title, "en")


def _property(property_id: str, label: str) -> Iterator[Triple]:
    subject = f"<{WD}{property_id}>"
    yield subject, RDF_TYPE, f"<{WIKIBASE}Property>"
    yield subject, RDFS_LABEL, _literal(label, "en")
    yield subject, f"<{WIKIBASE}directClaim>", f"<{PROP}direct/{property_id}>"
    yield subject, f"<{WIKIBASE}claim>", f"<{PROP}{property_id}>"
    yield subject, f"<{WIKIBASE}statementProperty>", f"<{PROP}statement/{property_id}>"


def _statement(name: str, fact: Fact, sources: Iterable[str]) -> Iterator[Triple]:
    subject, node, value = f"<{WD}{fact.subject}>", f"<{OWN}{name}>", _value(fact)
    yield subject, f"<{PROP}direct/{fact.property}>", value
    yield subject, f"<{PROP}{fact.property}>", node
    yield node, RDF_TYPE, f"<{WIKIBASE}Statement>"
    yield node, RDF_TYPE, f"<{WIKIBASE}BestRank>"
    yield node, f"<{WIKIBASE}rank>", f"<{WIKIBASE}NormalRank>"
    yield node, f"<{PROP}statement/{fact.property}>", value
    for source in sources:
        yield node, DERIVED, f"<{OWN}source:{source}>"
    if fact.kind == "quantity":
        full = f"<{OWN}{name}:value>"
        yield node, f"<{PROP}statement/value/{fact.property}>", full
        yield full, RDF_TYPE, f"<{WIKIBASE}QuantityValue>"
        yield full, f"<{WIKIBASE}quantityAmount>", value
        yield full, f"<{WIKIBASE}quantityUnit>", ONE
    if fact.year is not None:
        time, full = f'"{fact.year:04d}-01-01T00:00:00Z"^^<{XSD}dateTime>', f"<{OWN}{name}:time>"
        yield node, f"<{PROP}qualifier/P585>", time
        yield node, f"<{PROP}qualifier/value/P585>", full
        yield full, RDF_TYPE, f"<{WIKIBASE}TimeValue>"
        yield full, f"<{WIKIBASE}timeValue>", time
        yield full, f"<{WIKIBASE}timePrecision>", f'"{YEAR_PRECISION}"^^<{XSD}integer>'
        yield full, f"<{WIKIBASE}timeCalendarModel>", GREGORIAN


def _value(fact: Fact) -> str:
    if fact.kind == "entity":
        return f"<{WD}{fact.value}>"
    if fact.kind == "quantity":
        return f'"{fact.value}"^^<{XSD}decimal>'
    return _literal(fact.value, fact.language)


def _literal(text: str, language: str = "") -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"' + (f"@{language.lower()}" if language else "")
