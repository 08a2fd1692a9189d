"""JSON lines as TOFU's own data files have them, which most unlearning code reads: one file a split.

question, answer        what is trained and asked
paraphrased_question    a wording held out of training, where there is one; else the question
paraphrased_answer      another accepted answer, where there is one; else the answer
perturbed_answer        wrong answers of the same relation, and where it has too few, of others with objects of the same
                        kind; five, or fewer where the configuration has no more, but as many in every row of a file,
                        since TOFU's loader stacks them
answers, fact_id        every accepted answer, and the fact
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl
import polars.selectors as cs

from dual_data.ids import digest
from dual_data.matching import exact_answer, kind_of, normalise
from dual_data.released import WHOLE, Place, Release, read_table

PERTURBED = 5
USED = ("fact_id", "question", "answer", "answers", "relation", "paraphrases_test")


def tofu_json_files(release: Release, place: Place, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
    """Texts by path: CONFIG/SPLIT.json. `say` gets a line for each file with fewer wrong answers than five."""
    facts = read_table(place, release.file("facts", WHOLE))
    files = {}
    for config in release.recipes():
        splits = {split: read_table(place, file) for split, file in release.configs[config].items()}
        for split, found in rows(splits, facts).items():
            path = f"{config}/{split}.json"
            wrong = len(found[0]["perturbed_answer"])
            if wrong < PERTURBED:
                say(f"{path}: {wrong} wrong answers a row, not {PERTURBED}: {config} has no more for some of its rows")
            files[path] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    return files


def rows(splits: Mapping[str, pl.DataFrame], facts: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The rows of the splits of one configuration, in their order.

    Which wrong answers are taken is drawn by hash: from a ring of the relation's answers in the order of their hashes,
    the next ones after the place that the fact's hash gives. A fact has the same ones in every split of as many.
    """
    objects, used = _objects(facts), cs.by_name(*USED, require_all=False)
    found = {
        name: split.select(used).join(objects, on="fact_id", how="left", maintain_order="left").to_dicts()
        for name, split in splits.items()
    }
    asked = {row["fact_id"]: row for split in found.values() for row in split}
    of_relation = _rings((row["relation"], row["answer"]) for row in asked.values())
    of_kind = _rings((kind_of(row["kind"]), row["answer"]) for row in asked.values())
    right: dict[str, set[str]] = {}
    for row in asked.values():
        right.setdefault(row["question"], set()).update(_accepted(row), row["names"] or ())
    wrong = {
        fact: _wrong(row, right[row["question"]], (of_relation[row["relation"]], of_kind[kind_of(row["kind"])]))
        for fact, row in asked.items()
    }
    made = {}
    for name, split in found.items():
        most = min((len(wrong[row["fact_id"]]) for row in split), default=0)
        made[name] = [_row(row, wrong[row["fact_id"]][:most]) for row in split]
    return made


def _objects(facts: pl.DataFrame) -> pl.DataFrame:
    """Of every fact the kind of its object, and the names of all objects of its subject and relation: none is wrong,
    whether its own fact is asked or not."""
    pair = ["subject_qid", "relation"]
    names = pl.concat_list("object_label", pl.col("object_aliases").fill_null([])).explode()
    named = facts.group_by(pair).agg(names=names.drop_nulls())
    return facts.select("fact_id", *pair, kind="object_kind").join(named, on=pair).drop(pair)


def _rings(answers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """By relation or kind the answers that differ, in the order of their hashes."""
    rings: dict[str, dict[str, str]] = {}
    for key, answer in sorted(set(answers), key=lambda pair: digest("|".join(pair))):
        rings.setdefault(key, {}).setdefault(normalise(answer), answer)
    return {key: list(ring.values()) for key, ring in rings.items()}


def _wrong(row: dict[str, Any], right: set[str], rings: Iterable[list[str]]) -> list[str]:
    """At most five answers, from the first ring that still has some, which differ and are not right."""
    found: dict[str, str] = {}
    start, kind = int(digest(row["fact_id"]), 16), kind_of(row["kind"])
    for ring in rings:
        for step in range(len(ring)):
            if len(found) == PERTURBED:
                break
            answer = ring[(start + step) % len(ring)]
            # A date that is less precise than the right one ("1889") is not wrong either.
            stated = exact_answer(answer, right, kind) or exact_answer(row["answer"], [answer], kind)
            if not stated and not exact_answer(answer, right):
                found.setdefault(normalise(answer), answer)
    return list(found.values())


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
