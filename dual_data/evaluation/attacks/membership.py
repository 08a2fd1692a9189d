"""Membership inference: can the facts to forget still be told from facts that were never trained on?

AUC with forget facts as positives. At 0.5 they look as likely as the held-out ones, which the model may know: so it is
what a model that never saw them gives only where it knows neither. What a number means is said by two others on the
same facts: the AUC before unlearning, and that of the model retrained without the forget facts. Well below the latter
the model was pushed past ignorance and betrays them the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dual_data.evaluation.metrics.membership import ATTACKS
from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.statistics import Interval, auc_interval

REFERENCE_RATIO = "reference_ratio"
"""The attack that also looks at the base: the change of the mean log-probability. Where unlearning lowers that of the
forget facts more than of others, as it should, its AUC is below 0.5."""
FIXED = "loss"
"""The attack that verdicts rest on: one that is named before, since the strongest of several is so by chance too."""


def membership_aucs(forget: Sequence[ItemRow], holdout: Sequence[ItemRow]) -> dict[str, Interval]:
    """AUC of every attack, with intervals over subjects. Raises ValueError for an empty side."""
    if not forget or not holdout:
        raise ValueError("membership inference needs forget and held-out items")
    scores = {name: f"member_{name}" for name in ATTACKS}
    if forget[0]["scores"]["change_mean_log_probability"] is not None:
        scores[REFERENCE_RATIO] = "change_mean_log_probability"
    subjects = [[row["subject"] or row["id"] for row in side] for side in (forget, holdout)]
    return {
        name: auc_interval(*([row["scores"][key] for row in side] for side in (forget, holdout)), *subjects)
        for name, key in scores.items()
    }


def over_unlearned(unlearned: Mapping[str, Interval], retrained: Mapping[str, Interval]) -> bool:
    """Whether the interval of `FIXED` lies wholly below the AUC of a model that never saw the forget facts.

    Both are of the same facts; False where one of the two has no AUC.
    """
    return FIXED in unlearned and FIXED in retrained and unlearned[FIXED].high < retrained[FIXED].value
