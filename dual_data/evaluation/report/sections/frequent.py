"""Sets of which many facts have one answer: whether unlearning keeps these facts and loses the others.

Naming the commonest answer needs no knowledge of a fact. Where a model does, forgetting seems hard or retention high
because of the answers of a set, and its facts are hardly so many independent ones as it has subjects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import bootstrap_mean, mean_draws
from dual_data.evaluation.report.analysis.estimates import shown
from dual_data.evaluation.report.analysis.runs import SCORES, Collection, Run, before_of, clusters, stack
from dual_data.evaluation.report.document import Block
from dual_data.evaluation.report.places import BEFORE, CellLine, Start, cell_table, rate_of, sources, starts
from dual_data.text.display import count

_LEAST_SHARE = 0.25
"""Share of a set with one answer from which on it is told."""
_SETS = ("forget", "retain_eval")
_CAPTION = (
    "ROUGE-L recall of the facts whose answer is the most frequent one of their set, where a quarter of the set or "
    "more have it, and of the other facts. Where the former are kept and the others lost, the mean of the set says "
    "more of that answer than of facts."
)


def frequent_answers(collection: Collection) -> list[Block]:
    """A table of the scores of these facts and of the others, at the chosen learning rates, if there are such sets."""
    lines = list[CellLine]()
    for start in starts(collection):
        for method, runs in start.cells:
            for name in _SETS:
                has_answer = _most_frequent(runs[0], name)
                if has_answer is None:
                    continue
                scores, subjects = stack(runs, name, "rougeL_recall"), np.array(clusters(runs, name), dtype=object)
                means = (
                    shown(bootstrap_mean(scores[:, part], subjects[part].tolist(), SCORES["rougeL_recall"]))
                    if part.any()
                    else "-"
                    for part in (has_answer, ~has_answer)
                )
                share = f"{100 * has_answer.mean():.0f}%"
                lines.append(CellLine(start.key, method, (rate_of(runs), name, share, *means), sources(runs)))
    columns = ("lr", "facts of", "with one answer", "these", "the others")
    return [cell_table(columns, lines, _CAPTION, columns[:3])] if lines else []


def too_narrow(collection: Collection) -> list[str]:
    """A sentence for each such set of which unlearning takes facts by their answer: it says how much wider intervals
    would be if facts of one answer counted as one."""
    wider: dict[tuple[str, str, int], list[float]] = {}
    for start in starts(collection):
        for method, runs in start.cells:
            for name in _SETS if start.before and method != BEFORE else ():
                has_answer = _most_frequent(runs[0], name)
                if has_answer is not None:
                    set_name = start.key.set if name == "forget" else name
                    place = start.key.data, set_name, round(100 * has_answer.mean())
                    wider.setdefault(place, []).append(_widening(start, runs, name))
    return [
        f"{data}: {share}% of {name} have one answer. Intervals are over subjects, and so hold for facts with such a "
        f"mix of answers: over answers, those of the change by unlearning would be {100 * (ratio - 1):.0f}% wider (the "
        f'median of {count(len(ratios), "row")} under "Chosen learning rates").'
        for (data, name, share), ratios in sorted(wider.items())
        if (ratio := float(np.median(ratios))) >= 1.1
    ]


def _most_frequent(run: Run, name: str) -> NDArray[np.bool_] | None:
    """Which facts of a set have its most frequent answer; None where these are few."""
    answers = _answers(run, name)
    ((answer, number),) = Counter(answers).most_common(1)
    if number < _LEAST_SHARE * len(answers):
        return None
    return np.array([other == answer for other in answers])


def _answers(run: Run, name: str) -> list[str]:
    return [answer for _, answer in run.sets[name].facts]


def _widening(start: Start, runs: Sequence[Run], name: str) -> float:
    """The standard error of the mean change of a set's scores over answers, as a multiple of that over subjects."""
    before = [before_of(start.before, run) for run in runs]
    change = stack(runs, name, "rougeL_recall").mean(0) - stack(before, name, "rougeL_recall").mean(0)
    over_answers, over_subjects = (
        float(mean_draws(change, units).std()) for units in (_answers(runs[0], name), clusters(runs, name))
    )
    return over_answers / over_subjects if over_subjects else 1.0
