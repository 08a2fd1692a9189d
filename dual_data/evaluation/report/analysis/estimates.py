"""Estimates of a score with their intervals, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from dual_data.audit.baselines import NAMES
from dual_data.bootstrap import SHARE, Interval, bootstrap_difference, bootstrap_mean, bootstrap_median
from dual_data.evaluation.report.analysis.runs import SCORES, Run, clusters, stack
from dual_data.statistics import Floats

NORMS = (
    "Gradient norm: before clipping, the median over all steps and seeds; its brackets hold the smallest and the "
    "largest norm, not a confidence interval."
)
"""Explains :func:`gradient_norms` in captions."""


TRIVIAL_RULE = f"the best of {len(NAMES)} short rules that know no fact"
"""What the trivial rule is, in captions: not the best that one can think of."""


def estimate(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Mean of a score over seeds and items, with its interval; UNKNOWN where a model gave no number."""
    return bootstrap_mean(stack(runs, name, score), clusters(runs, name), SCORES[score])


def median(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Median of a score over seeds and items, with its interval; UNKNOWN where a model gave no number."""
    return bootstrap_median(stack(runs, name, score), clusters(runs, name))


def trivial_rule(before: Sequence[Run]) -> Interval:
    """Score of `TRIVIAL_RULE` on the forget facts; the interval does not account for its choice."""
    return rule_score(before[0].rule.scores, clusters(before, "forget"))


def rule_score(scores: Floats, subjects: Sequence[str]) -> Interval:
    """Mean score of a rule, on the scale of a model's: both are shares of the same facts.

    On a scale without such ends, a rule that scores 0 would seem surer than a model that does.
    """
    return bootstrap_mean(scores, subjects, SCORES["rougeL_recall"])


def above_rule(before: Sequence[Run]) -> Interval:
    """How much more models before unlearning score on the forget facts than the trivial rule, in the same draws."""
    scores = stack(before, "forget", "rougeL_recall")
    return bootstrap_difference(scores, before[0].rule.scores, clusters(before, "forget"), SHARE)


def shown(interval: Interval, digits: int = 3, *, small: bool = False) -> str:
    """An estimate with its interval; a dash where the model gave no number.

    With `small`, a value that would read as 0 and is not has two significant digits, as do its ends.
    """
    is_small = small and 0 < abs(interval.value) < 0.5 * 10**-digits
    value, low, high = (f"{end:{'z.2g' if is_small else f'z.{digits}f'}}" for end in interval[:3])
    return "-" if math.isnan(interval.value) else f"{value} [{low}, {high}]"


def shown_rank(interval: Interval) -> str:
    """A median of ranks with its interval, whole where it is a whole number."""
    return shown(interval, 1).replace(".0", "")


def gradient_norms(runs: Iterable[Run]) -> str:
    """Median of the gradient norms over all steps of some runs, with the least and the largest in brackets."""
    norms = [norm for run in runs for norm in run.norms]
    return f"{np.median(norms):.3g} [{min(norms):.3g}, {max(norms):.3g}]" if norms else "-"


def p_value(value: float | None) -> str:
    """A p-value in three digits; a dash where nothing was tested."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
