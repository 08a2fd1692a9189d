"""Marks of charts: points with their intervals, linked to the rows behind them, in the look of their method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.runs import Collection, Group, Run
from dual_data.evaluation.report.chart import Series, Spot
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import BEFORE, is_trained, row_id


def looks(collection: Collection) -> dict[str, int]:
    """The look of each method, and of the model before unlearning: a number, the same in all charts."""
    methods = sorted({group.key.method for group in collection.groups})
    return {name: number for number, name in enumerate((*methods, BEFORE))}


def spot(
    x: float,
    interval: Interval,
    start: str,
    link: str,
    text: Callable[[Interval], str] = shown,
    *,
    hollow: bool = False,
) -> Spot:
    """A point with its interval; its note begins with `start`, and it links to the row behind it."""
    return Spot(x, interval.value, None, (interval.low, interval.high), f"{start}{text(interval)}", link, hollow)


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
