"""Estimates of a score, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.audit.baselines import NAMES
from dual_data.bootstrap import SHARE, Interval, bootstrap_difference, bootstrap_mean, bootstrap_median
from dual_data.evaluation.report.analysis.runs import SCORES, Run, clusters, stack
from dual_data.statistics import Floats

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
