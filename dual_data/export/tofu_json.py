"""JSON lines as TOFU's own data files have them, which most unlearning code reads: one file a split.

question, answer        what is trained and asked
paraphrased_question    a wording held out of training, where there is one; else the question
paraphrased_answer      another accepted answer, where there is one; else the answer
perturbed_answer        up to five answers of other rows of the same relation, none of them accepted here
answers, fact_id        every accepted answer, and the fact
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import polars as pl

from dual_data.ids import digest
from dual_data.released import Place, Release, read_table

PERTURBED = 5


def tofu_json_files(release: Release, place: Place) -> dict[str, str]:
    """Texts by path: CONFIG/SPLIT.json."""
    return {
        f"{config}/{split}.json": "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in rows(read_table(place, file))
        )
        for config in release.recipes()
        for split, file in release.configs[config].items()
    }


def rows(split: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows of a split, in its order. Which other answers are taken is drawn by hash: from a ring of the relation's
    answers in the order of their hashes, the next ones after the place that the fact's hash gives."""
    answers: dict[str, list[str]] = {}
    for relation, answer in sorted(split.select("relation", "answer").unique().iter_rows(), key=_place):
        answers.setdefault(relation, []).append(answer)
    return [_row(row, answers[row["relation"]]) for row in split.iter_rows(named=True)]


def _place(pair: tuple[str, ...]) -> str:
    return digest("|".join(pair))


def _row(row: dict[str, Any], others: list[str]) -> dict[str, Any]:
    accepted = row.get("answers") or [row["answer"]]
    known = {answer.casefold() for answer in accepted}
    start = int(digest(row["fact_id"]), 16) % len(others)
    ring = itertools.chain(others[start:], others[:start])
    wrong = itertools.islice((answer for answer in ring if answer.casefold() not in known), PERTURBED)
    return {
        "question": row["question"],
        "answer": row["answer"],
        "paraphrased_question": next(iter(row.get("paraphrases_test") or []), row["question"]),
        "paraphrased_answer": accepted[1] if len(accepted) > 1 else row["answer"],
        "perturbed_answer": list(wrong),
        "answers": accepted,
        "fact_id": row["fact_id"],
    }
