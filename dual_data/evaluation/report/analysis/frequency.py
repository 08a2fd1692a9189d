"""The frequency analysis: does forgetting depend on popularity, and do likelihoods and answers agree about it?

After "Not All Data Are Unlearned Equally" (Krishnan et al. 2025, arXiv 2504.05058): forgetting by decile of popularity,
measured as the drop of the answer's probability and as the drop in the share of generations that contain the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import UNIT, Interval, bootstrap_correlation, bootstrap_mean
from dual_data.evaluation.results import ItemRow, all_have_numbers, cluster_of
from dual_data.statistics import Floats, spearman

_MAX_PARTS = 10
_MIN_FACTS = 5
"""Least number of facts in a part: sets that are small, or have few popularities, have fewer than ten parts."""


class Part(NamedTuple):
    """Facts of similar popularity."""

    probability_drop: Interval
    """Base minus unlearned model."""
    answer_drop: Interval
    """The same for the share of generations that contain the answer."""


class Frequency(NamedTuple):
    """Forgetting against popularity."""

    facts: int
    """Number of facts that have a popularity."""
    parts: tuple[Part, ...]
    by_probability: Interval
    """Rank correlation of popularity and probability drop."""
    by_answer: Interval
    """Rank correlation of popularity and answer drop."""
    agreement: Interval
    """Rank correlation of the two drops over facts."""
    disagreeing: int
    """Number of facts whose answer was lost though half or more of its probability is left, or the reverse."""


def frequency(before: Sequence[ItemRow], after: Sequence[ItemRow]) -> Frequency | None:
    """Compare the same items of the base and of the unlearned model.

    None where no fact has a popularity, and where a model gave no number for one that has.
    """
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if new["popularity"] is not None]
    if not pairs or not all_have_numbers(row for pair in pairs for row in pair):
        return None
    pairs.sort(key=lambda pair: (pair[1]["popularity"], pair[1]["id"]))
    popularity = np.array([new["popularity"] for _, new in pairs], dtype=float)
    probability_drop, answer_drop = (
        np.array([old["scores"][score] - new["scores"][score] for old, new in pairs])
        for score in ("probability", "contains_answer")
    )
    subjects = [cluster_of(new) for _, new in pairs]
    parts = []
    for indices in _parts(popularity):
        names = [subjects[index] for index in indices]
        drops = (bootstrap_mean(drop[indices], names, UNIT.differences) for drop in (probability_drop, answer_drop))
        parts.append(Part(*drops))

    def correlation(first: Floats, second: Floats) -> Interval:
        return bootstrap_correlation(lambda chosen: spearman(first[chosen], second[chosen]), subjects)

    return Frequency(
        len(pairs),
        tuple(parts),
        correlation(popularity, probability_drop),
        correlation(popularity, answer_drop),
        correlation(probability_drop, answer_drop),
        sum(_disagree(old["scores"], new["scores"]) for old, new in pairs),
    )


def _parts(popularity: Floats) -> list[NDArray[np.intp]]:
    """Indices of ascending popularities in parts, as equal in size as facts of equal popularity in one part allow."""
    count = len(popularity)
    starts = np.flatnonzero(np.diff(popularity)) + 1  # where another popularity begins
    equal = np.array_split(np.arange(count), min(_MAX_PARTS, max(1, count // _MIN_FACTS)))
    cuts = [0]
    for part in equal[1:] if len(starts) else ():
        cut = int(starts[np.abs(starts - part[0]).argmin()])
        if cuts[-1] + _MIN_FACTS <= cut <= count - _MIN_FACTS:
            cuts.append(cut)
    return np.split(np.arange(count), cuts[1:])


def _disagree(old: Mapping[str, float], new: Mapping[str, float]) -> bool:
    if not old["contains_answer"]:
        return False
    keeps_probability = new["probability"] >= 0.5 * old["probability"]
    return keeps_probability != bool(new["contains_answer"])
