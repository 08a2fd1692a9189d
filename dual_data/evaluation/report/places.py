"""Shared by the sections: the place of a cell, its estimates, and how numbers are formatted."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from dual_data.evaluation.bootstrap import UNKNOWN, Interval, bootstrap_mean, bootstrap_median
from dual_data.evaluation.report.chart import Series, Spot
from dual_data.evaluation.report.document import ITEMS, Entry, LinkList, Table, TableCell
from dual_data.evaluation.report.runs import Collection, Group, Key, Run, clusters, stack
from dual_data.evaluation.results import BASE
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Floats

CellLine = tuple[Key, str, Sequence[str], LinkList]
"""A row of a table of cells: key, method, the texts of its columns, and links to the results behind it."""
PLACE = ("data", "model", "stage", "set")
BEFORE = "before"
"""What charts and tables call the model before unlearning."""
NORMS = (
    "Gradient norm: before clipping, the median over all steps and seeds; its brackets hold the smallest and the "
    "largest norm, not a confidence interval."
)
"""Explains :func:`gradient_norms` in captions."""

_SHARES = (
    "rougeL_recall", "rougeL_recall_uni", "contains_answer", "exact_answer", "exact_memorisation",
    "extraction_strength", "worst",
)  # fmt: skip
"""Scores of items that lie between 0 and 1 and can all be 0 or all be 1."""
_ENDS = {
    "kl": (0.0, math.inf),
    "mean_log_probability": (-math.inf, 0.0),
    "change_mean_log_probability": (-math.inf, math.inf),
}
"""Ends of scales that small values do not show."""


class Start(NamedTuple):
    """A model before unlearning, and the groups that start from it; none where nothing was unlearned yet."""

    key: Key
    """Key of the model before unlearning."""
    before: tuple[Run, ...]
    """Its runs; empty where it could not be measured."""
    groups: list[Group]
    title: str
    """Title of its charts and tables."""

    @property
    def cells(self) -> list[tuple[str, Sequence[Run]]]:
        """Its runs, where it was measured, and those of every method at its chosen learning rate, by name."""
        before: list[tuple[str, Sequence[Run]]] = [(BEFORE, self.before)] if self.before else []
        return [*before, *((group.key.method, runs) for group, runs in chosen_cells(self.groups))]


def starts(collection: Collection) -> list[Start]:
    """All models before unlearning, separate for each preset and profile, except where nothing was measured."""
    groups_by_key: dict[Key, list[Group]] = defaultdict(list)
    for group in collection.groups:
        groups_by_key[group.key._replace(method=BASE)].append(group)
    unlearned = {key for key, groups in groups_by_key.items() if any(group.lrs for group in groups)}
    keys = sorted(unlearned | collection.bases.keys())
    return [Start(key, collection.bases.get(key, ()), groups_by_key[key], title_of(key, keys)) for key in keys]


def looks(collection: Collection) -> dict[str, int]:
    """The look of each method, and of the model before unlearning: a number, the same in all charts."""
    methods = sorted({group.key.method for group in collection.groups})
    return {name: number for number, name in enumerate((*methods, BEFORE))}


def before_of(before: Sequence[Run], run: Run) -> Run:
    """The run before unlearning, with the same seed where there is one."""
    return next((base_run for base_run in before if base_run.seed == run.seed), before[0])


def estimate(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Mean of a score over seeds and items, with its interval; UNKNOWN where a model gave no number."""
    return mean_of(stack(runs, name, score), clusters(runs, name), share=score in _SHARES, ends=_ENDS.get(score))


def mean_of(
    table: Floats, subjects: Sequence[Hashable], *, share: bool, ends: tuple[float, float] | None = None
) -> Interval:
    """Mean of [seeds, items] with its interval (:func:`bootstrap_mean`); UNKNOWN where a model gave no number."""
    if np.isnan(table).any():
        return UNKNOWN
    return bootstrap_mean(table, subjects, share=share, ends=ends)


def median(runs: Sequence[Run], name: str, score: str) -> Interval:
    """Median of a score over seeds and items, with its interval; UNKNOWN where a model gave no number."""
    table = stack(runs, name, score)
    if np.isnan(table).any():
        return UNKNOWN
    return bootstrap_median(table, clusters(runs, name))


def trivial_rule(before: Sequence[Run]) -> Interval:
    """Score of the best trivial rule, which knows no fact, on the forget facts; the interval is for this rule."""
    return bootstrap_mean(before[0].trivial, clusters(before, "forget"))


def chosen_cells(groups: Sequence[Group]) -> list[tuple[Group, list[Run]]]:
    """Every group that has a chosen learning rate, with its runs at that rate."""
    return [(group, group.at(lr)) for group in groups if (lr := group.chosen()) is not None]


