"""ISO codes as the sources' test of each other: one item has one code, and one code one item."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Names = Mapping[tuple[str, str], frozenset[str]]
"""(source, item) -> what the source calls the item, case-folded."""


class Claim(NamedTuple):
    """A source gives an item a code."""

    source: str
    property: str
    item: str
    code: str


class Disagreement(ValueError):
    """Two sources give one item different ISO 3166-1 codes."""


class Verdict(NamedTuple):
    """What follows from the claims."""

    agreed: dict[tuple[str, str], str]
    """(property, item) -> code."""
    doubtful_codes: dict[tuple[str, str], str]
    """(property, item) whose code is not stated -> why."""
    doubtful_items: dict[tuple[str, str], str]
    """(source, item) where the source seems to mean another item, so that nothing it says of it is used -> why."""
    compared: Counter[str]
    """How many items have the code from two or more sources, by property."""


def compare(claims: Iterable[Claim], names: Names) -> Verdict:
    """Hold the sources' codes against each other.

    - Different ISO 3166-1 codes (P297, P298, P299) of one item are an error: `Disagreement`.
    - Different ISO 3166-2 codes (P300) of one item are withheld: divisions are renamed, and the sources differ in age.
    - One code on several items stays with the item for which most sources have codes of its standard, with none on a
      tie. Where the items go by one name too, and no other source knows the losing item by that name, the sources
      mean one thing by different ids: the loser's source is not believed about it.
    - A source that gives one item two codes has two things under one id, and is not believed about it.
    """
    verdict = Verdict({}, {}, {}, Counter())
    sound = _without_doubles(sorted(set(claims)), verdict)
    codes: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    holders: dict[tuple[str, str], dict[str, list[Claim]]] = defaultdict(lambda: defaultdict(list))
    sources: dict[tuple[bool, str], set[str]] = defaultdict(set)
    for claim in sound:
        codes[claim.property, claim.item][claim.source] = claim.code
        holders[claim.property, claim.code][claim.item].append(claim)
        sources[claim.property == "P300", claim.item].add(claim.source)
    for (property_id, item), by_source in codes.items():
        verdict.compared[property_id] += len(by_source) > 1
        listed = ", ".join(f"{code} ({source})" for source, code in sorted(by_source.items()))
        if len(set(by_source.values())) == 1:
            verdict.agreed[property_id, item] = next(iter(by_source.values()))
        elif property_id == "P300":
            verdict.doubtful_codes[property_id, item] = listed
        else:
            raise Disagreement(f"{item} has more than one {property_id}: {listed}")
    for (property_id, _), items in holders.items():
        votes = {item: len(sources[property_id == "P300", item]) for item in items}
        winners = [item for item in items if votes[item] == max(votes.values())]
        for item in items:
            if winners != [item]:
                _doubt(item, items, names, verdict)
    return verdict


def _without_doubles(claims: list[Claim], verdict: Verdict) -> list[Claim]:
    codes: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for claim in claims:
        codes[claim[:3]].add(claim.code)
    for (source, property_id, item), found in codes.items():
        if len(found) > 1:
            verdict.doubtful_items[source, item] = f"it has {' and '.join(sorted(found))} as {property_id}"
    return [claim for claim in claims if (claim.source, claim.item) not in verdict.doubtful_items]


def _doubt(item: str, items: dict[str, list[Claim]], names: Names, verdict: Verdict) -> None:
    _, property_id, _, code = items[item][0]
    others = sorted(set(items) - {item})
    for claim in items[item]:
        known_as = names[claim.source, item]
        namesakes = [other for other in others if any(known_as & names[rival.source, other] for rival in items[other])]
        confirmed = any(
            known_as & also for (source, named), also in names.items() if named == item and source != claim.source
        )
        # Sources that swap two items between two codes know both of them: the ids are sound, the codes are not.
        if namesakes and not confirmed and (property_id, item) not in verdict.doubtful_codes:
            why = f"{code} is {' and '.join(namesakes)} elsewhere, under the same name"
            verdict.doubtful_items[claim.source, item] = why
    verdict.agreed.pop((property_id, item), None)
    verdict.doubtful_codes.setdefault((property_id, item), f"{code} is given to {', '.join(others)} too")
