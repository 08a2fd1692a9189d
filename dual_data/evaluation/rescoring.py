"""Recomputes scores from saved generations, which are kept apart from scores: a new metric needs no GPU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.logs import Log
from dual_data.evaluation.metrics.text import text_scores
from dual_data.text.rouge import is_scorable

AGGREGATES = ("rougeL_recall", "rougeL_f1", "rouge1_recall")
"""The scores that `agg_value` may be the mean of: a log does not say which one."""


class Rescored(NamedTuple):
    """The recomputed scores of a log."""

    items: int
    max_abs_difference: float | None
    """Largest absolute difference from the logged scores and means; 0.0 means equal to the last bit, and None that the
    log has none."""
    differences: Mapping[str, float]
    """The largest absolute difference by score."""
    by_section: Mapping[str, float]
    """The same by section, without sections that have no logged score."""
    means: Mapping[str, Mapping[str, float]]
    """Recomputed mean of every text score by section, including scores that the log lacks."""
    counts: Mapping[str, int]
    """Number of items by section."""
    aggregates: Mapping[str, str]
    """By section, the score of `AGGREGATES` whose mean is nearest to `agg_value`."""
    unscorable: int
    """Items whose answer is in a script that ROUGE-L scores 0, whatever was generated."""
    left_alone: tuple[str, ...]
    """Scores and sections of the log that cannot be computed from generations."""
    lines: list[dict[str, float]]
    """Recomputed scores of each line of a .jsonl file, with its number; empty for other logs, which hold scores."""


def rescore(log: Log) -> Rescored:
    """Recompute every score of a log from its generations and compare it with the logged one; means as `summary`."""
    differences: dict[str, float] = {}
    by_section: dict[str, float] = {}
    means: dict[str, dict[str, list[float]]] = {}
    left_alone = set(log.other_sections)
    lines: list[dict[str, float]] = []

    def compare(name: str, section: str, recomputed: float, logged: float) -> None:
        distance = _distance(recomputed, logged)
        differences[name] = max(differences.get(name, 0.0), distance)
        by_section[section] = max(by_section.get(section, 0.0), distance)

    for item in log.items:
        recomputed = text_scores(item.generation, item.answer, item.answers, item.kind)
        if item.line:
            lines.append({"line": item.line, **recomputed})
        for name, value in recomputed.items():
            means.setdefault(item.section, {}).setdefault(name, []).append(value)
        for name, logged in item.scores.items():
            if name in recomputed:
                compare(name, item.section, recomputed[name], logged)
            else:
                left_alone.add(name)
    for wording in log.wordings:
        recomputed = text_scores(wording.generation, wording.answer, wording.answers, wording.kind)
        for name, logged in wording.scores.items():
            compare(name, wording.section, recomputed[name], logged)
    for section, recomputed_mean, logged in log.means:
        compare("summary", section, recomputed_mean, logged)
    averaged = {
        section: {name: float(np.mean(values)) for name, values in columns.items()}
        for section, columns in means.items()
    }
    aggregates: dict[str, str] = {}
    for section, logged in log.aggregates.items():
        distances = {name: _distance(averaged[section][name], logged) for name in AGGREGATES}
        aggregates[section] = min(distances, key=distances.__getitem__)
        compare("agg_value", section, averaged[section][aggregates[section]], logged)
    largest = max(differences.values(), default=None)
    counts = Counter(item.section for item in log.items)
    unscorable = sum(not is_scorable(item.answer) for item in log.items)
    return Rescored(
        len(log.items),
        largest,
        differences,
        by_section,
        averaged,
        counts,
        aggregates,
        unscorable,
        tuple(sorted(left_alone)),
        lines,
    )


def _distance(recomputed: float, logged: float) -> float:
    return abs(recomputed - logged) if math.isfinite(logged) else math.inf
