"""The section on the utility panel: what unlearning left of what has nothing to do with the facts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dual_data.evaluation.report.chart import Axis, Line, chart
from dual_data.evaluation.report.collect import PANEL_SCORES, Collection, Group, PanelTable, Run, stack_panel
from dual_data.evaluation.report.document import ITEMS, Block, Charts, Entry, Folded, Heading, Table
from dual_data.evaluation.report.places import (
    BEFORE,
    PLACE,
    before_of,
    chosen_cells,
    looks,
    mean_of,
    method_series,
    place_of,
    rate_of,
    row_id,
    shown,
    sources,
    spots_by_rate,
    starts,
)
from dual_data.evaluation.statistics import Interval, bootstrap_difference

PANEL = "utility panel"
"""What a column or row is called that is of it."""


def has_panel(runs: Sequence[Run]) -> bool:
    """Whether a utility panel was measured."""
    return any(run.panel is not None for run in runs)


def panel_accuracy(runs: Sequence[Run]) -> Interval:
    """Share of the questions that are answered rightly, over seeds and questions; NaN where a model gave no number."""
    return _mean(stack_panel(runs, "right"), share=True)


def panel(collection: Collection, folder: Path) -> list[Block]:
    """Accuracy over learning rates, and what the chosen cells lost; nothing where no panel was measured."""
    measured = [start for start in starts(collection) if has_panel(start.before)]
    charts, lines, kinds, ids = list[str](), list[tuple[Entry, ...]](), list[tuple[Entry, ...]](), list[str]()
    look = looks(collection.groups)
    every_kind = list(dict.fromkeys(kind for _, before, *_ in measured for kind in _table(before).kinds))
    for key, before, groups, title in measured:
        charts.append(_by_rate(title, before, groups, look))
        found: list[tuple[str, Sequence[Run]]] = [(BEFORE, before)]
        found += [(group.key.method, runs) for group, runs in chosen_cells(groups)]
        for method, runs in found:
            start = (*place_of(key), method, rate_of(runs), str(len(runs)), _name(_table(before)))
            texts = [text for name in PANEL_SCORES for text in _texts(runs, before, name, changed=method != BEFORE)]
            lines.append((*start, *texts, sources(runs, folder)))
            kinds.append((*start, *_of_kinds(runs, every_kind), sources(runs, folder)))
            ids.append(row_id("panel", runs))
    if not measured:
        return []
    asked = "; ".join(dict.fromkeys(_said(_table(before)) for _, before, *_ in measured))
    caption = (
        f"Panel: {asked}. Accuracy: share of the questions whose right option has the highest log-probability; by "
        "length: the highest a character; probability: of the right option among the options; NLL: nats a token, so "
        "that a rise is a loss. Changes are from the model before unlearning, question by question and text by text. "
        "Intervals are over seeds and questions, or texts, whose scores the results hold in the order of the panel."
    )
    start = (*PLACE, "method", "lr", "seeds", "panel")
    scores = (column for name in PANEL_SCORES.values() for column in (name, f"change of {name}"))
    exact = ("lr", "seeds", "panel")
    drawn = "Accuracy on the panel against the learning rate; bars are 95 % intervals."
    by_kind = Table((*start, *every_kind, ITEMS), tuple(kinds), "Accuracy by kind of question.", exact)
    return [
        Heading("Utility panel"),
        Charts(tuple(charts), drawn),
        Table((*start, *scores, ITEMS), tuple(lines), caption, exact, tuple(ids)),
        Folded(f"Accuracy by kind of question ({len(every_kind)} kinds)", (by_kind,)),
    ]


def _by_rate(title: str, before: Sequence[Run], groups: Sequence[Group], look: Mapping[str, int]) -> str:
    def score(runs: Sequence[Run]) -> Interval:
        return panel_accuracy(runs) if has_panel(runs) else Interval(math.nan, math.nan, math.nan)

    accuracy, guessing = panel_accuracy(before), _table(before).guessing
    lines = [
        Line("y", accuracy.value, BEFORE, shown(accuracy), row_id("panel", before)),
        Line("y", guessing, "guessing"),
    ]
    axes = (Axis("learning rate", log=True, aside=True), Axis("accuracy on the panel", 0, 1))
    return chart(title, *axes, method_series(groups, look, partial(spots_by_rate, score=score)), lines)


def _table(runs: Sequence[Run]) -> PanelTable:
    """That of some runs which have one."""
    return next(run.panel for run in runs if run.panel is not None)


def _name(table: PanelTable) -> str:
    return f"{table.name} ({len(table.scores['right'])})"


def _said(table: PanelTable) -> str:
    questions, texts = len(table.scores["right"]), len(table.scores["nll"])
    return f"{table.name}, {questions} questions, of which guessing answers {table.guessing:.0%}, and {texts} texts"


def _texts(runs: Sequence[Run], before: Sequence[Run], score: str, *, changed: bool) -> tuple[str, str]:
    """A score and its change."""
    table = stack_panel(runs, score)
    if not table.size:
        return "-", "-"
    share = score in ("right", "right_by_length")
    old = stack_panel([before_of(before, run) for run in runs], score)
    if not changed or np.isnan(table).any() or np.isnan(old).any():
        return shown(_mean(table, share=share)), "-"
    return shown(_mean(table, share=share)), shown(bootstrap_difference(table, old, range(table.shape[1])))


def _of_kinds(runs: Sequence[Run], kinds: Sequence[str]) -> list[str]:
    table, places = stack_panel(runs, "right"), _table(runs).kinds
    return [shown(_mean(table[:, list(places[kind])], share=True)) if kind in places else "-" for kind in kinds]


def _mean(table: np.ndarray, *, share: bool) -> Interval:
    return mean_of(table, range(table.shape[1]), share=share)
