"""Membership inference: can the facts to forget still be told from facts of like popularity that were never trained on?

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
    """AUC of every attack, with intervals over subjects; `holdout` is matched to `forget` by popularity first.

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


def matched_by_popularity(forget: Sequence[Row], holdout: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """As many rows of each side as the smaller has, paired by nearest popularity without replacement.

    Rows of the smaller side choose in order of popularity. Rows without popularity are kept as they come, when any row
    lacks it.
    """
    small, large = sorted((list(forget), list(holdout)), key=len)
    swapped = len(holdout) < len(forget)
    if any(row["popularity"] is None for row in (*small, *large)):
        kept = large[: len(small)]
    else:
        kept, free = [], sorted(large, key=lambda row: (row["popularity"], row["id"]))
        for row in sorted(small, key=lambda row: (row["popularity"], row["id"])):
            nearest = min(range(len(free)), key=lambda place: abs(free[place]["popularity"] - row["popularity"]))
            kept.append(free.pop(nearest))
    return (kept, small) if swapped else (small, kept)
