"""What the query service would give about the world, and which of it is no fact: plain Python over the statements."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from benchmarks.rebuild.world import Rehearsal
from dual_data.config import Relation
from tests.wiki.model import NO_UNIT, Amount, Date, Text, Unknown, Value

Key = tuple[str, str, str, str]
"""subject, property, kind of object, value."""
NO_OBJECT = ("somevalue", "empty", "other_language")
"""Reasons of statements that state no object, and so make no pair ambiguous."""
LANGUAGES = ("en", "mul", "")
"""Of a pair's texts, those in the first of them that it has."""
_ID = re.compile(r"Q[1-9][0-9]*")


class Row(NamedTuple):
    """A current, best-rank statement, as one topic and one relation ask for it."""

    topic: str
    stem: str
    key: Key
    reason: str
    """Why it is no fact; empty where it is one."""


def names(rehearsal: Rehearsal) -> dict[str, str]:
    """What a reader calls each item that has a name: English first, then the name for all languages; never an id."""
    found = {}
    for qid, item in rehearsal.world.items.items():
        label = next((text for text in (item.label, item.mul) if text and not _ID.fullmatch(text)), None)
        if label:
            found[qid] = " ".join(label.split())
    return found


def rows(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> list[Row]:
    """Every statement that somebody asks about, with the first reason that it is no fact."""
    called, found = names(rehearsal), list(_delivered(rehearsal, relations))
    classes: dict[str, set[str]] = defaultdict(set)
    for statement in rehearsal.world.best():
        if statement.property == "P31":
            classes[statement.subject].add(str(statement.value))
    accepted = {stem: _with_subclasses(rehearsal, one.object_classes) for stem, one in relations.items()}
    best: dict[tuple[str, str, str], int] = {}
    for row, language in found:
        if row.key[2] == "text" and not row.reason:
            place = (row.topic, row.stem, row.key[0])
            best[place] = min(best.get(place, 9), LANGUAGES.index(language))
    return [
        row if row.reason else row._replace(reason=_reason(row, language, called, classes, accepted, best))
        for row, language in found
    ]


def _reason(
    row: Row,
    language: str,
    called: Mapping[str, str],
    classes: Mapping[str, set[str]],
    accepted: Mapping[str, set[str]],
    best: Mapping[tuple[str, str, str], int],
) -> str:
    subject, _, kind, value = row.key
    if kind == "text" and LANGUAGES.index(language) > best[row.topic, row.stem, subject]:
        return "other_language"
    if accepted[row.stem] and not accepted[row.stem] & classes.get(value, set()):
        return "wrong_class"
    return "no_label" if subject not in called or (kind == "entity" and value not in called) else ""


def _delivered(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> Iterator[tuple[Row, str]]:
    """What the query service would give: nothing in other languages than English and those for all."""
    values: dict[tuple[str, str], list[Value]] = defaultdict(list)
    for statement in rehearsal.world.current():
        values[statement.subject, statement.property].append(statement.value)
    for topic, members in rehearsal.members.items():
        for stem, relation in relations.items():
            for subject in members if relation.applies_to(topic) else ():
                for value in values.get((subject, relation.property), ()):
                    if not isinstance(value, Text) or value.language in LANGUAGES:
                        text, reason = _canonical(value, relation)
                        key = (subject, relation.property, relation.object, text)
                        yield Row(topic, stem, key, reason), value.language if isinstance(value, Text) else ""


def _canonical(value: Value, relation: Relation) -> tuple[str, str]:
    """The object as facts write it, and why it cannot be one."""
    if isinstance(value, Unknown):
        return "somevalue", "somevalue"
    match relation.object, value:
        case "entity", str():
            return value, ""
        case "date", Date(time=time, precision=precision):
            wanted = {"year": 9, "month": 10, "day": 11}[relation.precision]
            return (time, "precision_too_low") if precision < wanted else (time[: {9: 4, 10: 7, 11: 10}[wanted]], "")
        case "quantity", Amount(number=number, unit=unit):
            stated = None if unit == NO_UNIT else unit
            text = number.removeprefix("+") + (f" {stated}" if stated else "")
            return text, "" if stated == relation.unit else "unit_not_asked"
        case "text", Text(text=text):
            plain = " ".join(text.split())
            return plain, "" if plain else "empty"
    return str(value), "wrong_kind"


def _with_subclasses(rehearsal: Rehearsal, roots: tuple[str, ...]) -> set[str]:
    found = set(roots)
    while more := {qid for qid, item in rehearsal.world.items.items() if found & set(item.parents)} - found:
        found |= more
    return found
