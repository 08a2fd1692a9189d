"""Traps: what the stages have to tell apart in ranks, ends, kinds of values, languages, precisions, units and names."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dual_data.config import Relation
from dual_data.ids import digest
from tests.wiki.model import FOOT, METRE, NO_UNIT, Amount, Date, Other, Text, Unknown, Value

if TYPE_CHECKING:
    from benchmarks.rebuild.world import Rehearsal

TRAPPED = 0.24
"""Share of the pairs with one object that get one of the traps below."""
TRAPS = (
    "deprecated",  # a further object of deprecated rank
    "preferred",  # the object is preferred to a further one
    "ended",  # a further object that has ended
    "somevalue",
    "skolem",
    "novalue",
    "several",  # two objects of equal rank
    "only ended",
    "only deprecated",
    "preferred and ended",  # the best rank has ended, so the further object of normal rank does not count either
    "wrong kind",  # a lexeme in place of an item
    "no object",  # an unknown value in place of the object
)
SYLLABLES = "ba ce di fo gu ka le mi no pu ra se ti vo wu zy".split()  # noqa: SIM905


def word(seed: str) -> str:
    """A made-up name, which depends only on the seed; two seeds hardly ever have the same.

    >>> word("Q1")
    'Fodivonofofo'
    """
    return "".join(SYLLABLES[int(sign, 16)] for sign in digest(seed, 6)).capitalize()


def alias_of(qid: str) -> str:
    """The made-up alias of an item that has aliases: nothing in its label gives it away."""
    return word(f"{qid} alias")


def plant_statements(
    rehearsal: Rehearsal, pairs: Iterable[tuple[str, str, str, Sequence[str]]], rng: random.Random
) -> None:
    """Set a trap at some of the pairs: subject, property, its one object, and objects of other subjects."""
    places = {(s.subject, s.property, s.value): s for s in rehearsal.world.statements if isinstance(s.value, str)}
    for subject, property_id, target, others in pairs:
        draw = rng.random()
        other = next((qid for qid in others if qid != target), None)
        if draw >= TRAPPED or other is None:
            continue
        trap, stated = TRAPS[int(draw / TRAPPED * len(TRAPS))], places[subject, property_id, target]
        rehearsal.planted[trap] += 1
        if trap == "deprecated":
            rehearsal.say(subject, property_id, other, rank="deprecated")
        elif trap == "ended":
            rehearsal.say(subject, property_id, other, ended=True)
        elif trap == "several":
            rehearsal.say(subject, property_id, other)
        elif trap in ("preferred", "preferred and ended"):
            stated.rank, stated.ended = "preferred", trap == "preferred and ended"
            rehearsal.say(subject, property_id, other)
        elif trap in ("somevalue", "skolem"):
            rehearsal.say(subject, property_id, Unknown(skolem=trap == "skolem"))
        elif trap == "novalue":
            rehearsal.world.novalue.append((subject, property_id))
        elif trap == "only ended":
            stated.ended = True
        elif trap == "only deprecated":
            stated.rank = "deprecated"
        elif trap == "wrong kind":
            stated.value = Other(f"http://www.wikidata.org/entity/L{len(places)}")
        else:
            stated.value = Unknown()


def plant_literals(rehearsal: Rehearsal, relations: Mapping[str, Relation], rng: random.Random) -> None:
    """Dates, quantities and texts for some of the subjects that can have them: the published tables have only items.

    One in ten cannot be an answer as it is, or has another value beside it.
    """
    for stem, relation in relations.items():
        if relation.object == "entity":
            continue
        for topic, members in rehearsal.members.items():
            if relation.applies_to(topic):
                for qid in rng.sample(members, -(-len(members) // 8)):
                    rehearsal.planted[relation.object] += 1
                    trap, values = LITERALS[relation.object](relation, f"{qid} {stem}", rng)
                    if trap:
                        rehearsal.planted[trap] += 1
                    for value in values:
                        rehearsal.say(qid, relation.property, value)


def _dates(_: Relation, seed: str, rng: random.Random) -> tuple[str, list[Value]]:
    year, rest = rng.randrange(1600, 2000), f"{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T00:00:00Z"
    draw, day = rng.random(), Date(f"{year}-{rest}", 11)
    if draw < 0.05:
        return "precision_too_low", [day._replace(precision=rng.choice((7, 8)))]
    if draw < 0.07:
        return "precision_too_low", [day, Date(f"{year + 7}-{rest}", 8)]
    if draw < 0.10:
        return "two days of a year", [day, Date(f"{year}-12-30T00:00:00Z", 11)]
    if draw < 0.12:
        return "somevalue of a literal", [Unknown(skolem=int(digest(seed, 1), 16) % 2 == 0)]
    return "", [day._replace(precision=rng.choice((9, 10, 11)))]


def _quantities(relation: Relation, _: str, rng: random.Random) -> tuple[str, list[Value]]:
    amount = Amount(f"+{rng.randrange(2, 5000)}", relation.unit or NO_UNIT)
    wrong = amount._replace(unit=FOOT if relation.unit else METRE)
    draw = rng.random()
    if draw < 0.06:
        return "unit_not_asked", [wrong]
    if draw < 0.10:
        return "unit_not_asked", [amount, wrong]
    return "", [amount]


def _texts(_: Relation, seed: str, rng: random.Random) -> tuple[str, list[Value]]:
    text = word(seed)
    draw = rng.random()
    if draw < 0.06:
        return "other_language", [Text(text, "en"), Text(word(f"{seed} mul"), "mul")]
    if draw < 0.08:
        return "other_language", [Text(text, "mul"), Text(word(f"{seed} none"))]
    if draw < 0.10:
        return "text in French alone", [Text(text, "fr")]
    if draw < 0.12:
        return "empty", [Text(" ", "en")]
    if draw < 0.14:
        return "wrong kind of text", [seed.partition(" ")[0]]
    return "", [Text(text, rng.choice(("en", "mul", "")))]


LITERALS = {"date": _dates, "quantity": _quantities, "text": _texts}


def plant_names(rehearsal: Rehearsal, rng: random.Random) -> None:
    """Names: most in English, some only for all languages, some missing, some that are an id; and namesakes."""
    items = rehearsal.world.items
    for qid, item in items.items():
        draw, label = rng.random(), item.label or ""
        if draw < 0.03:
            item.label, item.mul = None, label
            rehearsal.planted["mul"] += 1
        elif draw < 0.034:
            item.label = None
            rehearsal.planted["no label"] += 1
        elif draw < 0.036:
            item.label = qid
            rehearsal.planted["id as label"] += 1
        if draw > 0.7:
            item.aliases = (f"{label} of old", f"The {label}", alias_of(qid))
    cities = [qid for qid in rehearsal.members.get("places_city", []) if items[qid].label not in (None, qid)]
    for place, (first, second) in enumerate(zip(cities[0::25], cities[1::25], strict=False)):
        items[second].label = items[first].label
        rehearsal.planted["namesakes"] += 1
        if place % 4 == 0:
            items[second].description = items[first].description
            rehearsal.planted["namesakes that nothing tells apart"] += 1
