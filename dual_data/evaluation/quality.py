"""Two aggregates of TOFU (Maini et al. 2024, arXiv 2401.06121): forget quality and model utility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dual_data.evaluation.statistics import harmonic_mean, kolmogorov_smirnov

UTILITY_SCORES = ("probability", "rougeL_recall", "truth_ratio_retain")
"""What model utility is the harmonic mean of, for every set that must be kept."""


class ForgetQuality(NamedTuple):
    """Whether the truth ratios of forgotten facts could be those of a model that never saw them."""

    p_value: float
    """Near 1: they could. TOFU calls this the forget quality."""
    distance: float
    """Largest distance between the two distribution functions."""
    facts: int


def forget_quality(
    unlearned: Sequence[Mapping[str, Any]], never_seen: Sequence[Mapping[str, Any]]
) -> ForgetQuality | None:
    """Kolmogorov-Smirnov test of the truth ratios of the forget items of two models; None without truth ratios.

    `never_seen` are the items of the model that was tuned on everything but the forget facts.
    """
    one, two = (
        [row["scores"]["truth_ratio"] for row in rows if row["scores"]["truth_ratio"] is not None]
        for rows in (unlearned, never_seen)
    )
    if not one or not two:
        return None
    distance, p_value = kolmogorov_smirnov(one, two)
    return ForgetQuality(p_value, distance, len(one))


def model_utility(summaries: Mapping[str, Mapping[str, float | None]], sets: Sequence[str]) -> float | None:
    """Harmonic mean of probability, ROUGE-L recall and max(0, 1 - truth ratio) over the sets that must be kept.

    Sets that the cell does not have are left out; None where none is left.
    """
    values = [
        value
        for name in sets
        if name in summaries
        for score in UTILITY_SCORES
        if (value := summaries[name].get(score)) is not None
    ]
    return harmonic_mean(values) if values else None
