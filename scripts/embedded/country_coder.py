"""What country-coder states: kinds, groups, calling codes, driving sides, ISO and M49 codes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scripts.embedded.codes import Claim
from scripts.embedded.snapshot import COUNTRY, REGION, SIDES, Fact, Snapshot, after_of
from scripts.embedded.sources import Row

WORLD, NATIONS, UNION = "001", "UN", "EU"
DIVISION_CODE = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
DESCRIPTIONS = {
    "country": "country",
    "sharedLandform": "geographic region",
    "region": "region of the United Nations geoscheme",
    "subregion": "region of the United Nations geoscheme",
    "intermediateRegion": "region of the United Nations geoscheme",
    "subcountryGroup": "group of territories",
    "subunion": "group of territories",
    "union": "union of states",
    "unitedNations": "international organization",
}
"""How the levels of country-coder are described; a territory is described by its country."""


def codes(features: list[Row]) -> Iterator[Claim]:
    """ISO codes, and codes of the same form that are only reserved or user-assigned, such as EU and XK."""
    for row in features:
        for key, property_id in (("iso1A2", "P297"), ("iso1A3", "P298"), ("iso1N3", "P299")):
            if row.get(key):
                yield Claim("country_coder", property_id, row["wikidata"], row[key])
        divisions = [alias for alias in row.get("aliases", ()) if DIVISION_CODE.fullmatch(alias)]
        if len(divisions) == 1:  # Bonaire rightly has two, BQ-BO and NL-BQ1, which are of no use for a comparison
            yield Claim("country_coder", "P300", row["wikidata"], divisions[0])


def without_official_code(features: list[Row]) -> set[str]:
    """Items whose ISO 3166-1 codes are reserved or user-assigned: used for comparisons, but not stated."""
    return {row["wikidata"] for row in features if row.get("isoStatus") not in (None, "official")}


def regions(features: list[Row]) -> dict[str, str]:
    """Items by name of the regions of the United Nations geoscheme (M49)."""
    return {row["nameEn"]: row["wikidata"] for row in features if _is_region(row)}


def _is_region(row: Row) -> bool:
    return bool(row.get("m49")) and "iso1N3" not in row


def state(snapshot: Snapshot, features: list[Row], in_doubt: set[str]) -> None:
    """Add the features and their facts.

    `groups` are all groups that contain a feature. "Part of" (P361) is stated only for the nearest: a group that
    contains another of them is left out. Countries are "members of" (P463) the UN and the EU. The world is left out.
    """
    items = {row["id"]: row["wikidata"] for row in features}
    names = {row["id"]: row["nameEn"] for row in features}
    levels = {row["id"]: row["level"] for row in features}
    groups = {row["id"]: set(row["groups"]) for row in features}
    for row in features:
        qid, level, country = row["wikidata"], row["level"], row.get("country")
        if qid in in_doubt:
            continue
        facts = []
        entity = snapshot.entity(qid)
        entity.names["country_coder"] = row["nameEn"]
        entity.description = DESCRIPTIONS.get(level, "")
        if country:
            entity.description = f"territory of {after_of(names[country])}"
            facts.append(Fact(qid, "P17", "entity", items[country]))
        if level == "country":
            facts.append(Fact(qid, "P31", "entity", COUNTRY))
            facts += [Fact(qid, "P463", "entity", items[group]) for group in {NATIONS, UNION} & groups[row["id"]]]
        elif level in {"subregion", "intermediateRegion"}:
            facts.append(Fact(qid, "P31", "entity", REGION))
        if level in {"country", "territory", "subterritory"}:
            facts += [Fact(qid, "P474", "text", f"+{code}") for code in row.get("callingCodes", ())]
            if row.get("driveSide"):
                facts.append(Fact(qid, "P1622", "entity", SIDES[row["driveSide"]]))
        if _is_region(row):
            facts.append(Fact(qid, "P2082", "text", row["m49"]))
        wider = groups[row["id"]] - {WORLD, NATIONS, country} - ({UNION} if level == "country" else set())
        wider -= set[str]().union(*(groups[group] for group in wider))
        facts += [
            Fact(qid, "P361", "entity", items[group])
            for group in wider
            if levels[group] != "country" and items[group] not in in_doubt
        ]
        snapshot.add("country_coder", *facts)
