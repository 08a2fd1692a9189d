"""Two results compared item by item."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from dual_data.errors import InputError
from dual_data.evaluation.report.collect import collect_one
from dual_data.evaluation.statistics import Interval, bootstrap_difference, holm

COMPARED = ("rougeL_recall", "contains_answer", "probability", "mean_log_probability", "minilm_cosine", "worst")
"""Scores that are compared; `worst` is whether any wording or fair prompt got the answer out."""


class Row(NamedTuple):
    """One score of one set."""

    set: str
    score: str
    items: int
    first: float
    second: float
    difference: Interval
    corrected: float
    """p-value after Holm's correction over all rows."""


def compare_results(first: Path, second: Path) -> list[Row]:
    """Every score of every set that both measured, first minus second.

    Scores that one of the two lacks for some item are left out. Raises InputError where no set is common, or a common
    set has other items.
    """
    one, two = collect_one(first), collect_one(second)
    common = [name for name in one.sets if name in two.sets]
    if not common:
        raise InputError(f"{first} and {second} measured no set in common")
    found: list[tuple[str, str, int, float, float, Interval]] = []
    for name in common:
        left, right = one.sets[name], two.sets[name]
        if set(left.ids) != set(right.ids):
            raise InputError(f"{first} and {second} measured different items of {name}: compare results of one dataset")
        order = [right.ids.index(identifier) for identifier in left.ids]
        for score in COMPARED:
            a = left.worst if score == "worst" else left.scores[score]
            b = (right.worst if score == "worst" else right.scores[score])[order]
            if np.isnan(a).any() or np.isnan(b).any():
                continue
            difference = bootstrap_difference(a, b, left.subjects)
            found.append((name, score, len(a), float(a.mean()), float(b.mean()), difference))
    corrected = holm([row[5].p_value or 0.0 for row in found])
    return [Row(*row, value) for row, value in zip(found, corrected, strict=True)]
