"""python -m benchmarks.evaluation.study.published_logs: published scores beside those of trivial rules, as a table.

The logs, in `eval_logs` of the reference data, are of two follow-up runs on the published sets to forget.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import reference
from dual_data.bootstrap import SHARE, UNKNOWN, Interval, bootstrap_difference, bootstrap_mean
from dual_data.evaluation.metrics.chance import best_rule
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.rows.data import Item, read_split

SECTION = "forget_qa_rouge"
"""The part of a log on the facts to forget."""


class Explained(NamedTuple):
    """A model's ROUGE-L recall on a set, beside that of the best trivial rule."""

    facts: int
    rule: str
    model: Interval
    of_rule: Interval
    difference: Interval
    """The model's score minus the rule's, on the same facts."""
    right: Interval
    """The model's score where the rule's is at least a half."""
    wrong: Interval
    """The same elsewhere."""


def explained(items: Sequence[Item], log: Mapping[str, Any]) -> Explained:
    """The facts of a set that a log scores; intervals are over subjects. Logs hold the question within its prompt."""
    answered: dict[str, list[tuple[str, float]]] = {}
    for row in log[SECTION]["value_by_index"].values():
        answered.setdefault(row["ground_truth"], []).append((row["input"], row["rougeL_recall"]))
    scores = {
        item: next((score for prompt, score in answered.get(item.answer, ()) if item.question in prompt), None)
        for item in items
    }
    found = [item for item, score in scores.items() if score is not None]
    rows: Any = [
        {"question": item.question, "ground_truth": item.answer, "subject": item.subject, "relation": item.relation}
        for item in found
    ]
    rule, model, subjects = (
        best_rule(rows),
        np.array([scores[item] for item in found]),
        [item.subject for item in found],
    )

    def mean(chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Interval:
        of_chosen = [subjects[index] for index in np.flatnonzero(chosen)]
        return bootstrap_mean(model[chosen], of_chosen, SHARE) if of_chosen else UNKNOWN

    return Explained(
        len(found),
        rule.name,
        bootstrap_mean(model, subjects, SHARE),
        bootstrap_mean(rule.scores, subjects, SHARE),
        bootstrap_difference(model, rule.scores, subjects, SHARE),
        mean(rule.scores >= 0.5),
        mean(rule.scores < 0.5),
    )


def table(logs: Sequence[Path], splits: Path) -> Iterator[str]:
    """The lines of a Markdown table: every log, on the rare and on the popular facts."""
    yield "| log | set | facts | model | best rule | model less rule | where the rule is right | elsewhere |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for path in logs:
        log = json.loads(gzip.decompress(path.read_bytes()))
        for name in ("rare", "popular"):
            found = explained(read_split(splits / f"city_forget_{name}_5.parquet"), log)
            cells = [
                path.name.partition(".")[0],
                name,
                str(found.facts),
                shown(found.model),
                f"`{found.rule}` {shown(found.of_rule)}",
                *map(shown, (found.difference, found.right, found.wrong)),
            ]
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    if not (found := sorted((folder := reference("eval_logs")).glob("*.json.gz"))):
        raise SystemExit(f"{folder}: no logs; let DUAL_DATA_REFERENCE name the folder that holds eval_logs and duet")
    print("\n".join(table(found, reference("duet"))))
