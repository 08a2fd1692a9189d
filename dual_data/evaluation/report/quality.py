"""Two aggregates after TOFU (Maini et al. 2024, arXiv 2401.06121): forget quality and model utility.

They are not TOFU's numbers. Its truth ratio is the mean probability of wrong answers written for the question over that
of a paraphrase of the right one; here wrong answers are those of other facts of the relation, their mean is geometric,
as open-unlearning takes it, and they are held against the answer itself. Its model utility is of three sets: facts that
unlearning was trained to keep, by the probability of the answer, and two whose questions offer options, by the
probability among them. Here the first are facts that unlearning was not trained on, the others those that a grid
measures, each among the same wrong answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.statistics import (
    Interval,
    harmonic_mean,
    item_weights,
    kolmogorov_smirnov,
    quantiles,
    seed_weights,
)

_REPLICATES = 1000


class ForgetQuality(NamedTuple):
    """Whether the truth ratios of forgotten facts could be those of a model that never saw them."""

    p_value: float
    """Near 1: they could."""
    distance: float
    """Largest distance between the two distribution functions."""
    facts: int


def forget_quality(unlearned: Sequence[ItemRow], never_seen: Sequence[ItemRow]) -> ForgetQuality | None:
    """Kolmogorov-Smirnov test of the truth ratios of the forget items of two models.

    `never_seen` are the items of the model that was tuned on everything but the forget facts. None without truth
    ratios, and where one of the two gave no number for an item: those that are left are no sample.
    """
    if any(row["scores"]["probability"] is None for row in (*unlearned, *never_seen)):
        return None
    one, two = (
        [row["scores"]["truth_ratio"] for row in rows if row["scores"]["truth_ratio"] is not None]
        for rows in (unlearned, never_seen)
    )
    if not one or not two:
        return None
    distance, p_value = kolmogorov_smirnov(one, two)
    return ForgetQuality(p_value, distance, len(one))


class Kept(NamedTuple):
    """Scores of a set that must be kept, [seeds, items] each; NaN where an item was not asked for one."""

    subjects: Sequence[Hashable]
    probability: ArrayLike
    recall: ArrayLike
    """ROUGE-L recall."""
    truth_ratio: ArrayLike


def model_utility(sets: Sequence[Kept]) -> Interval | None:
    """Harmonic mean of probability, ROUGE-L recall and max(0, 1 - truth ratio) over the sets that must be kept.

    Scores that no item has are left out; None where none is left. The interval is over seeds and subjects, as that of a
    mean; the seeds, of which each has measured everything, are drawn once for all, a set's subjects for its scores.
    """
    random = np.random.default_rng(0)
    exact: list[float] = []
    drawn: list[NDArray[np.float64]] = []
    seeds = seed_weights(len(np.atleast_2d(sets[0].probability)), random, _REPLICATES) if sets else np.empty(0)
    for one in sets:
        truth = np.maximum(0.0, 1 - np.asarray(one.truth_ratio, dtype=float))
        picked = item_weights(one.subjects, random, _REPLICATES)
        for values in (one.probability, one.recall, truth):
            table = np.atleast_2d(np.asarray(values, dtype=float))
            known = ~np.isnan(table)
            if not known.any():
                continue
            table = np.where(known, table, 0.0)
            sums, counts = (((seeds @ part) * picked).sum(1) for part in (table, known.astype(float)))
            exact.append(float(table.sum() / known.sum()))
            drawn.append(np.clip(sums / np.maximum(counts, 1.0), 0.0, 1.0))  # seeds can count less than nothing
    if not exact:
        return None
    draws = np.array([harmonic_mean(row) for row in np.stack(drawn, axis=1).tolist()])
    return Interval(harmonic_mean(exact), *quantiles(draws))
