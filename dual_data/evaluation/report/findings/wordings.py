"""Does forgetting generalise to other wordings, and is what the model no longer says gone?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dual_data.bootstrap import SHARE, Interval, bootstrap_mean
from dual_data.evaluation.report.analysis.contrast import Contrast, average, compare_shares
from dual_data.evaluation.report.analysis.elicited import elicited
from dual_data.evaluation.report.analysis.own_words import in_own_words
from dual_data.evaluation.report.analysis.runs import Collection, Group, Run, chosen_cells, clusters, stack
from dual_data.evaluation.report.findings.sentences import LEVEL, Names, by_how_much, is_above_zero
from dual_data.evaluation.report.numbers import points, shown
from dual_data.evaluation.results import read_result
from dual_data.text.display import count


class _Leak(NamedTuple):
    """Facts of one cell that other wordings or prompts elicit though the question does not, of those known before."""

    group: Group
    share: Interval
    """Share of the facts known before whose answer is elicited."""
    excess: Contrast | None
    """That share minus the share for which the swapped answer is elicited (:mod:`swapped`), on the facts that have
    both; None where there is no such answer."""

    @property
    def clearness(self) -> tuple[float, float]:
        """By the lower end: a cell with only three facts known before can have the largest share by chance."""
        interval = self.excess.difference if self.excess else self.share
        return min(interval.low, self.share.low), interval.value


def wording_answer(collection: Collection) -> list[str]:
    """Does forgetting generalise to other wordings? At the chosen learning rates, of facts answered before."""
    leaks = [leak for group, runs in chosen_cells(collection.groups) if (leak := _leak(group, runs)) is not None]
    positive = [leak for leak in leaks if leak.share.value > 0]
    if not positive:
        return ["In no cell do other wordings bring out facts that the question no longer brings out."] if leaks else []
    compared = [leak.excess for leak in leaks if leak.excess is not None]
    clearest = max(positive, key=lambda leak: leak.clearness)
    names = Names.of(collection)
    chance = "No relation has another answer to compare with."
    if compared:
        mean = average(compared)
        excesses = [leak.excess for leak in positive if leak.excess is not None]
        untested = sum(excess.is_of_one_seed for excess in excesses)
        clear = sum(is_above_zero(excess.difference, is_of_one_seed=excess.is_of_one_seed) for excess in excesses)
        alone = len(positive) - len(excesses)
        notes = ((untested, "of one seed, not tested"), (alone, "without another answer to compare with"))
        note = "".join(f"; {number} {which}" for number, which in notes if number)
        which = "of one seed or without another answer to compare with" if alone else "of one seed"
        tested = (
            f"They are {which}, and not tested against chance."
            if untested == len(excesses)
            else f"In {clear} of them these are more than by chance (interval of the difference above zero and p below "
            f"{LEVEL:.0%}, not corrected for the number of cells{note})."
        )
        chance = (
            f"{tested} On average over the cells, they are {by_how_much(mean, points)} of the facts than by chance."
        )
    beside = "" if clearest.excess is None else f", by chance {shown(clearest.excess.second)}"
    return [
        f"In {len(positive)} of {count(len(leaks), 'cell')}, another wording or prompt still brings out some facts "
        f"that were known before unlearning and that the question no longer brings out. {chance} The clearest case is "
        f"{clearest.group.key.method} ({names.place(clearest.group.key)}, {clearest.group.key.set}): "
        f"{shown(clearest.share)} of the facts known before{beside}."
    ]


def own_words_answer(collection: Collection) -> list[str]:
    """Is what the model no longer says gone? At the chosen learning rates, after the words that it once began with."""
    names = Names.of(collection)
    left = [
        (scores.left, f"{group.key.method} ({names.place(group.key)}, {group.key.set})")
        for group, runs in chosen_cells(collection.groups)
        if (scores := in_own_words(runs, group.before, "forget")) and not math.isnan(scores.left.value)
    ]
    if not left:
        return []
    ascending = sorted(left, key=lambda entry: entry[0].value)
    (least, elsewhere), (most, where) = ascending[0], ascending[-1]
    sentence = (
        "Of the answers that the model gave before unlearning and no longer gives, "
        f"{shown(most)} are still the likeliest after the words that it put before them then, with {where}"
    )
    if len(left) > 1:
        mean = np.mean([share.value for share, _ in left])
        sentence += (
            f". This is the largest share of {len(left)} cells; the smallest is {shown(least)}, with {elsewhere}, and "
            f"the mean {mean:.3f}"
        )
    return [f"{sentence}."]


def _leak(group: Group, runs: Sequence[Run]) -> _Leak | None:
    """None for a cell that was asked only the questions, or none of whose facts was known before."""
    known = stack(group.before, "forget", "contains_answer").mean(0) >= 0.5
    if not runs[0].sets["forget"].rephrased or not known.any():
        return None
    pairs = np.array([elicited(read_result(run.path)["items"]["forget"]) for run in runs], dtype=float)
    own, swapped = pairs[:, :, 0], pairs[:, :, 1]
    subjects = np.array(clusters(runs, "forget"))
    both = known & ~np.isnan(swapped).any(0)
    share = bootstrap_mean(own[:, known], subjects[known].tolist(), SHARE)
    if not both.any():
        return _Leak(group, share, None)
    return _Leak(group, share, compare_shares(own[:, both], swapped[:, both], subjects[both].tolist(), group.key.data))
