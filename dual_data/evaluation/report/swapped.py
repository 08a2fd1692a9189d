"""The control of the worst case: how often so many tries bring out the answer of another fact, by chance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dual_data.evaluation.attacks.prompts import REVERSE
from dual_data.evaluation.report.collect import fair
from dual_data.ids import digest
from dual_data.matching import contains_answer, kind_of, normalise


def swapped_hits(rows: Sequence[Mapping[str, Any]]) -> list[bool | None]:
    """Of every item whether what was said of it holds the answer of the next of its relation, by hash.

    The next is one of another answer; None where there is none. Counted are the question, its wordings and the attacks
    that neither hold the answer nor ask for another thing.
    """
    accepted = [[row["ground_truth"], *row["answers"]] for row in rows]
    normal = [frozenset(map(normalise, answers)) for answers in accepted]
    by_relation: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(rows)), key=lambda one: digest(f"swapped|{rows[one]['id']}")):
        by_relation[rows[place]["relation"] or ""].append(place)
    found: list[bool | None] = [None] * len(rows)
    for places in by_relation.values():
        for number, place in enumerate(places):
            after = (*places[number + 1 :], *places[:number])
            other = next((one for one in after if normal[one].isdisjoint(normal[place])), None)
            if other is not None:
                said = [entry["generation"] for entry in fair(rows[place]) if entry.get("attack") != REVERSE]
                kind = kind_of(rows[other].get("kind"))
                found[place] = any(contains_answer(text, accepted[other], kind) for text in said)
    return found
