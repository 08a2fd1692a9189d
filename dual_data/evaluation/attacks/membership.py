"""Membership inference: can the facts to forget still be told from facts that were never trained on?

Where the popularity of all is known the two sides are matched by it first; where it is not, they are unmatched.
AUC with forget facts as positives: 0.5 is what a model that never saw them gives, above it the model still shows them,
well below it the model was pushed past ignorance and betrays them the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dual_data.evaluation.metrics.membership import ATTACKS
from dual_data.evaluation.statistics import Interval, auc_interval

Row = Mapping[str, Any]
REFERENCE_RATIO = "reference_ratio"
"""The attack that also looks at the base: the change of the mean log-probability."""


def membership_aucs(forget: Sequence[Row], holdout: Sequence[Row], *, seed: int = 0) -> dict[str, Interval]:
    """AUC of every attack, with intervals over subjects; `holdout` is matched to `forget` by popularity where known.

    Rows are items as :func:`dual_data.evaluation.measure.measure` makes them. Raises ValueError for an empty side.
    """
    if not forget or not holdout:
        raise ValueError("membership inference needs forget and held-out items")
    forget, holdout = matched_by_popularity(forget, holdout)
    scores = {name: f"member_{name}" for name in ATTACKS}
    if forget[0]["scores"]["change_mean_log_probability"] is not None:
        scores[REFERENCE_RATIO] = "change_mean_log_probability"
    subjects = [[row["subject"] or row["id"] for row in side] for side in (forget, holdout)]
    return {
        name: auc_interval(
            [row["scores"][key] for row in forget], [row["scores"][key] for row in holdout], *subjects, seed=seed
        )
        for name, key in scores.items()
    }


def popularity_known(forget: Sequence[Row], holdout: Sequence[Row]) -> bool:
    """Whether every row has a popularity, so that the two sides can be matched by it."""
    return all(row["popularity"] is not None for row in (*forget, *holdout))


def matched_by_popularity(forget: Sequence[Row], holdout: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """As many rows of each side as the smaller has, paired by nearest popularity without replacement.

    Rows of the smaller side choose in order of popularity. Both sides are whole where any row lacks it: the first rows
    of a file in the order of popularity would be no sample of it.
    """
    if not popularity_known(forget, holdout):
        return list(forget), list(holdout)
    small, large = sorted((list(forget), list(holdout)), key=len)
    kept, free = [], sorted(large, key=lambda row: (row["popularity"], row["id"]))
    for row in sorted(small, key=lambda row: (row["popularity"], row["id"])):
        nearest = min(range(len(free)), key=lambda place: abs(free[place]["popularity"] - row["popularity"]))
        kept.append(free.pop(nearest))
    return (kept, small) if len(holdout) < len(forget) else (small, kept)
