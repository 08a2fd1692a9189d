"""Scores corrected for what trivial rules reach.

A rule that knows nothing can score highly: on the published sets, always answering "India" or repeating the subject's
name reaches half the score of a good model.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from dual_data.audit.baselines import baselines, rule_scores
from dual_data.audit.columns import standard
from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.rows.data import Item
from dual_data.statistics import Floats


def trivial_baselines(items: Sequence[Item]) -> dict[str, float]:
    """The audit's baselines of a set, by name, without those whose fields the items lack."""
    return baselines(_frame((item.question, item.answer, item.subject, item.relation) for item in items))


class Rule(NamedTuple):
    """A trivial rule."""

    name: str
    scores: Floats
    """Its score on every item."""


def best_rule(rows: Sequence[ItemRow]) -> Rule:
    """The trivial rule with the highest mean, which is the baseline.

    An item without the field that the rule needs gets the mean of the others.
    """
    frame = _frame((row["question"], row["ground_truth"], row["subject"], row["relation"]) for row in rows)
    scores = {column.name: column.to_numpy() for column in rule_scores(standard(frame).rows) if column.count()}
    name, best = max(scores.items(), key=lambda rule: float(np.nanmean(rule[1])))
    return Rule(name, np.where(np.isnan(best), np.nanmean(best), best))


def _frame(rows: Iterable[tuple[str, str, str, str]]) -> pl.DataFrame:
    names = ["question", "answer", "subject_label", "relation"]
    return pl.DataFrame(list(rows), schema=dict.fromkeys(names, pl.String), orient="row")


PERFECT = 1 - 1e-9
"""A baseline above it counts as 1: a mean of ones may be rounded to less."""


def chance_corrected(score: float, baseline: float) -> float | None:
    """(s - b) / (1 - b): 0 at the baseline, 1 at perfection, negative below; None where the baseline is perfect."""
    return None if baseline > PERFECT else (score - baseline) / (1 - baseline)
