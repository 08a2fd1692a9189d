"""Charts of the grid: frontier, stability, shifts of ranks and log-probabilities, worst cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dual_data.evaluation.report.chart import Axis, Line, Series, Spot, chart
from dual_data.evaluation.report.collect import Collection, Group, Run, stack
from dual_data.evaluation.report.contrast import frontier_area, largest_jump
from dual_data.evaluation.report.document import Block, Entry, Figures, Table
from dual_data.evaluation.report.places import PLACE, chosen_cells, estimate, places, shown, sources, spot, title_of

_SETS = ("forget", "retain_eval")
_BESIDE = (-0.1, 0.1)
"""Where two series stand beside a category's place, so that their bars do not cover each other."""


def frontiers(collection: Collection) -> list[Block]:
    """Forget against retain score, one chart a stage and set, baselines drawn in."""
    charts = []
    for place, groups in (known := places(collection)).items():
        series = [Series(group.key.method, _spots(group)) for group in groups]
        before = groups[0].before
        lines = []
        if before:
            x, y = (float(stack(before, name, "rougeL_recall").mean()) for name in _SETS)
            series.append(Series("before", (Spot(x, y),), joined=False))
            lines.append(Line("x", before[0].summary["forget"]["baseline"] or 0.0, "trivial rule"))
        axes = (Axis("forget, ROUGE-L recall", 0, 1), Axis("retain_eval, ROUGE-L recall", 0, 1))
        charts.append(chart(title_of(place, known), *axes, series, lines))
    caption = (
        "One point a learning rate, joined in their order; bars are 95 % intervals. Up and to the left is better; left "
        "of the dashed line a rule that knows no fact would score as well."
    )
    return [Figures(tuple(charts), caption)]


def stability(collection: Collection, folder: Path) -> list[Block]:
    """Scores against the learning rate, the largest jump and the largest gradient norm."""
    charts = []
    rows: list[tuple[Entry, ...]] = []
    for place, groups in (known := places(collection)).items():
        for name in _SETS:
            series = [Series(group.key.method, _by_rate(group, name)) for group in groups]
            before = groups[0].before
            lines = [Line("y", float(stack(before, name, "rougeL_recall").mean()), "before")] if before else []
            axes = (Axis("learning rate", log=True), Axis(f"{name}, ROUGE-L recall", 0, 1))
            charts.append(chart(title_of(place, known), *axes, series, lines))
        for group in groups:
            jump, under = largest_jump(group), frontier_area(group)
            norms = [norm for run in group.runs for norm in run.norms]
            norm = f"{max(norms):.3g}" if norms else "-"
            said = ("-" if one is None else shown(one) for one in (jump, under))
            rows.append((*place, group.key.method, *said, norm, sources(group.runs, folder)))
    caption = (
        "Largest jump: the largest change of the forget score between neighbouring learning rates, of the score "
        "before. Area: under the frontier of forget and retain_eval, of that of a method that forgets all and loses "
        "nothing. The gradient norm is before clipping, the largest of all runs."
    )
    header = (*PLACE, "method", "largest jump", "area under the frontier", "largest gradient norm", "items")
    return [
        Figures(tuple(charts), "Forget and retain scores against the learning rate."),
        Table(header, tuple(rows), caption),
    ]


def shifts(collection: Collection) -> list[Block]:
    """Change of log-probability and ranks at the chosen learning rates."""
    charts = []
    for place, groups in (known := places(collection)).items():
        chosen = chosen_cells(groups)
        if not chosen:
            continue
        methods = Axis("method", names=tuple(group.key.method for group, _ in chosen))
        changes = [
            _of_methods(name, chosen, (name, "change_mean_log_probability"), side)
            for side, name in zip(_BESIDE, _SETS, strict=True)
        ]
        y = Axis("change of log p a token, nats")
        charts.append(chart(title_of(place, known), methods, y, changes, (Line("y", 0.0, "no change"),)))
        ranks = [
            Series(name, tuple(_ranks(i + side, runs, name) for i, (_, runs) in enumerate(chosen)), joined=False)
            for side, name in zip(_BESIDE, _SETS, strict=True)
        ]
        medians = [float(np.median(stack(groups[0].before, name, "first_rank"))) for name in _SETS]
        lines = [Line("y", value, f"{name} before") for name, value in zip(_SETS, medians, strict=True)]
        y = Axis("median rank of the first answer token", low=0.8, log=True)
        charts.append(chart(title_of(place, known), methods, y, ranks, lines))
    caption = "At the chosen learning rates. Rank 1 is what greedy decoding says; bars are 95 % intervals or quartiles."
    return [Figures(tuple(charts), caption)]


def worst_cases(collection: Collection) -> list[Block]:
    """Share of forget facts that the question, and any wording or prompt, get out."""
    charts = []
    for place, groups in (known := places(collection)).items():
        chosen = chosen_cells(groups)
        if not chosen:
            continue
        series = [
            _of_methods("the question itself", chosen, ("forget", "contains_answer"), _BESIDE[0]),
            _of_methods("any wording or prompt", chosen, ("forget", "worst"), _BESIDE[1]),
        ]
        before = float(stack(groups[0].before, "forget", "contains_answer").mean())
        methods = Axis("method", names=tuple(group.key.method for group, _ in chosen))
        y = Axis("share of forget facts got out", 0, 1)
        charts.append(chart(title_of(place, known), methods, y, series, (Line("y", before, "before"),)))
    caption = "Share of forget facts whose accepted answer is in a greedy answer, at the chosen learning rates."
    return [Figures(tuple(charts), caption)]


def _spots(group: Group) -> tuple[Spot, ...]:
    spots = []
    for lr in group.lrs:
        forget, retain = (estimate(group.at(lr), name, "rougeL_recall") for name in _SETS)
        note = f"lr {lr:g}: {forget.value:.3f}, {retain.value:.3f}"
        ranges = ((forget.low, forget.high), (retain.low, retain.high))
        spots.append(Spot(forget.value, retain.value, *ranges, note))
    return tuple(spots)


def _by_rate(group: Group, name: str) -> tuple[Spot, ...]:
    found = [(lr, estimate(group.at(lr), name, "rougeL_recall")) for lr in group.lrs]
    return tuple(Spot(lr, one.value, None, (one.low, one.high), f"lr {lr:g}: {one.value:.3f}") for lr, one in found)


def _of_methods(title: str, chosen: Sequence[tuple[Group, list[Run]]], of: tuple[str, str], side: float) -> Series:
    """A score of a set, given as (set, score): one point a method, `side` beside its place."""
    spots = tuple(spot(i + side, estimate(runs, *of)) for i, (_, runs) in enumerate(chosen))
    return Series(title, spots, joined=False)


def _ranks(place: float, runs: list[Run], name: str) -> Spot:
    low, middle, high = (float(value) for value in np.quantile(stack(runs, name, "first_rank"), [0.25, 0.5, 0.75]))
    return Spot(place, middle, None, (low, high), f"{middle:g}")
