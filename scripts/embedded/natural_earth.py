"""What Natural Earth states: kinds, continents, sovereigns, borders, populations, formal names, FIPS and ISO codes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from scripts.embedded.codes import Claim
from scripts.embedded.snapshot import CONTINENT, COUNTRY, DEPENDENCY, DIVISION, Fact, Snapshot, after_of, article_title
from scripts.embedded.sources import Row


def codes(countries: list[Row], states: list[Row]) -> Iterator[Claim]:
    """ISO codes of countries and divisions; Natural Earth marks codes that it made up with a trailing ~."""
    for row in countries:
        # The columns without "_eh" have no code for France and Norway, whose shapes leave out parts of them.
        for key, property_id in (("iso_a2_eh", "P297"), ("iso_a3_eh", "P298"), ("iso_n3_eh", "P299")):
            if row[key]:
                yield Claim("natural_earth", property_id, row["wikidataid"], row[key])
    for row in states:
        if not row["iso_3166_2"].endswith("~"):
            yield Claim("natural_earth", "P300", row["wikidataid"], row["iso_3166_2"])


def state(snapshot: Snapshot, countries: list[Row], states: list[Row], in_doubt: set[str], features: list[Row]) -> None:
    """Add countries, dependencies and first-level divisions; items of continents come from country-coder."""
    items = {row["nameEn"]: row["wikidata"] for row in features}
    sovereigns = {row["sovereignt"]: row["wikidataid"] for row in countries if row["admin"] == row["sovereignt"]}
    by_code = {row["adm0_a3"]: row for row in countries}
    for row in countries:
        if row["wikidataid"] not in in_doubt:
            _add_country(snapshot, row, items.get(row["continent"]), sovereigns.get(row["sovereignt"]))
    for table in (countries, states):
        for first, second in _neighbours([row for row in table if row["wikidataid"] not in in_doubt]):
            borders = Fact(first, "P47", "entity", second), Fact(second, "P47", "entity", first)
            snapshot.add("natural_earth", *borders)
    for row in states:
        if row["wikidataid"] not in in_doubt:
            _add_division(snapshot, row, by_code[row["adm0_a3"]])


def _neighbours(rows: list[Row]) -> set[tuple[str, str]]:
    """Pairs of items whose outlines share a line segment; a single common point is not a border."""
    owners: dict[frozenset[tuple[float, float]], set[str]] = defaultdict(set)
    for row in rows:
        for ring in row["geometry"]:
            for segment in pairwise(ring):
                owners[frozenset(segment)].add(row["wikidataid"])
    return {(first, second) for items in owners.values() for first in items for second in items if first < second}


def _add_country(snapshot: Snapshot, row: Row, continent: str | None, sovereign: str | None) -> None:
    """`continent` is None for "Seven seas (open ocean)", which is not a continent."""
    qid, is_sovereign = row["wikidataid"], row["admin"] == row["sovereignt"]
    entity = snapshot.entity(qid)
    entity.names["natural_earth"] = row["name_en"] or row["name_long"]
    entity.aliases.add(row["name_long"])
    facts = []
    if row["type"] == "Dependency":
        facts.append(Fact(qid, "P31", "entity", DEPENDENCY))
    elif is_sovereign and row["type"] != "Indeterminate":
        facts.append(Fact(qid, "P31", "entity", COUNTRY))
        if row["formal_en"]:  # that of a dependency is not always a name: "Føroyar Is. (Faeroe Is.)"
            facts.append(Fact(qid, "P1448", "monolingual", row["formal_en"], "en"))
            entity.aliases.add(row["formal_en"])
    if continent and continent != qid:
        facts += [Fact(qid, "P30", "entity", continent), Fact(continent, "P31", "entity", CONTINENT)]
        snapshot.entity(continent).description = "continent"
        if is_sovereign:
            entity.description = f"country in {row['continent']}"
    if not is_sovereign:
        entity.description = f"territory of {after_of(row['sovereignt'])}"
        if sovereign:
            facts.append(Fact(qid, "P17", "entity", sovereign))
    if row["fips_10"]:
        facts.append(Fact(qid, "P901", "text", row["fips_10"]))
    if row["pop_est"] and row["pop_year"]:
        facts.append(Fact(qid, "P1082", "quantity", str(int(row["pop_est"])), year=int(row["pop_year"])))
    snapshot.add("natural_earth", *facts)


def _add_division(snapshot: Snapshot, row: Row, country: Row) -> None:
    qid, entity = row["wikidataid"], snapshot.entity(row["wikidataid"])
    if not entity.names:  # other sources have "Amur Oblast" and "Federal District", this one "Amur" and "Federal"
        entity.names["natural_earth"] = row["name_en"]
    entity.title = entity.title or article_title(row.get("wikipedia"))
    entity.description = f"{(row['type_en'] or 'division').lower()} of {after_of(country['name_en'])}"
    facts = [Fact(qid, "P31", "entity", DIVISION), Fact(qid, "P17", "entity", country["wikidataid"])]
    if row["fips"]:
        facts.append(Fact(qid, "P901", "text", row["fips"]))
    if row["gn_id"]:
        facts.append(Fact(qid, "P1566", "text", str(int(row["gn_id"]))))
    snapshot.add("natural_earth", *facts)
