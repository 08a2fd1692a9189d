"""What a release counted as links, and by what its splits tell rare from popular."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from dual_data.released import Place, Release, read_table


class LinkWords(NamedTuple):
    """The words for the counts of links of a release."""

    of_the: str
    """What is counted, up to the word for the entity: the beginning of the description of a column."""
    collected: str
    """How it was counted."""
    raw: str
    """What the source gives."""
    missing: str
    """Which entities have no count; a sentence."""
    measures: str
    """What the counts measure, and what they favour."""


WIKIPEDIA = LinkWords(
    "Links from Wikipedia articles to that of the",
    "Wikipedia links were counted through its API or in the tables of its dump",
    "counts of links between Wikipedia articles",
    "Entities without an article have no link count.",
    "Link counts measure how often an encyclopaedia links to an article, in one language, on one day; they favour "
    "places, people and topics that its editors favour, and they count an article, not a fact.",
)
SNAPSHOT = LinkWords(
    "Subjects, in the graph of the embedded snapshot, of a statement whose object is the",
    "links were counted in the graph of the embedded snapshot: subjects of statements whose object is the entity",
    "counts of links in the graph of the snapshot",
    "Every entity has a link count, 0 where it is the object of no statement of the snapshot.",
    "Link counts measure how often the statements of a small snapshot have an entity as their object; they favour what "
    "its sources list, and they count an entity, not a fact.",
)
UNCOUNTED = LinkWords(
    "Empty, for no links were counted: links to the",
    "no links were counted",
    "no counts of links",
    "No entity has a link count.",
    "No links were counted here. Sitelinks and mentions favour what their source favours, and they count an "
    "entity, not a fact.",
)
OTHER = LinkWords(
    "Links, counted as the table links says, to the",
    "links were counted as the table links says",
    "counts of links",
    "Entities whose links were not counted have no link count.",
    "Link counts favour what their source favours, and they count an entity, not a fact.",
)
_BY_METHOD = {"cirrusdoc": WIKIPEDIA, "linkshere": WIKIPEDIA, "dump": WIKIPEDIA, "in_degree": SNAPSHOT}
_SIGNALS = {
    "inbound_links": "inbound links",
    "sitelinks": "sitelinks (Wikimedia pages about the entity)",
    "mentions": "mentions (triplets of the whole input that name the entity)",
    "salience": "the salience that the judge gave the fact",
}
_SIDES = {"subject": "of the subject", "object": "of the object", "sum": "of subject and object together"}


def counted(release: Release, place: Place) -> LinkWords:
    """The words for what the table of links holds."""
    file = release.whole("links")
    if file is None:
        return UNCOUNTED
    table = read_table(place, file)
    if not {"inbound_links", "method"} <= set(table.columns):
        return OTHER
    methods = table.filter(pl.col("inbound_links").is_not_null())["method"].unique()
    words = {_BY_METHOD.get(method, OTHER) for method in methods}
    return words.pop() if len(words) == 1 else OTHER if words else UNCOUNTED


def told_apart(release: Release, links: LinkWords) -> str:
    """By what the recipes of a release tell rare from popular, in sentences; empty where the build does not say."""
    params: dict[str, Any] = dict(release.stages["splits"].basis.params) if "splits" in release.stages else {}
    signals: dict[str, list[str]] = {}
    for recipe in release.recipes():
        if signal := _signal(params.get("paper" if recipe == "paper" else "matched") or {}, recipe):
            signals.setdefault(signal, []).append(recipe)
    if not signals:
        return ""
    phrases = [f"{signal} ({', '.join(recipes)})" for signal, recipes in signals.items()]
    text = f"Rare and popular are told apart by {'; by '.join(phrases)}."
    if any(signal.startswith(_SIGNALS["inbound_links"]) for signal in signals):
        text += f" Inbound links: {links.of_the[0].lower()}{links.of_the[1:]} entity."
    return text


def _signal(params: dict[str, Any], recipe: str) -> str:
    signal = str(params.get("signal", ""))
    if signal == "given":
        return f"the popularity that the project's table {params.get('given')} gives"
    if signal == "salience" or signal not in _SIGNALS:
        return _SIGNALS.get(signal, "")
    return f"{_SIGNALS[signal]} {_SIDES.get('sum' if recipe == 'paper' else params.get('side', ''), '')}".strip()
