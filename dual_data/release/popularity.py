"""By what the splits of a release tell rare from popular."""

from __future__ import annotations

from typing import Any

from dual_data.released import Release

_SIGNALS = {
    "inbound_links": "inbound links",
    "sitelinks": "sitelinks (Wikimedia pages about the entity)",
    "mentions": "mentions (triplets of the whole input that name the entity)",
    "salience": "the salience that the judge gave the fact",
}
_SIDES = {"subject": "of the subject", "object": "of the object", "sum": "of subject and object together"}


def told_apart(release: Release) -> str:
    """By what the recipes of a release tell rare from popular, a sentence; empty where the build does not say."""
    params: dict[str, Any] = dict(release.stages["splits"].basis.params) if "splits" in release.stages else {}
    signals: dict[str, list[str]] = {}
    for recipe in release.recipes():
        if signal := _signal(params.get("paper" if recipe == "paper" else "matched") or {}, recipe):
            signals.setdefault(signal, []).append(recipe)
    if not signals:
        return ""
    phrases = [f"{signal} ({', '.join(recipes)})" for signal, recipes in signals.items()]
    return f"Rare and popular are told apart by {'; by '.join(phrases)}."


def _signal(params: dict[str, Any], recipe: str) -> str:
    signal = str(params.get("signal", ""))
    if signal == "given":
        return f"the popularity that the project's table {params.get('given')} gives"
    if signal == "salience" or signal not in _SIGNALS:
        return _SIGNALS.get(signal, "")
    return f"{_SIGNALS[signal]} {_SIDES.get('sum' if recipe == 'paper' else params.get('side', ''), '')}".strip()
