"""JSON lines with the keys of TOFU's data files, which most unlearning code reads: one file for each split.

question, answer        what is trained and asked
paraphrased_question    a wording held out of training if there is one, else the question
paraphrased_answer      another accepted answer if there is one, else the answer
perturbed_answer        wrong answers of the same relation, and if it has too few, of relations with the same kind of
                        object; five, or fewer where the configuration has no more, but equally many in every row of a
                        file, since TOFU's loader stacks them
answers, fact_id        every accepted answer, and the fact
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl
import polars.selectors as cs

from dual_data.ids import digest
from dual_data.released import WHOLE, Place, Release, read_table
from dual_data.text.matching import kind_of, may_be_right, normalise

PERTURBED = 5
USED = ("fact_id", "question", "answer", "answers", "relation", "paraphrases_test")


def tofu_json_files(release: Release, place: Place, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """Texts by path: CONFIG/SPLIT.json. `say` gets a line for each file with fewer wrong answers than five."""
    facts = read_table(place, release.file("facts", WHOLE))
    files = {}
    for config in release.recipes():
        splits = {split: read_table(place, file) for split, file in release.configs[config].items()}
        for split, split_rows in rows(splits, facts).items():
            path = f"{config}/{split}.json"
            wrong = len(split_rows[0]["perturbed_answer"])
            if wrong < PERTURBED:
                say(f"{path}: {wrong} wrong answers per row, not {PERTURBED}: some rows of {config} have no more")
            files[path] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in split_rows)
    return files


def rows(splits: Mapping[str, pl.DataFrame], facts: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The rows of the splits of one configuration, in their order.

    Wrong answers are chosen by hash: the relation's answers form a ring in the order of their hashes, and those that
    follow the position given by the fact's hash are taken. So a fact has the same ones in all splits with equally many.
    """
    objects, used = _objects(facts), cs.by_name(*USED, require_all=False)
    rows_by_split = {
        name: split.select(used).join(objects, on="fact_id", how="left", maintain_order="left").to_dicts()
        for name, split in splits.items()
    }
    row_by_fact = {row["fact_id"]: row for split_rows in rows_by_split.values() for row in split_rows}
    of_relation = _rings((row["relation"], row["answer"]) for row in row_by_fact.values())
    of_kind = _rings((kind_of(row["kind"]), row["answer"]) for row in row_by_fact.values())
    right_answers: dict[str, set[str]] = {}
    for row in row_by_fact.values():
        right_answers.setdefault(row["question"], set()).update(_accepted(row), row["names"] or ())
    wrong_answers = {
        fact: _wrong(row, right_answers[row["question"]], (of_relation[row["relation"]], of_kind[kind_of(row["kind"])]))
        for fact, row in row_by_fact.items()
    }
    perturbed = {}
    for name, split_rows in rows_by_split.items():
        most = min((len(wrong_answers[row["fact_id"]]) for row in split_rows), default=0)
        perturbed[name] = [_row(row, wrong_answers[row["fact_id"]][:most]) for row in split_rows]
    return perturbed


def _objects(facts: pl.DataFrame) -> pl.DataFrame:
    """For each fact the kind of its object, and the names of all objects of its subject and relation: none of these is
    a wrong answer, whether its own fact is asked or not."""
    pair = ["subject_qid", "relation"]
    names = pl.concat_list("object_label", pl.col("object_aliases").fill_null([])).explode()
    names_by_pair = facts.group_by(pair).agg(names=names.drop_nulls())
    return facts.select("fact_id", *pair, kind="object_kind").join(names_by_pair, on=pair).drop(pair)


def _rings(answers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The distinct answers by relation or kind, in the order of their hashes."""
    rings: dict[str, dict[str, str]] = {}
    for key, answer in sorted(set(answers), key=lambda pair: digest("|".join(pair))):
        rings.setdefault(key, {}).setdefault(normalise(answer), answer)
    return {key: list(ring.values()) for key, ring in rings.items()}


def _wrong(row: dict[str, Any], right_answers: set[str], rings: Iterable[list[str]]) -> list[str]:
    """At most five distinct wrong answers, taken from the first ring, then from the next."""
    answers: dict[str, str] = {}
    start, kind = int(digest(row["fact_id"]), 16), kind_of(row["kind"])
    for ring in rings:
        for step in range(len(ring)):
            if len(answers) == PERTURBED:
                return list(answers.values())
            answer = ring[(start + step) % len(ring)]
            if not may_be_right(answer, right_answers, kind):
                answers.setdefault(normalise(answer), answer)
    return list(answers.values())


def _accepted(row: dict[str, Any]) -> list[str]:
    return row.get("answers") or [row["answer"]]


def _row(row: dict[str, Any], wrong: list[str]) -> dict[str, Any]:
    accepted = _accepted(row)
    return {
        "question": row["question"],
        "answer": row["answer"],
        "paraphrased_question": next(iter(row.get("paraphrases_test") or []), row["question"]),
        "paraphrased_answer": accepted[1] if len(accepted) > 1 else row["answer"],
        "perturbed_answer": wrong,
        "answers": accepted,
        "fact_id": row["fact_id"],
    }
