"""Scores corrected for what trivial rules reach.

A model that forgot nothing and a rule that knows nothing can score alike: on the published sets always answering
"India", or repeating the subject's name, reaches half of what a good model does.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from dual_data.audit.baselines import baselines, rule_scores
from dual_data.audit.columns import standard
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.statistics import Floats


def trivial_baselines(items: Sequence[Item]) -> dict[str, float]:
    """The audit's baselines of a set, by name; those that the items' fields cannot tell are absent."""
    return baselines(_frame(items))


def trivial_scores(items: Sequence[Item]) -> dict[str, Floats]:
    """Of every item, what the trivial rules score, by name: a baseline is the mean. NaN where a field is missing."""
    scores = rule_scores(standard(_frame(items)).rows)
    return {column.name: column.to_numpy() for column in scores if column.count()}


def best_rule(items: Sequence[Item]) -> Floats:
    """Of every item, the score of the rule that does best on all of them: the baseline is its mean.

    Where the rule says nothing of an item, for want of a field, it has the mean of the others.
    """
    best = max(trivial_scores(items).values(), key=lambda values: float(np.nanmean(values)))
    return np.where(np.isnan(best), np.nanmean(best), best)


def _frame(items: Sequence[Item]) -> pl.DataFrame:
    rows = [(item.question, item.answer, item.subject or None, item.relation or None) for item in items]
    names = ["question", "answer", "subject_label", "relation"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def chance_corrected(score: float, baseline: float) -> float | None:
    """(s - b) / (1 - b): 0 at the baseline, 1 at perfection, negative below; None where the baseline is perfect."""
    return None if baseline >= 1 else (score - baseline) / (1 - baseline)
