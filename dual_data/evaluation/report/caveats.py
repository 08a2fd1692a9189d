"""What a reader must know before the scores: missing models, rows that sets share, answers that have no score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from dual_data.display import count
from dual_data.evaluation.report.document import Block, Points
from dual_data.evaluation.report.places import starts
from dual_data.evaluation.report.runs import Collection
from dual_data.evaluation.results import BASE, ItemRow, fact_of, read_result, unscorable


def caveats(collection: Collection) -> list[Block]:
    """Where a model before unlearning is missing, sets share rows, or ROUGE-L cannot score answers, by data."""
    sentences: list[str] = []
    for start in starts(collection):
        if not start.before:
            results = sum(bool(run.sets) for group in start.groups for run in group.runs)
            they = "it is" if results == 1 else "they are"
            sentences.append(
                f"{start.title}: there is no result before unlearning (method {BASE}) to compare "
                f"{count(results, 'result')} with, so {they} in the table of every cell alone. Run the grid again, or "
                "name the folder that has it too."
            )
    unscorable_answers: dict[str, dict[str, None]] = defaultdict(dict)
    for key, runs in sorted(collection.bases.items()):
        items = read_result(runs[0].path)["items"]
        sentences += _shared_rows(key.data, key.set, items)
        for name, rows in items.items():
            if number := unscorable(rows):
                text = f"{number} of {len(rows)} in {key.set if name == 'forget' else name}"
                unscorable_answers[key.data][text] = None
    instead = '"answers held" in the table below'
    forgotten = [runs[0].sets["forget"].scores["rougeL_recall_uni"] for runs in collection.bases.values()]
    if not all(np.isnan(scores).all() for scores in forgotten):
        instead += ' and "ROUGE-L in any script" under "Further scores"'
    for data, counts in unscorable_answers.items():
        sentences.append(
            f"{data}: answers without a letter from A to Z or a digit get a ROUGE-L recall of 0 whatever is generated: "
            f"{', '.join(counts)}. The scores to forget and to retain, the learning rates chosen by them and the "
            f"findings on ROUGE-L say nothing about these answers. Of the facts to forget, see instead {instead}."
        )
    return [Points(tuple(dict.fromkeys(sentences)))] if sentences else []


def _shared_rows(data: str, forget_set: str, items: Mapping[str, Sequence[ItemRow]]) -> list[str]:
    """Sentences on rows that are both in retain_train and in retain_eval, and on rows to forget that are in either."""

    def shared(name: str, other: str) -> int:
        """Number of rows of a set that another has too."""
        others = {fact_of(row) for row in items.get(other, ())}
        return sum(fact_of(row) in others for row in items.get(name, ()))

    sentences = []
    if common := shared("retain_eval", "retain_train"):
        sentences.append(
            f"{data}: of the {len(items['retain_eval'])} rows of retain_eval, {common} "
            f"{'is' if common == 1 else 'are'} in retain_train too, so the retain score is measured on training data, "
            "on which the learning rate is chosen too."
        )
    for name in ("retain_train", "retain_eval"):
        if common := shared("forget", name):
            sentences.append(
                f"{data}, {forget_set}: {count(common, 'row')} to forget {'is' if common == 1 else 'are'} in {name} "
                "too."
            )
    return sentences
