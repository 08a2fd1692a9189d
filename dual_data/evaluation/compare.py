"""Compares two results item by item, or two sides with several seeds each, paired by seed."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.bootstrap import Interval, Scale, bootstrap_difference
from dual_data.errors import InputError
from dual_data.evaluation.grid.conflicts import differing_settings
from dual_data.evaluation.report.analysis.collect import collect_side
from dual_data.evaluation.report.analysis.runs import PANEL, PANEL_SCORES, SCORES, Run, same_seeds, stack_panel
from dual_data.evaluation.sides import setting, side_files
from dual_data.statistics import holm

OWN_WORDS = "own_words_likeliest"
COMPARED = (
    "rougeL_recall", "contains_answer", "probability", "mean_log_probability", OWN_WORDS, "minilm_cosine", "worst",
)  # fmt: skip
"""Scores that are compared; `worst` is whether any wording or fair prompt elicits the answer. OWN_WORDS is of the facts
that the models before unlearning answered, all others of all facts."""


class Row(NamedTuple):
    """One score of one set."""

    set: str
    score: str
    items: int
    seeds: int
    """Number of seeds that the two sides are paired over."""
    first: float
    second: float
    difference: Interval
    corrected: float
    """p-value after Holm's correction over all rows."""


class Side(NamedTuple):
    """One side of a comparison."""

    cell: Mapping[str, Any]
    """Coordinates of its results except the seed."""
    seeds: tuple[int, ...]
    stopped: Mapping[int, str]
    """Why training stopped early, by the seeds for which it did."""


class Comparison(NamedTuple):
    """Two sides and how they differ."""

    first: Side
    second: Side
    differing: Mapping[str, tuple[Any, Any]]
    """Settings that differ though no coordinate tells, such as `options.beta`, with the values of both sides."""
    rows: list[Row]


def compare_results(first: Path, second: Path) -> Comparison:
    """Differences, first minus second, in every score of every common set, and of the utility panel if it is the same.

    `sides.side_files` says what a side can be. The sides are paired over their common seeds; a single result before
    unlearning is paired with every seed of the other side. A score that is missing for any item is left out, and so is
    `worst` of a set that was asked in one wording. Raises InputError where there is no common seed or set, or where a
    common set has different items.
    """
    left, right = (collect_side(side_files(side)) for side in (first, second))
    left, right = _paired(left, right, (first, second))
    common = [name for name in left[0].sets if all(name in run.sets for run in (*left, *right))]
    if not common:
        raise InputError(f"{first} and {second} measured no set in common")
    rows: list[Row] = []
    for name in common:
        ids, asked = left[0].sets[name].ids, _questions(left[0], name)
        if any(_questions(run, name) != asked for run in (*left, *right)):
            raise InputError(f"{first} and {second} measured different items of {name}: {_why(left[0], right[0])}")
        rephrased = any(run.sets[name].rephrased for run in (*left, *right))
        orders = [[_order(run.sets[name].ids, ids) for run in side] for side in (left, right)]
        for score in COMPARED:
            if score == "worst" and not rephrased:  # It is `contains_answer`, which would be tested twice.
                continue
            a, b = (
                np.stack([run.sets[name].scores[score][order] for run, order in zip(side, of_side, strict=True)])
                for side, of_side in zip((left, right), orders, strict=True)
            )
            has_numbers = np.all(~np.isnan(np.concatenate([a, b])), axis=0)
            if not has_numbers.any() or (score != OWN_WORDS and not has_numbers.all()):
                continue
            subjects = list(itertools.compress(left[0].sets[name].subjects, has_numbers))
            rows.append(_row(name, score, SCORES[score], a[:, has_numbers], b[:, has_numbers], subjects))
    rows += _panel(left, right)
    corrected = holm([row.corrected for row in rows])
    rows = [row._replace(corrected=value) for row, value in zip(rows, corrected, strict=True)]
    return Comparison(_side(left), _side(right), _differing(left[0], right[0]), rows)


def _questions(run: Run, name: str) -> dict[str, str]:
    """The question of each item of a set by id: a table may give ids only within its file, so others may have the same.

    Not the answers, which a stage may have swapped.
    """
    items = run.sets[name]
    return {identifier: question for identifier, (question, _) in zip(items.ids, items.facts, strict=True)}


def _why(first: Run, second: Run) -> str:
    """Why two results measured different items, and what to compare."""
    sides = (first, second)
    (data, other_data), (name, other_name) = ([run.cell[key] for run in sides] for key in ("data", "set"))
    if data != other_data:
        return f"A is of the data {data}, B of {other_data}: compare results of one dataset"
    if name == other_name:
        return "rows or the grid's limit changed in between: run both in one grid"
    return f"A forgets {name}, B {other_name}: compare cells of one set"


def _side(runs: Sequence[Run]) -> Side:
    stopped = {run.seed: run.reason for run in runs if run.stopped}
    return Side(setting(runs[0].cell), tuple(run.seed for run in runs), stopped)


def _differing(first: Run, second: Run) -> dict[str, tuple[Any, Any]]:
    old, new = first.settings, second.settings
    groups = {name: name.partition(".")[0] for name in differing_settings(old, new)}
    return {
        name: (old.get(name), new.get(name))
        for name, group in groups.items()
        if first.cell.get(group) == second.cell.get(group)
    }


def _row(
    name: str, score: str, scale: Scale, first: np.ndarray, second: np.ndarray, clusters: Sequence[Hashable]
) -> Row:
    """The comparison of two arrays [seeds, items]; its p-value is not corrected yet."""
    difference = bootstrap_difference(first, second, clusters, scale)
    seeds, means = max(len(first), len(second)), (float(first.mean()), float(second.mean()))
    return Row(name, score, first.shape[1], seeds, *means, difference, difference.p_value or 0.0)


def _panel(first: list[Run], second: list[Run]) -> list[Row]:
    """Rows of the utility panel, resampled over its questions and texts; none where the panels differ."""
    hashes = {run.panel.hash if run.panel is not None else None for run in (*first, *second)}
    if None in hashes or len(hashes) > 1:
        return []
    rows = []
    for score, (name, scale) in PANEL_SCORES.items():
        a, b = stack_panel(first, score), stack_panel(second, score)
        if a.size and not np.isnan(a).any() and not np.isnan(b).any():
            rows.append(_row(PANEL, name, scale, a, b, range(a.shape[1])))
    return rows


def _paired(first: list[Run], second: list[Run], names: tuple[Path, Path]) -> tuple[list[Run], list[Run]]:
    # Two single results are compared as they are; a model before unlearning (no lr) goes with every seed.
    if len(first) == len(second) == 1 or any(len(side) == 1 and not side[0].lr for side in (first, second)):
        return first, second
    pairs = same_seeds(first, second)
    if pairs is None:
        left, right = (", ".join(str(run.seed) for run in side) for side in (first, second))
        raise InputError(
            f"{names[0]} has the seeds {left} and {names[1]} has {right}: they have none in common to pair"
        )
    return pairs


def _order(own: Sequence[str], ids: Sequence[str]) -> list[int]:
    """Where the items of `ids` are among a result's own."""
    positions = {identifier: position for position, identifier in enumerate(own)}
    return [positions[identifier] for identifier in ids]