def several_settings(keys: Sequence[Key]) -> tuple[str, ...]:
    """Preset and profile, where the keys have several."""
    values = {name: {getattr(key, name) for key in keys} for name in ("preset", "profile")}
    return tuple(name for name, of_name in values.items() if len(of_name) > 1)


def place_columns(keys: Sequence[Key]) -> tuple[str, ...]:
    """The columns that name the place of a row: preset and profile too, where the rows have several."""
    return (*PLACE, *several_settings(keys))


def place_of(key: Key, columns: Iterable[str]) -> tuple[str, ...]:
    """The place of a group, by column."""
    return tuple(getattr(key, name) for name in columns)


def cell_table(
    columns: Sequence[str], lines: Sequence[CellLine], caption: str, exact: Sequence[str] = (), ids: Sequence[str] = ()
) -> Table:
    """A table with place and method before the columns, and the links after them."""
    place = place_columns([key for key, *_ in lines])
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (*place_of(key, place), method, *texts, links) for key, method, texts, links in lines
    )
    return Table((*place, "method", *columns, ITEMS), rows, caption, tuple(exact), tuple(ids))


def title_of(key: Key, keys: Sequence[Key]) -> str:
    """Title of a chart or fold: stage, set and the other fields, except method, in which `keys` differ."""

    def is_named(field: str) -> bool:
        return field in ("stage", "set") or (field != "method" and len({getattr(other, field) for other in keys}) > 1)

    return ", ".join(getattr(key, field) for field in Key._fields if is_named(field))


def shown(interval: Interval, digits: int = 3) -> str:
    """An estimate with its interval; a dash where the model gave no number."""
    value, low, high = (f"{end:z.{digits}f}" for end in interval[:3])
    return "-" if math.isnan(interval.value) else f"{value} [{low}, {high}]"


def rate_of(runs: Sequence[Run]) -> str:
    """The learning rate of some runs; empty before unlearning."""
    return f"{runs[0].lr:g}" if runs[0].lr else ""


def gradient_norms(runs: Iterable[Run]) -> str:
    """Median of the gradient norms over all steps of some runs, with the least and the largest in brackets."""
    norms = [norm for run in runs for norm in run.norms]
    return f"{np.median(norms):.3g} [{min(norms):.3g}, {max(norms):.3g}]" if norms else "-"


def p_value(value: float | None) -> str:
    """A p-value in three digits; a dash where nothing was tested."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def spot(x: float, interval: Interval, start: str, link: str, digits: int = 3, *, hollow: bool = False) -> Spot:
    """A point with its interval; its note begins with `start`, and it links to the row behind it."""
    return Spot(
        x, interval.value, None, (interval.low, interval.high), f"{start}{shown(interval, digits)}", link, hollow
    )


def method_series(
    groups: Iterable[Group], look: Mapping[str, int], spots: Callable[[Group], tuple[Spot, ...]]
) -> list[Series]:
    """One series per group, with the look of its method (:func:`looks`)."""
    return [Series(group.key.method, spots(group), look=look[group.key.method]) for group in groups]


def spots_by_rate(group: Group, score: Callable[[Sequence[Run]], Interval]) -> tuple[Spot, ...]:
    """A score against the learning rate, each point linked to the row of its cell."""
    runs_by_rate = [(lr, group.at(lr)) for lr in group.lrs]
    return tuple(
        spot(lr, score(runs), f"lr {lr:g}: ", row_id("cell", runs), hollow=is_single_seed(runs))
        for lr, runs in runs_by_rate
    )


def is_single_seed(runs: Sequence[Run]) -> bool:
    """Whether these are trained models of one seed only: their intervals leave out the variation between seeds."""
    return len(runs) == 1 and is_trained(runs[0])


def is_trained(run: Run) -> bool:
    """Whether the model has a seed: the pretrained model before unlearning, whose results say 0, has none."""
    return bool(run.lr) or run.cell["stage"] != PRETRAINED


def row_id(table: str, runs: Sequence[Run]) -> str:
    """Id, on the page, of the row of these runs in a table; charts link to it."""
    return f"{table}-{runs[0].id}"


def link_to(path: Path, folder: Path) -> str:
    """A relative link from a page in `folder`."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def sources(runs: Iterable[Run], folder: Path) -> LinkList:
    """Links to the results of some runs, which hold the items behind a number; named by seed, and by rate if several.

    Links are relative to `folder`, where the report is written.
    """
    all_runs = list(runs)
    rates = {run.lr for run in all_runs if run.lr}

    def name(run: Run) -> str:
        rate = (BEFORE if not run.lr else f"{run.lr:g}") if len(rates) > 1 or (rates and not run.lr) else ""
        return f"{rate} seed {run.seed}".strip()

    return LinkList(tuple(TableCell(name(run), link_to(run.path, folder)) for run in all_runs))
