"""What a reader must know of the data before the scores: a missing model before unlearning, rows that sets share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dual_data.display import count
from dual_data.evaluation.report.document import Block, Points
from dual_data.evaluation.report.places import starts
from dual_data.evaluation.report.runs import Collection
from dual_data.evaluation.results import BASE, ItemRow, fact_of, read_result


def caveats(collection: Collection) -> list[Block]:
    """Where the model before unlearning is missing, and where sets that should be disjoint share rows, by data."""
    sentences: dict[str, None] = {}
    for start in starts(collection):
        if not start.before:
            results = sum(len(group.runs) for group in start.groups)
            they = "it is" if results == 1 else "they are"
            sentence = (
                f"{start.title}: there is no result before unlearning (method {BASE}) to compare "
                f"{count(results, 'result')} with, so {they} in the table of every cell alone. Run the grid again, or "
                "name the folder that has it too."
            )
            sentences[sentence] = None
    for key, runs in sorted(collection.bases.items()):
        items = read_result(runs[0].path)["items"]
        sentences |= dict.fromkeys(_shared_rows(key.data, key.set, items))
    return [Points(tuple(sentences))] if sentences else []


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
