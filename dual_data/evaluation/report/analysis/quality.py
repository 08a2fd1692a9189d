"""Two aggregates after TOFU (Maini et al. 2024, arXiv 2401.06121): forget quality and model utility.

They are not TOFU's numbers. TOFU's truth ratio is the mean probability of wrong answers written for the question over
that of a paraphrase of the right one; here wrong answers are those of other facts of the relation, their mean is
geometric, as in open-unlearning, and the denominator is the probability of the answer itself. TOFU's model utility is
over three sets: facts that unlearning was trained to keep, by the probability of the answer, and two whose questions
offer options, by the probability among these. Here the first set is facts that unlearning was not trained on, and the
others are those that a grid measures, by the probability of the answer among the same wrong answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import UNKNOWN, Interval, item_weights, quantiles, seed_weights
from dual_data.evaluation.results import ItemRow, all_have_numbers
from dual_data.statistics import Floats, harmonic_mean, kolmogorov_smirnov

_REPLICATES = 1000


class ForgetQuality(NamedTuple):
    """Test whether the truth ratios of the forget facts are distributed as those of a model that never saw them."""

    p_value: float
    """Near 1: no difference from that model."""
    distance: float
    """Largest distance between the two distribution functions."""


def forget_quality(unlearned: Sequence[ItemRow], never_seen: Sequence[ItemRow]) -> ForgetQuality | None:
    """Kolmogorov-Smirnov test of the truth ratios of the forget items of two models.

    `never_seen` are the items of the model that was trained on everything except the forget facts. None without truth
    ratios, and where a model gave no number for an item, since the remaining items would be a biased sample.
    """
    if not all_have_numbers((*unlearned, *never_seen)):
        return None
    left, right = (
        [row["scores"]["truth_ratio"] for row in rows if row["scores"]["truth_ratio"] is not None]
        for rows in (unlearned, never_seen)
    )
    if not left or not right:
        return None
    distance, p_value = kolmogorov_smirnov(left, right)
    return ForgetQuality(p_value, distance)


class RetainScores(NamedTuple):
    """Scores of a set to retain, [seeds, items] each; NaN where a score was not measured for an item."""

    subjects: Sequence[Hashable]
    probability: Floats
    recall: Floats
    """ROUGE-L recall."""
    truth_ratio: Floats


def model_utility(sets: Sequence[RetainScores]) -> Interval:
    """Harmonic mean of probability, ROUGE-L recall and max(0, 1 - truth ratio) over the sets to retain.

    Scores that no item has are left out; UNKNOWN for no sets. The interval is over seeds and subjects, as for a
    mean. Seeds are drawn once for all sets, since each measured all of them; subjects once for all scores of a set.
    """
    if not sets:
        return UNKNOWN
    means, draws_by_score = list[float](), list[Floats]()
    weights_by_seed = seed_weights(len(sets[0].probability), np.random.default_rng(0), _REPLICATES)
    for scores in sets:
        subject_weights = item_weights(scores.subjects, _REPLICATES)
        for values in (scores.probability, scores.recall, np.maximum(0.0, 1 - scores.truth_ratio)):
            defined = ~np.isnan(values)
            if not defined.any():
                continue
            table = np.where(defined, values, 0.0)
            # Where a draw has no subject with this score, it is left out there, as it is where no item has it.
            missing = subject_weights @ defined.any(0) == 0
            sums, counts = (
                ((weights_by_seed @ array) * subject_weights).sum(1) for array in (table, defined.astype(float))
            )
            means.append(float(table.sum() / defined.sum()))
            ratios = np.where(missing, np.nan, sums / np.maximum(counts, 1.0))
            draws_by_score.append(np.clip(ratios, 0.0, 1.0))  # weights of seeds can be negative
    by_draw = (row[~np.isnan(row)].tolist() for row in np.stack(draws_by_score, axis=1))
    draws = np.array([harmonic_mean(row) for row in by_draw if row])
    return Interval(harmonic_mean(means), *quantiles(draws))
