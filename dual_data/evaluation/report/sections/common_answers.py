"""Sets of which many facts have one answer: whether unlearning keeps these facts and loses the others.

Naming the commonest answer needs no knowledge of a fact. Where a model does, forgetting seems hard or retention high
because of the answers of a set, and its facts are hardly so many independent ones as it has subjects.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import bootstrap_mean, mean_draws
from dual_data.evaluation.report.analysis.runs import SCORES, SHOWN_SETS, Collection, Run, before_of, clusters, stack
from dual_data.evaluation.report.document import Block
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import BEFORE, CellLine, Start, cell_table, rate_of, sources, starts
from dual_data.text.display import count

_LEAST_SHARE = 0.25
"""Share of a set with one answer from which on it is told."""
_WIDER = 1.1
"""Ratio of the widths of two intervals from which on it is told."""
_CAPTION = (
    "ROUGE-L recall of the facts whose answer is the most frequent one of their set, where a quarter of the set or "
    "more have it, and of the other facts. Where the former are kept and the others lost, the mean of the set says "
    "more of that answer than of facts."
)


class _Frequent(NamedTuple):
    """A set of a row of the main table, many of whose facts have one answer."""

    start: Start
    method: str
    runs: Sequence[Run]
    set: str
    has_answer: NDArray[np.bool_]
    """Which facts these are."""

    @property
    def percent(self) -> int:
        return round(100 * float(self.has_answer.mean()))


def frequent_answers(collection: Collection) -> list[Block]:
    """A table of the scores of these facts and of the others, at the chosen learning rates, if there are such sets."""
    lines = list[CellLine]()
    for found in _found(collection):
        runs = found.runs
        scores, subjects = stack(runs, found.set, "rougeL_recall"), np.array(clusters(runs, found.set), dtype=object)
        means = (
            shown(bootstrap_mean(scores[:, part], subjects[part].tolist(), SCORES["rougeL_recall"]))
            if part.any()
            else "-"
            for part in (found.has_answer, ~found.has_answer)
        )
        texts = (rate_of(runs), found.set, f"{found.percent}%", *means)
        lines.append(CellLine(found.start.key, found.method, texts, sources(runs)))
    columns = ("lr", "facts of", "with one answer", "these", "the others")
    return [cell_table(columns, lines, _CAPTION, columns[:3])] if lines else []


def too_narrow(collection: Collection) -> list[str]:
    """A sentence for each such set of which unlearning takes facts by their answer: how much wider the intervals of the
    models that were trained would be if facts of one answer counted as one."""
    wider: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    for found in _found(collection):
        key = found.start.key
        if found.method != BEFORE:
            name = key.set if found.set == "forget" else found.set
            wider[key.data, name, found.percent].append(_widening(found))
    return [
        f"{data}: {share}% of {name} have one answer. Intervals are over subjects, and so hold for facts with such a "
        f"mix of answers: over answers, and without what seeds add, those of the change by unlearning would be "
        f'{100 * (ratio - 1):.0f}% wider (the median of {count(len(ratios), "row")} under "Chosen learning rates").'
        for (data, name, share), ratios in sorted(wider.items())
        if (ratio := float(np.median(ratios))) >= _WIDER
    ]


def _found(collection: Collection) -> Iterator[_Frequent]:
    """The sets of which many facts have one answer, by row of the main table."""
    for start in starts(collection):
        for method, runs in start.cells:
            for name in SHOWN_SETS:
                answers = _answers(runs[0], name)
                ((most_frequent, number),) = Counter(answers).most_common(1)
                if number >= _LEAST_SHARE * len(answers):
                    yield _Frequent(start, method, runs, name, np.array([each == most_frequent for each in answers]))


def _answers(run: Run, name: str) -> list[str]:
    return [answer for _, answer in run.sets[name].facts]


def _widening(found: _Frequent) -> float:
    """The standard error of the mean change of a set's scores over answers, as a multiple of that over subjects."""
    runs, name = found.runs, found.set
    before = [before_of(found.start.before, run) for run in runs]
    change = stack(runs, name, "rougeL_recall").mean(0) - stack(before, name, "rougeL_recall").mean(0)
    over_answers, over_subjects = (
        float(mean_draws(change, units).std()) for units in (_answers(runs[0], name), clusters(runs, name))
    )
    return over_answers / over_subjects if over_subjects else 1.0
