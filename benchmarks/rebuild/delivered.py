"""What the query service would return about the world, and what of it is rejected: plain Python over the statements."""

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
"""In order of preference: a pair's texts are those in the first of them for which it has any."""
_ID = re.compile(r"Q[1-9][0-9]*")


class Row(NamedTuple):
    """A current, best-rank statement, for one topic and one relation that ask for it."""

    topic: str
    stem: str
    key: Key
    reason: str
    """Why it is rejected; empty for a fact."""


def names(rehearsal: Rehearsal) -> dict[str, str]:
    """The name of each item that has one: English first, then the name for all languages; never an id."""
    name_of = {}
    for qid, item in rehearsal.world.items.items():
        label = next((text for text in (item.label, item.mul) if text and not _ID.fullmatch(text)), None)
        if label:
            name_of[qid] = " ".join(label.split())
    return name_of


def rows(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> list[Row]:
    """Every statement that a relation asks for, with the first reason to reject it."""
    name_of, delivered = names(rehearsal), list(_delivered(rehearsal, relations))
    classes: dict[str, set[str]] = defaultdict(set)
    for statement in rehearsal.world.best():
        if statement.property == "P31":
            classes[statement.subject].add(str(statement.value))
    accepted = {stem: _with_subclasses(rehearsal, relation.object_classes) for stem, relation in relations.items()}
    best: dict[tuple[str, str, str], int] = {}
    for row, language in delivered:
        if row.key[2] == "text" and not row.reason:
            place = (row.topic, row.stem, row.key[0])
            best[place] = min(best.get(place, 9), LANGUAGES.index(language))
    return [
        row if row.reason else row._replace(reason=_reason(row, language, name_of, classes, accepted, best, relations))
        for row, language in delivered
    ]


def _reason(
    row: Row,
    language: str,
    name_of: Mapping[str, str],
    classes: Mapping[str, set[str]],
    accepted: Mapping[str, set[str]],
    best: Mapping[tuple[str, str, str], int],
    relations: Mapping[str, Relation],
) -> str:
    subject, _, kind, value = row.key
    asks_who = relations[row.stem].questions.canonical.startswith("Who ")
    if asks_who and name_of.get(value) in ("anonymous", "unknown"):
        return "somevalue"
    if kind == "text" and LANGUAGES.index(language) > best[row.topic, row.stem, subject]:
        return "other_language"
    if accepted[row.stem] and not accepted[row.stem] & classes.get(value, set()):
        return "wrong_class"
    return "no_label" if subject not in name_of or (kind == "entity" and value not in name_of) else ""


def _delivered(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> Iterator[tuple[Row, str]]:
    """What the query service would return, with its language: texts only in English, for all languages, or in none."""
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
    """The object as it is written in facts, and the reason to reject it or an empty text."""
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
    classes = set(roots)
    while subclasses := {qid for qid, item in rehearsal.world.items.items() if classes & set(item.parents)} - classes:
        classes |= subclasses
    return classes
