"""Balance: how far the rare and the popular split of a pair differ in what should not differ.

Balanced means that the standardised mean difference and the area under the ROC curve are within the audit's bounds,
each where it is defined; nothing else may be called balanced. The base model's log-probability says whether rare and
popular are compared at equal confidence.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from dual_data.audit.auc import auc
from dual_data.audit.pairs import LARGEST_DIFFERENCE, LARGEST_DISTANCE, features_of

SCHEMA = {
    "recipe": pl.String,
    "rare": pl.String,
    "popular": pl.String,
    "measure": pl.String,
    "rare_mean": pl.Float64,
    "popular_mean": pl.Float64,
    "difference": pl.Float64,
    "auc": pl.Float64,
    "balanced": pl.Boolean,
}
"""`difference` is the standardised mean difference: of the means, over the root of the mean variance."""


def measured(pool: pl.DataFrame) -> pl.DataFrame:
    """The columns that `compared` and the baselines need; answer_frequency is within the topic."""
    return pool.select(
        "fact_id",
        "relation",
        "subject_label",
        "answer",
        "knowledge",
        answer_frequency=pl.len().over("topic", pl.col("answer").str.to_lowercase()),
    )


def compared(rare: pl.DataFrame, popular: pl.DataFrame, models: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row per measure: means, standardised difference, area under the curve, and whether it is balanced."""
    rows, others = [], features_of(popular)
    for measure, feature in features_of(rare).items():
        values = (feature, others[measure])
        rows.append(_row(measure, values if feature.dtype.is_numeric() else None, auc(*values)))
    rows.append(_row("answer_frequency", (rare["answer_frequency"], popular["answer_frequency"]), None))
    for model in models:
        values = (_log_probability(rare, model), _log_probability(popular, model))
        rows.append(_row(f"log_probability of {model}", values, None))
    return rows


def _log_probability(rows: pl.DataFrame, model: str) -> pl.Series:
    """The canonical answers' log-probabilities by one model, one per fact; they do not depend on the probe's rule."""
    probes = rows.select("fact_id", "knowledge").explode("knowledge").unnest("knowledge").filter(model=model)
    return probes.unique("fact_id", keep="first", maintain_order=True)["log_probability"]


def _row(measure: str, values: tuple[pl.Series, pl.Series] | None, area: float | None) -> dict[str, Any]:
    means = tuple(_number(side.mean()) for side in values) if values else (None, None)
    difference = standardised_difference(*values) if values else None
    distance = None if area is None else area - 0.5
    within_bounds = [
        abs(value) <= bound
        for value, bound in ((difference, LARGEST_DIFFERENCE), (distance, LARGEST_DISTANCE))
        if value is not None
    ]
    return {
        "measure": measure,
        "rare_mean": means[0],
        "popular_mean": means[1],
        "difference": difference,
        "auc": area,
        "balanced": all(within_bounds) if within_bounds else None,
    }


def standardised_difference(rare: pl.Series, popular: pl.Series) -> float | None:
    """Popular minus rare mean over the root of the mean variance; 0 where both sides are the same constant.

    None with fewer than two values on a side, and where the sides are two different constants: the variance is 0.
    """
    if min(rare.count(), popular.count()) < 2:
        return None
    means = [_number(side.mean()) or 0.0 for side in (rare, popular)]
    variances = [_number(side.var()) or 0.0 for side in (rare, popular)]
    spread = math.sqrt(sum(variances) / 2)
    if spread == 0.0:
        return 0.0 if means[0] == means[1] else None
    return (means[1] - means[0]) / spread


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
