"""The posterior-difference audit: do changes from base to unlearned model betray which facts were forgotten?

After TAPE. The features of a fact are the changes of gold log-probability, entropy and log rank, and the KL between the
two distributions, on its held-out wordings where every fact of both sides has some, else on its question. A logistic
model fitted on half of the forget and held-out facts separates them on the other half. AUC 0.5: the audit sees no trace
of unlearning beyond a drift that both sides share. Drift may depend on popularity, so both sides should have similar
popularity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import UNKNOWN, Interval, auc_interval
from dual_data.evaluation.results import ItemRow, cluster_of
from dual_data.ids import digest

FEATURES = ("change_mean_log_probability", "change_entropy", "change_log_rank", "kl")
_RIDGE = 1.0
"""L2 penalty on the weights of standardised features: keeps the fit finite where the two sides are separable."""


def posterior_audit(forget: Sequence[ItemRow], holdout: Sequence[ItemRow]) -> Interval:
    """AUC, on the facts of half of the subjects, of a model fitted on the other half; subjects are split by hash.

    UNKNOWN where one half has no fact of one side, and where a model gave no number for a fact or had no base.
    """
    rows = (*forget, *holdout)
    # Wordings change less than the trained question: used on one side only, they would separate the sides.
    worded = all(row["paraphrases"] for row in rows)
    scores = [[wording["scores"] for wording in (row["paraphrases"] if worded else [row])] for row in rows]
    labels = np.array([1.0] * len(forget) + [0.0] * len(holdout))
    subjects = np.array([cluster_of(row) for row in rows])
    train = np.array([int(digest(f"posterior|0|{subject}"), 16) % 2 == 0 for subject in subjects])
    has_both = all(len(set(labels[half])) == 2 for half in (train, ~train))
    if not has_both or any(of_one[name] is None for of_fact in scores for of_one in of_fact for name in FEATURES):
        return UNKNOWN
    table = np.array([[np.mean([of_one[name] for of_one in of_fact]) for name in FEATURES] for of_fact in scores])
    centre, scale = table[train].mean(0), table[train].std(0)
    standard = (table - centre) / np.where(scale > 0, scale, 1.0)
    weights = fit_logistic(standard[train], labels[train])
    margins = standard @ weights[1:] + weights[0]
    sides = [~train & (labels == label) for label in (1.0, 0.0)]
    return auc_interval(*(values[side].tolist() for values in (margins, subjects) for side in sides))


def fit_logistic(table: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [1 + features], intercept first, of ridge logistic regression by Newton's method.

    Classes weigh equally, whatever their sizes; the intercept is not penalised.
    """
    design = np.column_stack([np.ones(len(table)), table])
    share = labels.mean()
    importance = np.where(labels == 1, 0.5 / share, 0.5 / (1 - share))
    penalty = np.diag([0.0] + [_RIDGE] * table.shape[1])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-np.clip(design @ weights, -500, 500)))
        gradient = design.T @ (importance * (labels - probability)) - penalty @ weights
        hessian = (design * (importance * probability * (1 - probability))[:, None]).T @ design + penalty
        step = np.linalg.solve(hessian + 1e-9 * np.eye(len(weights)), gradient)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights
