"""Answers that only other wordings and prompts elicit; as a control, how often they elicit another fact's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from dual_data.evaluation.metrics.summary import fair_wordings
from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.rows.attack_prompts import REVERSE
from dual_data.ids import digest
from dual_data.text.matching import ObjectKind, contains_answer, may_be_right


def elicited(rows: Sequence[ItemRow]) -> list[tuple[bool, bool | None]]:
    """For every item, whether only another wording or prompt elicits its answer; and the same for a swapped answer.

    Only: the question itself does not. The swapped answer, which shows what comes by chance, is that of the next item
    of the relation, in order of hash, that has another answer; None where there is none. Wordings and attacks that
    contain the answer or ask for something else do not count.
    """
    facts = tuple(
        _Fact(
            row["id"],
            row["relation"],
            row["question"],
            (row["ground_truth"], *row["answers"]),
            row["kind"],
        )
        for row in rows
    )
    found = list[tuple[bool, bool | None]]()
    for row, other in zip(rows, _others(facts), strict=True):
        # Attacks that ask for the answer: the question is the first of them.
        entries, swapped = [entry for entry in fair_wordings(row) if entry.get("attack") != REVERSE], None
        if other is not None:
            swapped = _only_otherwise(
                [contains_answer(entry["generation"], other.accepted, other.kind) for entry in entries]
            )
        found.append((_only_otherwise([entry["scores"]["contains_answer"] for entry in entries]), swapped))
    return found


class _Fact(NamedTuple):
    """What the choice of another item depends on."""

    id: str
    relation: str
    question: str
    accepted: tuple[str, ...]
    kind: ObjectKind


@lru_cache(maxsize=16)
def _others(facts: tuple[_Fact, ...]) -> tuple[_Fact | None, ...]:
    """For each item, the next one with another answer.

    All runs on a set have the same; where few answers differ, it takes a pass over the relation for each item.
    """
    by_relation: dict[str, list[_Fact]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: digest(f"swapped|{fact.id}")):
        by_relation[fact.relation].append(fact)

    @cache
    def is_wrong(answers: tuple[str, ...], accepted: tuple[str, ...], kind: ObjectKind) -> bool:
        return not any(may_be_right(answer, accepted, kind) for answer in answers)

    others: dict[_Fact, _Fact | None] = {}
    for of_relation in by_relation.values():
        for position, fact in enumerate(of_relation):
            following = (of_relation[(position + step) % len(of_relation)] for step in range(1, len(of_relation)))
            others[fact] = next(
                (
                    other
                    for other in following
                    if other.question != fact.question and is_wrong(other.accepted, fact.accepted, fact.kind)
                ),
                None,
            )
    return tuple(others[fact] for fact in facts)


def _only_otherwise(hits: Sequence[Any]) -> bool:
    question, *otherwise = hits
    return not question and any(otherwise)
