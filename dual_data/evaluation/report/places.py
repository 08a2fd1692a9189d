"""What the sections share: where a cell belongs, its estimates, and how numbers are shown."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.report.chart import Series, Spot
from dual_data.evaluation.report.collect import Collection, Group, Key, Run, clusters, stack
from dual_data.evaluation.report.document import LinkList, TableCell
from dual_data.evaluation.results import BASE
from dual_data.evaluation.statistics import Floats, Interval, bootstrap_mean, bootstrap_median

Place = tuple[str, str, str, str]
"""Data, model, stage, set."""
PLACE = ("data", "model", "stage", "set")
BEFORE = "before"
"""What charts and tables call the model before unlearning."""
NORMS = (
    "Gradient norm: before clipping, the median over all steps and seeds, with the smallest and the largest in "
    "brackets (a range, not a confidence interval)."
)
"""What a caption says of :func:`gradient_norms`."""

_SHARES = ("rougeL_recall", "contains_answer", "worst")
"""Scores that are 0 or 1 where they are plain."""


class Start(NamedTuple):
    """A model before unlearning, and what starts from it."""

    key: Key
    """Of its cell."""
    before: tuple[Run, ...]
    """Empty where it could not be measured."""
    groups: list[Group]
    title: str
    """How a chart or a table of it is named."""


def starts(collection: Collection) -> list[Start]:
    """All models that something was unlearned from, each preset's and profile's for itself."""
    found: dict[Key, list[Group]] = defaultdict(list)
    for group in collection.groups:
        found[group.key._replace(method=BASE)].append(group)
    return [Start(key, collection.bases.get(key, ()), found[key], title_of(key, found)) for key in sorted(found)]


def looks(groups: Iterable[Group]) -> dict[str, int]:
    """How charts draw each method, in all of them alike, and the model before unlearning."""
    methods = sorted({group.key.method for group in groups})
    return {name: number for number, name in enumerate((*methods, BEFORE))}


def before_of(before: Sequence[Run], run: Run) -> Run:
    """The model before unlearning, of the same seed where there is one."""
    return next((one for one in before if one.seed == run.seed), before[0])


def estimate(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Mean of a score over seeds and items with its interval; NaN where a model gave no number."""
    return mean_of(stack(runs, name, score), clusters(runs, name), share=score in _SHARES)


def mean_of(table: Floats, subjects: Sequence[Hashable], *, share: bool = False) -> Interval:
    """Mean of [seeds, items], of a `share` between 0 and 1, with its interval; NaN where a model gave no number."""
    if np.isnan(table).any():
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap_mean(table, subjects, share=share)


def middle(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Median of a score over seeds and items with its interval; NaN where a model gave no number."""
    table = stack(runs, name, score)
    if np.isnan(table).any():
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap_median(table, clusters(runs, name))


def trivial_rule(before: Sequence[Run]) -> Interval:
    """What the best rule that knows no fact scores on the forget facts, the rule held."""
    return bootstrap_mean(before[0].trivial, clusters(before, "forget"))


def chosen_cells(groups: Sequence[Group]) -> list[tuple[Group, list[Run]]]:
    """Every group that has a chosen learning rate, with its runs there."""
    return [(group, group.at(lr)) for group in groups if (lr := group.chosen()) is not None]


def place_of(key: Key) -> Place:
    """Where a group belongs."""
    return (key.data, key.model, key.stage, key.set)


def title_of(key: Key, among: Iterable[Key]) -> str:
    """How a chart or a fold names it: stage and set, and else, but for the method, what those of `among` differ in."""
    others = list(among)

    def named(field: str) -> bool:
        return field in ("stage", "set") or (field != "method" and len({getattr(one, field) for one in others}) > 1)

    return ", ".join(getattr(key, field) for field in Key._fields if named(field))


def shown(interval: Interval, digits: int = 3) -> str:
    """An estimate with its interval; a dash where the model gave no number."""
    value, low, high = (f"{end:.{digits}f}" for end in interval[:3])
    return "-" if math.isnan(interval.value) else f"{value} [{low}, {high}]"


def rate_of(runs: Sequence[Run]) -> str:
    """The learning rate of some runs; nothing before unlearning."""
    return f"{runs[0].lr:g}" if runs[0].lr else ""


def gradient_norms(runs: Iterable[Run]) -> str:
    """Median of the gradient norms of all steps of some runs, and in brackets the least and the largest of them."""
    norms = [norm for run in runs for norm in run.norms]
    return f"{np.median(norms):.3g} [{min(norms):.3g}, {max(norms):.3g}]" if norms else "-"


def p_value(value: float | None) -> str:
    """A p-value in three digits; a dash where nothing was tested."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def spot(place: float, found: Interval, start: str, link: str, digits: int = 3, *, hollow: bool = False) -> Spot:
    """A point of a chart of categories, what it is of at the start of its note, linked to the row behind it."""
    return Spot(place, found.value, None, (found.low, found.high), f"{start}{shown(found, digits)}", link, hollow)


def method_series(
    groups: Iterable[Group], look: Mapping[str, int], spots: Callable[[Group], tuple[Spot, ...]]
) -> list[Series]:
    """A series a method, drawn as :func:`looks` says."""
    return [Series(group.key.method, spots(group), look=look[group.key.method]) for group in groups]


def spots_by_rate(group: Group, score: Callable[[Sequence[Run]], Interval]) -> tuple[Spot, ...]:
    """A score against the learning rate, linked to the rows of every cell."""
    found = [(lr, group.at(lr)) for lr in group.lrs]
    return tuple(spot(lr, score(runs), f"lr {lr:g}: ", row_id("cell", runs), hollow=alone(runs)) for lr, runs in found)


def alone(runs: Sequence[Run]) -> bool:
    """Whether they are of one seed, so that intervals leave out what another would change; unlearned models alone."""
    return len(runs) == 1 and bool(runs[0].lr)


def row_id(table: str, runs: Sequence[Run]) -> str:
    """What a chart calls the row of these runs in a table of the page."""
    return f"{table}-{runs[0].id}"


def sources(runs: Iterable[Run], folder: Path) -> LinkList:
    """Links to the results of some runs, whose items are behind a number; by seed, and by rate where they have several.

    LinkList are relative to `folder`, where the report is written.
    """
    found = list(runs)
    rates = {run.lr for run in found if run.lr}

    def name(run: Run) -> str:
        rate = (BEFORE if not run.lr else f"{run.lr:g}") if len(rates) > 1 or (rates and not run.lr) else ""
        return f"{rate} seed {run.seed}".strip()

    return LinkList(tuple(TableCell(name(run), os.path.relpath(run.path, folder)) for run in found))
