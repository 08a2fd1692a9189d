"""A comparison of the sources by ISO codes: an item should have one code, and a code one item."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Names = Mapping[tuple[str, str], frozenset[str]]
"""(source, item) -> the source's names of the item, case-folded."""


class Claim(NamedTuple):
    """A code that a source gives to an item."""

    source: str
    property: str
    item: str
    code: str


class Disagreement(ValueError):
    """Two sources give one item different ISO 3166-1 codes."""


class Verdict(NamedTuple):
    """The result of the comparison."""

    agreed: dict[tuple[str, str], str]
    """(property, item) -> code."""
    doubtful_codes: dict[tuple[str, str], str]
    """(property, item) whose code is not stated -> why."""
    doubtful_items: dict[tuple[str, str], str]
    """(source, item) -> why the source seems to mean another item; nothing that it says about the item is used."""
    compared: Counter[str]
    """By property, the number of items that have the code from two or more sources."""


def compare(claims: Iterable[Claim], names: Names) -> Verdict:
    """Compare the sources' codes.

    - Different ISO 3166-1 codes (P297, P298, P299) of one item are an error: `Disagreement`.
    - Different ISO 3166-2 codes (P300) of one item are withheld: divisions are renamed, and the sources differ in age.
    - A code on several items stays with the item for which most sources have codes of that standard, with none on a
      tie. Where the items also share a name, and no other source has that name for the losing item, the sources mean
      one thing by different ids: what the loser's source says about it is not used.
    - A source that gives one item two codes has two things under one id; what it says about the item is not used.
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
    for (source, property_id, item), item_codes in codes.items():
        if len(item_codes) > 1:
            verdict.doubtful_items[source, item] = f"it has {' and '.join(sorted(item_codes))} as {property_id}"
    return [claim for claim in claims if (claim.source, claim.item) not in verdict.doubtful_items]


def _doubt(item: str, items: dict[str, list[Claim]], names: Names, verdict: Verdict) -> None:
    _, property_id, _, code = items[item][0]
    others = sorted(set(items) - {item})
    for claim in items[item]:
        own_names = names[claim.source, item]
        namesakes = [other for other in others if any(own_names & names[rival.source, other] for rival in items[other])]
        confirmed = any(
            own_names & other_names
            for (source, named_item), other_names in names.items()
            if named_item == item and source != claim.source
        )
        # Sources that swap the codes of two items know both items: the ids are right, the codes are wrong.
        if namesakes and not confirmed and (property_id, item) not in verdict.doubtful_codes:
            why = f"{code} is {' and '.join(namesakes)} elsewhere, under the same name"
            verdict.doubtful_items[claim.source, item] = why
    verdict.agreed.pop((property_id, item), None)
    verdict.doubtful_codes.setdefault((property_id, item), f"{code} is given to {', '.join(others)} too")
