"""Scores corrected for what trivial rules reach.

A model that forgot nothing and a rule that knows nothing can score alike: on the published sets always answering
"India", or repeating the subject's name, reaches half of what a good model does.
"""

from collections.abc import Sequence

import polars as pl

from dual_data.audit.baselines import baselines
from dual_data.evaluation.data import Item


def trivial_baselines(items: Sequence[Item]) -> dict[str, float]:
    """The audit's baselines of a set, by name; those that the items' fields cannot tell are absent."""
    rows = [(item.question, item.answer, item.subject or None, item.relation or None) for item in items]
    names = ["question", "answer", "subject_label", "relation"]
    return baselines(pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row"))


def chance_corrected(score: float, baseline: float) -> float | None:
    """(s - b) / (1 - b): 0 at the baseline, 1 at perfection, negative below; None where the baseline is perfect."""
    return None if baseline >= 1 else (score - baseline) / (1 - baseline)
