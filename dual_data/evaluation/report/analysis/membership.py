"""Membership inference: can the facts to forget still be distinguished from facts that were never trained on?

The AUC has forget facts as positives. At 0.5 they look as likely as the held-out facts, which the model may know; so a
model that never saw the forget facts gives 0.5 only where it knows neither. To interpret an AUC, compare it with two
others on the same facts: before unlearning, and of the model retrained without the forget facts. Well below the latter,
the model was pushed past ignorance, which betrays the forget facts in the opposite way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dual_data.bootstrap import Interval, auc_interval
from dual_data.evaluation.metrics.membership import MEMBERSHIP_ATTACKS
from dual_data.evaluation.results import ItemRow, cluster_of

REFERENCE_RATIO = "reference_ratio"
"""The attack that also uses the base: the change of the mean log-probability. Where unlearning lowers it more for the
forget facts than for others, as it should, its AUC is below 0.5."""
FIXED = "loss"
"""The attack for verdicts, fixed in advance, since the strongest of several attacks is strongest partly by chance."""


def membership_aucs(forget: Sequence[ItemRow], holdout: Sequence[ItemRow]) -> dict[str, Interval]:
    """AUC of every attack on two sides that have facts, with intervals over subjects."""
    scores = {name: f"member_{name}" for name in MEMBERSHIP_ATTACKS}
    if forget[0]["scores"]["change_mean_log_probability"] is not None:
        scores[REFERENCE_RATIO] = "change_mean_log_probability"
    subjects = [[*map(cluster_of, side)] for side in (forget, holdout)]
    return {
        name: auc_interval(*([row["scores"][key] for row in side] for side in (forget, holdout)), *subjects)
        for name, key in scores.items()
    }


def over_unlearned(unlearned: Mapping[str, Interval], retrained: Mapping[str, Interval]) -> bool:
    """Whether the interval of the attack `FIXED` is wholly below the AUC of a model that never saw the forget facts.

    Both are on the same facts; False where one of them has no AUC.
    """
    return FIXED in unlearned and FIXED in retrained and unlearned[FIXED].high < retrained[FIXED].value
