"""What rigour states: kinds, parents, regions, successors and languages; wikidata-lang identifies the languages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from scripts.embedded import country_coder
from scripts.embedded.codes import Claim
from scripts.embedded.snapshot import (
    ADMINISTRATIVE,
    DIVISION,
    FORMER_DIVISION,
    HISTORICAL_COUNTRY,
    LANGUAGE,
    SOVEREIGN,
    Fact,
    Snapshot,
    Withheld,
    after_of,
    article_title,
)
from scripts.embedded.sources import Row

_MISTAKEN = {
    ("ru-kb", "kab"): "kab is Kabyle, of Algeria; Kabardian is kbd",
    ("ru-kc", "kab"): "kab is Kabyle, of Algeria; Kabardian is kbd",
    ("in-tr", "tsb"): "tsb is Tsamai, of Ethiopia; Kokborok is trp",
    ("ru-kha", "kjh"): "kjh is Khakas, of Khakassia, which is ru-kk",
}
"""Territory, code of a language that rigour gives it but that belongs elsewhere, and the mistake. No other source lists
languages, so these were found by reading all lists."""


def codes(territories: list[Row]) -> Iterator[Claim]:
    """ISO 3166-1 alpha-3 codes, and the ids of divisions that are ISO 3166-2 codes."""
    for row in territories:
        if row.get("is_historical"):
            continue
        if row.get("alpha3"):
            yield Claim("rigour", "P298", row["qid"], row["alpha3"].upper())
        if _is_coded_division(row):
            yield Claim("rigour", "P300", row["qid"], row["code"].upper())


def _is_coded_division(row: Row) -> bool:
    """Whether the id is an ISO 3166-2 code; those of Scotland and Hong Kong have that form, but rigour made them up."""
    return country_coder.DIVISION_CODE.fullmatch(row["code"].upper()) is not None and not row["is_ftm"]


def state(
    snapshot: Snapshot, territories: list[Row], in_doubt: set[str], features: list[Row], languages: list[Row]
) -> None:
    """Add the territories, their facts and the languages used in them."""
    by_code = {row["code"]: row for row in territories}
    coded = {row["wikidata"] for row in features}
    regions = country_coder.regions(features)
    sovereigns = _sovereigns(territories, features)
    by_language = _by_iso_639_3(languages)
    for row in territories:
        qid = row["qid"]
        if qid in in_doubt:
            continue
        if "(" in row["name"] and qid not in coded:
            snapshot.withheld.append(Withheld("all from rigour", qid, row["name"], "its only name is a gloss"))
            continue
        entity = snapshot.entity(qid)
        entity.names["rigour"] = row["name"]
        entity.title = article_title(row.get("wikipedia_url"))
        if row["is_country"]:
            entity.aliases.add(row["full_name"])
        entity.description = _description(row, by_code) or entity.description
        facts = [*_kind(row, by_code, sovereigns), *_place(row, by_code, sovereigns)]
        facts += [Fact(qid, "P1366", "entity", by_code[code]["qid"]) for code in row.get("successors", ())]
        langs = row.get("langs", ())
        if mistakes := [why for code in langs if (why := _MISTAKEN.get((row["code"], code)))]:
            # None of the list is stated: without the mistaken language, what is left may pass for the only one.
            snapshot.withheld.append(Withheld("P2936", qid, row["name"], "; ".join(mistakes)))
            langs = ()
        for code in langs:
            if code in by_language:
                facts.append(Fact(qid, "P2936", "entity", by_language[code]["wd"]))
                _add_language(snapshot, by_language[code])
        region = regions.get(row.get("subregion", ""))
        if region and region != qid:
            facts.append(Fact(qid, "P361", "entity", region))
            # Of the nested regions that country-coder states, keep the one that rigour states too.
            for other in set(regions.values()) - {region}:
                snapshot.facts.pop(Fact(qid, "P361", "entity", other), None)
        snapshot.add("rigour", *facts)


def _sovereigns(territories: list[Row], features: list[Row]) -> set[str]:
    """Items of sovereign states, also past ones. Present ones must be countries in country-coder too: rigour alone
    calls Gibraltar a country."""
    countries = {row["wikidata"] for row in features if row["level"] == "country"}
    return {
        row["qid"]
        for row in territories
        if row["is_country"] and (row.get("is_historical") or (not row.get("parent") and row["qid"] in countries))
    }


def _kind(row: Row, by_code: Mapping[str, Row], sovereigns: set[str]) -> Iterator[Fact]:
    if row.get("is_historical"):
        yield Fact(row["qid"], "P31", "entity", HISTORICAL_COUNTRY if row["is_country"] else FORMER_DIVISION)
    elif row["qid"] in sovereigns:
        yield Fact(row["qid"], "P31", "entity", SOVEREIGN)
    elif row.get("parent") and row.get("is_jurisdiction"):
        first_level = _is_coded_division(row) and by_code[row["parent"]]["qid"] in sovereigns
        yield Fact(row["qid"], "P31", "entity", DIVISION if first_level else ADMINISTRATIVE)


def _place(row: Row, by_code: Mapping[str, Row], sovereigns: set[str]) -> Iterator[Fact]:
    """The sovereign state at the end of the chain of parents, and the parent if it is not that state."""
    if not row.get("parent"):
        return
    parent = root = by_code[row["parent"]]
    while root.get("parent"):
        root = by_code[root["parent"]]
    if root["qid"] in sovereigns:
        yield Fact(row["qid"], "P17", "entity", root["qid"])
    if parent is not root or root["qid"] not in sovereigns:
        yield Fact(row["qid"], "P131", "entity", parent["qid"])


def _description(row: Row, by_code: Mapping[str, Row]) -> str:
    past = "former " if row.get("is_historical") else ""
    if row.get("parent"):
        parent = by_code[row["parent"]]
        return f"{past}division of {parent.get('in_sentence') or after_of(parent['name'])}"
    return f"{past}country" if past else ""


def _by_iso_639_3(languages: list[Row]) -> dict[str, Row]:
    """The item of each ISO 639-3 code: if several items have it, the one with most kinds of ISO code, none on a tie."""
    holders: dict[str, dict[str, tuple[int, Row]]] = defaultdict(dict)
    for row in languages:
        weight = sum(bool(row.get(key)) for key in ("iso6391", "iso6392", "iso6393"))
        for code in row.get("iso6393", ()):
            holders[code][row["wd"]] = (weight, row)
    chosen = {}
    for code, rows in holders.items():
        best = max(weight for weight, _ in rows.values())
        heaviest = [row for weight, row in rows.values() if weight == best]
        if len(heaviest) == 1 and heaviest[0].get("label"):
            chosen[code] = heaviest[0]
    return chosen


def _add_language(snapshot: Snapshot, row: Row) -> None:
    entity = snapshot.entity(row["wd"])
    entity.names["wikidata_lang"] = row["label"]
    entity.description = "language"
    facts = [Fact(row["wd"], "P31", "entity", LANGUAGE)]
    for key, property_id in (("iso6391", "P218"), ("iso6392", "P219"), ("iso6393", "P220"), ("wmCode", "P424")):
        facts += [Fact(row["wd"], property_id, "text", code) for code in row.get(key, ())]
    if row.get("native"):
        tag = row["wmCode"][0] if len(row.get("wmCode", ())) == 1 else "und"
        facts.append(Fact(row["wd"], "P1705", "monolingual", row["native"], tag))
    snapshot.add("wikidata_lang", *facts)
