"""Scores of answers in the words in which the model gave them before unlearning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import (
    ANY,
    SHARE,
    UNIT,
    UNKNOWN,
    Interval,
    bootstrap_difference,
    bootstrap_function,
    bootstrap_mean,
    share_ends,
)
from dual_data.evaluation.report.analysis.runs import Run, answered_before, before_of, clusters, stack
from dual_data.statistics import Floats

_MIN_LOST = 10
"""Least number of answers that are no longer given, over all seeds, of which a share is computed."""


class InOwnWords(NamedTuple):
    """Scores of the facts of a set that every model before unlearning answered."""

    facts: int
    held: Interval
    begun: Interval
    likeliest: Interval
    left: Interval
    """Of the facts that the generations no longer answer, the share whose answer is still the likeliest; UNKNOWN for
    fewer than ten."""
    change: Interval


def in_own_words(runs: Sequence[Run], before: Sequence[Run], name: str) -> InOwnWords | None:
    """Scores in the words of the models before unlearning; None where they answered no fact, or it was not measured."""
    known = answered_before(runs, before, name)
    tables = {score: stack(runs, name, f"own_words_{score}")[:, known] for score in ("begun", "likeliest")}
    if not known.any() or np.isnan(tables["likeliest"]).all():
        return None
    subjects = list(compress(clusters(runs, name), known))
    held = stack(runs, name, "contains_answer")[:, known]
    before_runs = [before_of(before, run) for run in runs]
    log_p = [stack(group, name, "own_words_log_probability")[:, known] for group in (runs, before_runs)]
    return InOwnWords(
        facts=len(subjects),
        held=bootstrap_mean(held, subjects, SHARE),
        begun=bootstrap_mean(tables["begun"], subjects, SHARE),
        likeliest=bootstrap_mean(tables["likeliest"], subjects, SHARE),
        left=_left(1 - held, tables["likeliest"], subjects),
        change=bootstrap_difference(log_p[0], log_p[1], subjects, ANY),
    )


def _left(lost: Floats, likeliest: Floats, subjects: Sequence[str]) -> Interval:
    if lost.sum() < _MIN_LOST or np.isnan(likeliest).any():
        return UNKNOWN
    subjects_lost = len({subject for subject, is_lost in zip(subjects, lost.sum(0) > 0, strict=True) if is_lost})
    value = float((lost * likeliest).sum() / lost.sum())
    if value in (0, 1):  # all draws are alike, but for those that lack the lost facts
        return Interval(value, *share_ends(value, value, subjects_lost))

    def share(both: Floats, all_lost: Floats) -> Floats:
        # Weights of seeds can be negative, and a draw can lack lost facts.
        return np.clip(both / np.maximum(all_lost, 1 / lost.size), 0, 1)

    ends = bootstrap_function(share, (lost * likeliest, lost), subjects, UNIT)[1:3]
    return Interval(value, *share_ends(*ends, subjects_lost))
