"""What other wordings and prompts bring out, and its control: how often they bring out another fact's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dual_data.evaluation.report.collect import fair
from dual_data.evaluation.results import ItemRow, Wording
from dual_data.evaluation.rows.attack_prompts import REVERSE
from dual_data.ids import digest
from dual_data.matching import contains_answer, kind_of, normalise


def brought_out(rows: Sequence[ItemRow]) -> list[tuple[bool, bool | None]]:
    """Of every item whether its answer comes with another wording or prompt though not with the question, and whether
    that of the next item of its relation does, by hash.

    The next is one of another answer; None where there is none. Counted are the wordings and the attacks that neither
    hold the answer nor ask for another thing.
    """
    accepted = [[row["ground_truth"], *row["answers"]] for row in rows]
    normal = [frozenset(map(normalise, answers)) for answers in accepted]
    by_relation: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(rows)), key=lambda one: digest(f"swapped|{rows[one]['id']}")):
        by_relation[rows[place]["relation"] or ""].append(place)
    others: list[bool | None] = [None] * len(rows)
    for places in by_relation.values():
        for number, place in enumerate(places):
            after = (*places[number + 1 :], *places[:number])
            other = next((one for one in after if normal[one].isdisjoint(normal[place])), None)
            if other is not None:
                kind = kind_of(rows[other].get("kind"))
                others[place] = _only_else(
                    [contains_answer(entry["generation"], accepted[other], kind) for entry in _asked(rows[place])]
                )
    own = [_only_else([entry["scores"]["contains_answer"] for entry in _asked(row)]) for row in rows]
    return list(zip(own, others, strict=True))


def _asked(row: ItemRow) -> list[Wording]:
    """The question and, after it, all else that asks for its answer."""
    return [entry for entry in fair(row) if entry.get("attack") != REVERSE]


def _only_else(hits: Sequence[Any]) -> bool:
    question, *else_asked = hits
    return not question and any(else_asked)
