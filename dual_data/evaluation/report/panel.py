"""The section on the utility panel: what unlearning left of what has nothing to do with the facts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dual_data.evaluation.report.collect import Collection, Run, stack_utility
from dual_data.evaluation.report.document import Block, Entry, Heading, Table
from dual_data.evaluation.report.places import PLACE, chosen_cells, places, rate_of, row_id, shown, sources
from dual_data.evaluation.statistics import Interval, bootstrap_difference, bootstrap_mean

_SCORES = {"right": "accuracy", "right_by_length": "accuracy by length", "nlls": "NLL of the texts"}


def has_panel(runs: Sequence[Run]) -> bool:
    """Whether a utility panel was measured."""
    return any(run.utility is not None for run in runs)


def panel_accuracy(runs: Sequence[Run]) -> Interval:
    """Share of the questions that are answered rightly, over seeds and questions; NaN where a model gave no number."""
    return _mean(stack_utility(runs, "right"))


def panel(collection: Collection, folder: Path) -> list[Block]:
    """A line for every place before unlearning, and for every method at its chosen learning rate; else nothing."""
    lines, ids, asked = list[tuple[Entry, ...]](), list[str](), dict[str, None]()
    for place, groups in places(collection).items():
        before = groups[0].before
        if not has_panel(before):
            continue
        asked.setdefault(_said(before[0]))
        found: list[tuple[str, Sequence[Run]]] = [("before", before)]
        found += [(group.key.method, runs) for group, runs in chosen_cells(groups)]
        for method, runs in found:
            texts = [text for name in _SCORES for text in _texts(runs, before, name, changed=method != "before")]
            lines.append((*place, method, rate_of(runs), str(len(runs)), *texts, sources(runs, folder)))
            ids.append(row_id("panel", runs))
    if not lines:
        return []
    scores = (column for name in _SCORES.values() for column in (name, f"change of {name}"))
    header = (*PLACE, "method", "lr", "seeds", *scores, "items")
    caption = (
        f"{'; '.join(asked)}. Accuracy: the right option has the highest log-probability, by length: the highest a "
        "character; NLL: nats a token. Changes are from the model before unlearning, question by question; intervals "
        "are over seeds and questions, or texts."
    )
    exact = ("lr", "seeds")
    return [Heading("Utility panel"), Table(header, tuple(lines), caption, exact, tuple(ids))]


def _said(run: Run) -> str:
    if run.utility is None:
        return ""
    questions, texts = (len(run.utility.scores[name]) for name in ("right", "nlls"))
    guessed = f"guessing answers {run.utility.guessing:.0%}"
    return f"Panel {run.utility.panel}: {questions} questions, of which {guessed}, and {texts} texts"


def _texts(runs: Sequence[Run], before: Sequence[Run], score: str, *, changed: bool) -> tuple[str, str]:
    """A score and its change."""
    table = stack_utility(runs, score)
    if not table.size:
        return "-", "-"
    if not changed:
        return shown(_mean(table)), "-"
    same = {run.seed: run for run in before}
    old = stack_utility([same.get(run.seed, before[0]) for run in runs], score)
    if np.isnan(table).any() or np.isnan(old).any():
        return shown(_mean(table)), "-"
    return shown(_mean(table)), shown(bootstrap_difference(table, old, range(table.shape[1])))


def _mean(table: np.ndarray) -> Interval:
    if np.isnan(table).any():
        return Interval(math.nan, math.nan, math.nan)
    return bootstrap_mean(table, range(table.shape[1]))
