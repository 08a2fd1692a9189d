"""Two results compared item by item, or the results of several seeds a side, paired by seed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.errors import InputError
from dual_data.evaluation.report.collect import PANEL_SCORES, Run, collect_side, setting, stack, stack_panel
from dual_data.evaluation.report.pairs import same_seeds
from dual_data.evaluation.report.panel import PANEL
from dual_data.evaluation.statistics import Interval, bootstrap_difference, holm

COMPARED = ("rougeL_recall", "contains_answer", "probability", "mean_log_probability", "minilm_cosine", "worst")
"""Scores that are compared; `worst` is whether any wording or fair prompt got the answer out."""


class Row(NamedTuple):
    """One score of one set."""

    set: str
    score: str
    items: int
    seeds: int
    """Seeds that the two sides are paired over."""
    first: float
    second: float
    difference: Interval
    corrected: float
    """p-value after Holm's correction over all rows."""


class Side(NamedTuple):
    """What is compared."""

    cell: Mapping[str, Any]
    """Coordinates of its results but their seed."""
    seeds: tuple[int, ...]


class Comparison(NamedTuple):
    """Two sides and how they differ."""

    first: Side
    second: Side
    rows: list[Row]


def compare_results(first: Path, second: Path, *, seeds: bool = False) -> Comparison:
    """Every score of every set that both measured, and of the utility panel if it is the same, first minus second.

    Each side is a result or a folder of results of one setting that differ in seed; with `seeds`, of a result all
    those beside it that differ from it in seed alone. The sides are paired over the seeds that both have, a model
    before unlearning that has one result with every seed of the other. Scores that one of the two lacks for some
    item are left out. Raises InputError where no seed or set is common, or a common set has other items.
    """
    one, two = _paired(collect_side(first, seeds=seeds), collect_side(second, seeds=seeds), (first, second))
    common = [name for name in one[0].sets if all(name in run.sets for run in (*one, *two))]
    if not common:
        raise InputError(f"{first} and {second} measured no set in common")
    found: list[Row] = []
    for name in common:
        ids = one[0].sets[name].ids
        if any(set(run.sets[name].ids) != set(ids) for run in (*one, *two)):
            raise InputError(f"{first} and {second} measured different items of {name}: compare results of one dataset")
        for score in COMPARED:
            a, b = (np.concatenate([_ordered(run, name, score, ids) for run in side]) for side in (one, two))
            if np.isnan(a).any() or np.isnan(b).any():
                continue
            found.append(_row(name, score, a, b, one[0].sets[name].subjects))
    found += _panel(one, two)
    corrected = holm([row.corrected for row in found])
    rows = [row._replace(corrected=value) for row, value in zip(found, corrected, strict=True)]
    return Comparison(_side(one), _side(two), rows)


def _side(runs: Sequence[Run]) -> Side:
    return Side(setting(runs[0].cell), tuple(run.seed for run in runs))


def _row(name: str, score: str, first: np.ndarray, second: np.ndarray, clusters: Sequence[Hashable]) -> Row:
    """Two sides [seeds, items] compared, the p-value not corrected yet."""
    difference = bootstrap_difference(first, second, clusters)
    seeds, means = max(len(first), len(second)), (float(first.mean()), float(second.mean()))
    return Row(name, score, first.shape[1], seeds, *means, difference, difference.p_value or 0.0)


def _panel(first: list[Run], second: list[Run]) -> list[Row]:
    """The utility panel, its questions and texts drawn; nothing where the sides were not asked the same."""
    hashes = {run.panel.hash if run.panel is not None else None for run in (*first, *second)}
    if None in hashes or len(hashes) > 1:
        return []
    found = []
    for score, name in PANEL_SCORES.items():
        a, b = stack_panel(first, score), stack_panel(second, score)
        if a.size and not np.isnan(a).any() and not np.isnan(b).any():
            found.append(_row(PANEL, name, a, b, range(a.shape[1])))
    return found


def _paired(first: list[Run], second: list[Run], names: tuple[Path, Path]) -> tuple[list[Run], list[Run]]:
    # Two single results are asked for as they are; the pretrained model is the same before every seed.
    if len(first) == len(second) == 1 or any(len(side) == 1 and not side[0].lr for side in (first, second)):
        return first, second
    found = same_seeds(first, second)
    if found is None:
        of = [", ".join(str(run.seed) for run in side) for side in (first, second)]
        raise InputError(f"{names[0]} has the seeds {of[0]} and {names[1]} {of[1]}: none to pair them over")
    return found


def _ordered(run: Run, name: str, score: str, ids: Sequence[str]) -> np.ndarray:
    """A score [1, items] in the order of `ids`."""
    places = {identifier: place for place, identifier in enumerate(run.sets[name].ids)}
    return stack([run], name, score)[:, [places[identifier] for identifier in ids]]
