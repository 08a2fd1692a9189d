"""From the sources' rows to one snapshot: the codes are compared first, and decide which statements are used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from scripts.embedded import country_coder, natural_earth, rigour
from scripts.embedded.codes import Claim, Names, Verdict, compare
from scripts.embedded.snapshot import CLASSES, SIDES, SUBCLASSES, Fact, Snapshot, Withheld
from scripts.embedded.sources import Row, Source


def gather(natural: Source, coder: Source, rigour_source: Source, languages: Source) -> Snapshot:
    """All facts of the four sources, in one snapshot; `Disagreement` where their ISO 3166-1 codes differ."""
    countries, states, features = natural.tables["countries50"], natural.tables["states50"], coder.tables["features"]
    # The EU, the UN, the world and cyberspace are no territories.
    territories = [row for row in rigour_source.tables["territories"] if row.get("region") != "Supranational"]
    claims = [
        *natural_earth.codes(countries, states),
        *country_coder.codes(features),
        *rigour.codes(territories),
    ]
    names = _names(countries, states, features, territories)
    verdict = compare(claims, names)
    snapshot = Snapshot(compared={name: verdict.compared[name] for name in ("P297", "P298", "P299")})
    country_coder.state(snapshot, features, _in_doubt(verdict, "country_coder"))
    rigour.state(snapshot, territories, _in_doubt(verdict, "rigour"), features, languages.tables["languages"])
    natural_earth.state(snapshot, countries, states, _in_doubt(verdict, "natural_earth"), features)
    unofficial = country_coder.without_official_code(features)
    sayable = [claim for claim in claims if claim.property == "P300" or claim.item not in unofficial]
    disputed = _state_codes(snapshot, verdict, sayable)
    _withhold_namesakes(snapshot, disputed, names)
    _describe_classes(snapshot)
    name_of = {item: min(names) for (_, item), names in names.items()}
    for (source, item), why in verdict.doubtful_items.items():
        snapshot.withheld.append(Withheld(f"all from {source}", item, name_of[item], why))
    for (property_id, item), why in verdict.doubtful_codes.items():
        snapshot.withheld.append(Withheld(property_id, item, name_of[item], why))
    return snapshot


def _in_doubt(verdict: Verdict, source: str) -> set[str]:
    return {item for doubtful, item in verdict.doubtful_items if doubtful == source}


def _names(
    countries: list[Row], states: list[Row], features: list[Row], territories: list[Row]
) -> dict[tuple[str, str], frozenset[str]]:
    def mentions() -> Iterator[tuple[str, str, str | None]]:
        for row in (*countries, *states):
            for key in ("name", "name_en", "name_long"):
                yield "natural_earth", row["wikidataid"], row.get(key)
        for row in features:
            yield "country_coder", row["wikidata"], row["nameEn"]
        for row in territories:
            yield "rigour", row["qid"], row["name"]

    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for source, item, name in mentions():
        names[source, item] |= {name.casefold()} if name else set()
    return {key: frozenset(item_names) for key, item_names in names.items()}


def _state_codes(snapshot: Snapshot, verdict: Verdict, claims: list[Claim]) -> set[str]:
    """State the codes that the sources agree on; a division whose code names a foreign country gets neither code nor
    country.

    The codes of a country's territories are not foreign: Jarvis Island, in the US, is UM-86. Returns the divisions that
    lost their country.
    """
    disputed = set()
    nations: dict[str, set[str]] = defaultdict(set)
    for fact in snapshot.facts:
        if fact.property == "P17":
            nations[fact.subject].add(fact.value)
    domestic: dict[str, set[str]] = defaultdict(set)
    for (property_id, item), code in verdict.agreed.items():
        if property_id == "P297":
            for nation in {item} | nations[item]:
                domestic[nation].add(code)
    for claim in claims:
        in_doubt = (claim.source, claim.item) in verdict.doubtful_items
        if in_doubt or verdict.agreed.get((claim.property, claim.item)) != claim.code:
            continue
        known = set[str]().union(*(domestic[nation] for nation in nations[claim.item]))
        if claim.property == "P300" and known and claim.code.split("-")[0] not in known:
            for nation in nations[claim.item]:
                snapshot.facts.pop(Fact(claim.item, "P17", "entity", nation), None)
            disputed.add(claim.item)
            entity = snapshot.entity(claim.item)
            entity.description = "disputed territory"
            why = f"the code is {claim.code}, the country {', '.join(sorted(nations[claim.item]))}"
            snapshot.withheld.append(Withheld("P17 and P300", claim.item, entity.label, why))
        else:
            snapshot.add(claim.source, Fact(claim.item, claim.property, "text", claim.code))
    return disputed


def _withhold_namesakes(snapshot: Snapshot, disputed: set[str], names: Names) -> None:
    """Withhold the country of namesakes of disputed divisions too: Crimea is two items of Wikidata."""
    contested = {name for (_, item), item_names in names.items() if item in disputed for name in item_names}
    for fact in [fact for fact in snapshot.facts if fact.property == "P17" and fact.subject not in disputed]:
        entity = snapshot.entity(fact.subject)
        if entity.label.casefold() in contested:
            del snapshot.facts[fact]
            entity.description = "disputed territory"
            why = "a disputed territory has the same name"
            snapshot.withheld.append(Withheld("P17", fact.subject, entity.label, why))


def _describe_classes(snapshot: Snapshot) -> None:
    """Add labels of classes and driving sides, and the subclass statements, which come from no source."""
    for qid, label in (CLASSES | {qid: side for side, qid in SIDES.items()}).items():
        snapshot.entity(qid).names["build"] = label
    for narrow, wide in SUBCLASSES.items():
        snapshot.add("build", Fact(narrow, "P279", "entity", wide))
