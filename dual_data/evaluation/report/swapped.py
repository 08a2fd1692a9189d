"""Answers that only other wordings and prompts elicit; as a control, how often they elicit another fact's answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from dual_data.evaluation.metrics.summary import fair_wordings
from dual_data.evaluation.results import ItemRow, Wording
from dual_data.evaluation.rows.attack_prompts import REVERSE
from dual_data.ids import digest
from dual_data.matching import contains_answer, kind_of, may_be_right


def elicited(rows: Sequence[ItemRow]) -> list[tuple[bool, bool | None]]:
    """For every item, whether another wording or prompt elicits its answer though the question does not; and the same
    for the answer of the next item of its relation, in order of hash.

    The next item must have another answer; None where there is none. Only wordings and attacks count that neither
    contain the answer nor ask for something else.
    """
    accepted = [[row["ground_truth"], *row["answers"]] for row in rows]
    kinds = [kind_of(row.get("kind")) for row in rows]

    def is_wrong(partner: int, index: int) -> bool:
        """Whether the answers of one item are none of the other's."""
        return rows[partner]["question"] != rows[index]["question"] and not any(
            may_be_right(answer, accepted[index], kinds[index]) for answer in accepted[partner]
        )

    by_relation: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(rows)), key=lambda index: digest(f"swapped|{rows[index]['id']}")):
        by_relation[rows[index]["relation"]].append(index)
    swapped: list[bool | None] = [None] * len(rows)
    for indices in by_relation.values():
        for position, index in enumerate(indices):
            candidates = (*indices[position + 1 :], *indices[:position])
            partner = next((other for other in candidates if is_wrong(other, index)), None)
            if partner is not None:
                swapped[index] = _only_otherwise(
                    [
                        contains_answer(entry["generation"], accepted[partner], kinds[partner])
                        for entry in _fact_questions(rows[index])
                    ]
                )
    own = [_only_otherwise([entry["scores"]["contains_answer"] for entry in _fact_questions(row)]) for row in rows]
    return list(zip(own, swapped, strict=True))


def _fact_questions(row: ItemRow) -> list[Wording]:
    """The question and then all other wordings and attacks that ask for its answer."""
    return [entry for entry in fair_wordings(row) if entry.get("attack") != REVERSE]


def _only_otherwise(hits: Sequence[Any]) -> bool:
    question, *otherwise = hits
    return not question and any(otherwise)
