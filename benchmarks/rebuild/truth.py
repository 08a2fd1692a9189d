"""What must come out, told from the world by plain Python: neither SPARQL nor the pipeline's own code has a part in it.

Where the pipeline may choose (which of two mirrored facts it keeps, whether a hint tells namesakes apart), the truth
says so instead of guessing: such facts are `unsure`, counted apart, and never many.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.rebuild.world import Rehearsal
from dual_data.config import Relation
from dual_data.ids import digest
from dual_data.words import words
from tests.wiki.model import Amount, Date, Unknown, Value

Key = tuple[str, str, str, str]
"""subject, property, kind of object, value."""
LONGEST, LEAK = 10, 0.5
_ID = re.compile(r"Q[1-9][0-9]*")


class Truth(NamedTuple):
    """Sets of keys."""

    facts: set[Key]
    """Every current, best-rank statement that somebody asks about and whose two sides have names."""
    mirrored: dict[Key, set[Key]]
    """Facts that are stated from the other side as well; one of each such group is to be kept."""
    survive: set[Key]
    """Facts with one object that can be asked fairly."""
    unsure: set[Key]
    """Facts of which the wording decides: namesakes, quantities, mirrored pairs, answers that share "the" with what is
    asked."""


def names(rehearsal: Rehearsal) -> dict[str, str]:
    """What a reader calls each item that has a name: English first, then the name for all languages; never an id."""
    found = {}
    for qid, item in rehearsal.world.items.items():
        label = next((text for text in (item.label, item.mul) if text and not _ID.fullmatch(text)), None)
        if label:
            found[qid] = " ".join(label.split())
    return found


def current(rehearsal: Rehearsal) -> dict[tuple[str, str], list[Value]]:
    """Values of every pair, unknown ones left out."""
    found: dict[tuple[str, str], list[Value]] = defaultdict(list)
    for statement in rehearsal.world.current():
        if (
            not isinstance(statement.value, Unknown)
            and statement.value not in found[statement.subject, statement.property]
        ):
            found[statement.subject, statement.property].append(statement.value)
    return found


def truth(rehearsal: Rehearsal, relations: Mapping[str, Relation]) -> Truth:
    """The facts, and those that the matched recipe may choose from."""
    called, values = names(rehearsal), current(rehearsal)
    stated = _stated(rehearsal, relations, called, values)
    mirrored = _mirrored(set(stated), relations)
    taken: dict[str, int] = defaultdict(int)
    for qid in {key[0] for key in stated}:
        taken[called[qid].casefold()] += 1
    survive: set[Key] = set()
    unsure: set[Key] = set()
    for key, by in stated.items():
        subject, property_id, kind, value = key
        if len(values[subject, property_id]) > 1 or all(one.unique != "one" for one in by):
            continue
        article = False
        if kind == "entity":
            fair = [_fair(called[subject], called[value], one) for one in by]
            if subject == value or not any(fair):
                continue
            article = any(_fair(f"the {called[subject]}", called[value], one) not in fair for one in by)
        doubtful = article or taken[called[subject].casefold()] > 1 or key in mirrored or len(by) > 1
        (unsure if doubtful or kind == "quantity" else survive).add(key)
    return Truth(set(stated), mirrored, survive, unsure)


def _stated(
    rehearsal: Rehearsal,
    relations: Mapping[str, Relation],
    called: Mapping[str, str],
    values: Mapping[tuple[str, str], list[Value]],
) -> dict[Key, list[Relation]]:
    """Every fact with the relations that ask about it: its sides have names, its object a class that is accepted."""
    classes = {
        subject: set(map(str, found)) for (subject, property_id), found in values.items() if property_id == "P31"
    }
    stated: dict[Key, list[Relation]] = defaultdict(list)
    for topic, members in rehearsal.members.items():
        for relation in (one for one in relations.values() if one.applies_to(topic)):
            accepted = _with_subclasses(rehearsal, relation.object_classes)
            for subject in (qid for qid in members if qid in called):
                for value in values.get((subject, relation.property), ()):
                    key: Key = (subject, relation.property, relation.object, _canonical(value, relation))
                    right = not accepted or bool(accepted & classes.get(key[3], set()))
                    if right and (relation.object != "entity" or key[3] in called):
                        stated[key].append(relation)
    return stated


def _with_subclasses(rehearsal: Rehearsal, roots: tuple[str, ...]) -> set[str]:
    found = set(roots)
    while more := {qid for qid, item in rehearsal.world.items.items() if found & set(item.parents)} - found:
        found |= more
    return found


def knows(subject: str, property_id: str, links: int) -> bool:
    """Whether the rehearsal's model knows a fact: the more its subject is linked, the likelier."""
    share = min(0.9, 0.3 + 0.06 * links.bit_length())
    return int(digest(f"{subject} {property_id} knows", 8), 16) / 16**8 < share


def _fair(subject: str, answer: str, relation: Relation) -> bool:
    """Not too long, not the subject, and less than half of its words stand in the question."""
    asked = {*words(relation.questions.canonical.replace("{subject}", " ")), *words(subject)}
    told = words(answer)
    leak = sum(word in asked for word in told) / len(told) if told else 0.0
    return len(answer.split()) <= LONGEST and subject.lower() != answer.lower() and leak < LEAK


def _mirrored(facts: set[Key], relations: Mapping[str, Relation]) -> dict[Key, set[Key]]:
    turned: dict[str, set[str]] = defaultdict(set)
    for relation in relations.values():
        if relation.symmetric:
            turned[relation.property].add(relation.property)
        for other in relation.inverse:
            turned[relation.property].add(other)
            turned[other].add(relation.property)
    found: dict[Key, set[Key]] = {}
    for key in facts:
        subject, property_id, kind, value = key
        others = ({(value, other, kind, subject) for other in turned[property_id]} - {key}) & facts
        # Two properties with one inverse say the same as well.
        same = {middle for other in turned[property_id] for middle in turned[other]} - {property_id}
        others |= {(subject, other, kind, value) for other in same} & facts
        if others:
            found[key] = others
    return found


def _canonical(value: Value, relation: Relation) -> str:
    if isinstance(value, Date):
        return value.time[: {"year": 4, "month": 7, "day": 10}[relation.precision]]
    if isinstance(value, Amount):
        number = value.number.removeprefix("+")
        return f"{number} {relation.unit}" if relation.unit else number
    return str(value)
