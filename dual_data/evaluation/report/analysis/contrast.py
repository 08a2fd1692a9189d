"""Comparisons of forgetting, each with an interval over seeds and subjects.

Forgetting is the drop of ROUGE-L recall on the forget set. Two parts of one set are measured on the same models, so
their seeds are drawn together.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dual_data.bootstrap import (
    SHARE,
    Interval,
    Scale,
    Spread,
    bootstrap_difference,
    bootstrap_mean,
    interval_of,
    mean_draws,
    quantiles,
)
from dual_data.evaluation.report.analysis.runs import SCORES, Group, answered_before, before_of, clusters, stack
from dual_data.ids import digest
from dual_data.statistics import Floats

_CALIPER_NATS = 0.25
"""Largest difference in base log-probability per token between two paired facts."""
_MIN_FACTS = 10
"""Least number of pairs for a comparison of paired facts, and of facts on either side of one within a set."""
_SPREAD_REPLICATES = 2000
Side = tuple[Floats, Sequence[str]]
"""Items [seeds, items] and their subjects."""


class Pairing(NamedTuple):
    """Pairs of facts of two sets on which the models before unlearning behave alike."""

    pairs: list[tuple[int, int]]
    """Indices of the items."""
    confidence: Interval
    """Mean difference, first minus second, in the base's log-probability of the answer, in nats per token."""
    score: Interval
    """The same for its ROUGE-L recall."""


class Contrast(NamedTuple):
    """A difference between two groups."""

    difference: Interval
    first: Interval
    second: Interval
    facts: int
    """Least number of facts that a side is measured on."""
    seeds: int
    """Number of training seeds, of the side and learning rate that have the fewest."""
    draws: Floats
    """The difference in every bootstrap draw; NaN where it is undefined."""

    @property
    def is_of_one_seed(self) -> bool:
        """Whether it is not tested, since its interval leaves out the variation between seeds."""
        return self.seeds < 2


def forgetting(group: Group, lr: float) -> tuple[Floats, tuple[str, ...]]:
    """Drop in the score of each forget item since before unlearning, [seeds, items], and the items' subjects."""
    runs = group.at(lr)
    before = [before_of(group.before, run) for run in runs]
    drops = stack(before, "forget", "rougeL_recall") - stack(runs, "forget", "rougeL_recall")
    return drops, clusters(runs, "forget")


def compare_sets(first: Group, second: Group, lr: float) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over all their facts."""
    return mean_contrast([forgetting(first, lr), forgetting(second, lr)], first.key.data)


def pair_facts(first: Group, second: Group) -> Pairing | None:
    """Pair facts that the model before unlearning answers both or neither and with similar probability.

    Log-probabilities, of :func:`confidence`, differ by at most `_CALIPER_NATS`. Both criteria use means over seeds.
    None for fewer than ten pairs.
    """

    def before(score: str) -> list[Floats]:
        return [stack(group.before, "forget", score).mean(0) for group in (first, second)]

    answered, recall = [share >= 0.5 for share in before("contains_answer")], before("rougeL_recall")
    sure = [confidence(group) for group in (first, second)]
    pairs = nearest_pairs(sure[0], sure[1], apart=answered[0][:, None] != answered[1][None, :])
    if len(pairs) < _MIN_FACTS:
        return None
    left, right = (list(side) for side in zip(*pairs, strict=True))
    subjects = [clusters(group.before, "forget") for group in (first, second)]
    together = connected(*([names[fact] for fact in side] for names, side in zip(subjects, (left, right), strict=True)))
    gaps = [
        bootstrap_difference(a[left], b[right], together, SCORES[score])
        for score, (a, b) in (("mean_log_probability", sure), ("rougeL_recall", recall))
    ]
    return Pairing(pairs, *gaps)


def connected(first: Sequence[str], second: Sequence[str]) -> list[int]:
    """A number for each pair of subjects: the same where two pairs have one in common, be it through other pairs.

    >>> connected(["a", "b", "c", "a"], ["x", "y", "y", "z"])
    [0, 1, 1, 0]
    """
    numbers, before = list(range(len(first))), list[int]()
    while numbers != before:
        before = numbers
        for names in (first, second):
            least = {name: number for number, name in sorted(zip(numbers, names, strict=True), reverse=True)}
            numbers = [least[name] for name in names]
    return numbers


def confidence(group: Group) -> Floats:
    """Log-probability of each forget fact's answer before unlearning, in nats a token: the mean over seeds.

    Of the answer in the model's own words for facts that most seeds answer; else of the bare answer.
    """
    bare: Floats = stack(group.before, "forget", "mean_log_probability").mean(0)
    own = stack(group.before, "forget", "own_words_log_probability")
    given = ~np.isnan(own)
    means: Floats = np.where(given, own, 0.0).sum(0) / np.maximum(given.sum(0), 1)
    confidences: Floats = np.where(given.mean(0) >= 0.5, means, bare)
    return confidences


def nearest_pairs(
    first: Floats, second: Floats, caliper: float = _CALIPER_NATS, *, apart: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Index pairs of similar values, each used once, closest first; no pair where `apart` [first, second] is true."""
    distance = np.abs(first[:, None] - second[None, :])
    eligible = distance <= caliper if apart is None else (distance <= caliper) & ~apart
    left, right = np.nonzero(eligible)
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for index in np.argsort(distance[eligible], kind="stable").tolist():
        i, j = int(left[index]), int(right[index])
        if i not in pairs and j not in used:
            pairs[i] = j
            used.add(j)
    return sorted(pairs.items())


def compare_pairs(first: Group, second: Group, lr: float, pairing: Pairing) -> Contrast:
    """Forgetting of `first` minus that of `second` at one learning rate, over paired facts."""
    sides = forgetting(first, lr), forgetting(second, lr)
    return mean_contrast(_of_pairs(sides, pairing.pairs), first.key.data)


def compare_in_own_words(first: Group, second: Group, lr: float, pairing: Pairing) -> Contrast | None:
    """Share of answers that are not the likeliest any more in the model's own words: of `first` minus that of `second`.

    Over the paired facts that the models before unlearning answered. None for fewer than ten such pairs.
    """
    groups = (first, second)
    lost = [1 - stack(group.at(lr), "forget", "own_words_likeliest") for group in groups]
    known = [
        answered_before(group.at(lr), group.before, "forget") & ~np.isnan(of_group).any(0)
        for group, of_group in zip(groups, lost, strict=True)
    ]
    pairs = [(left, right) for left, right in pairing.pairs if known[0][left] and known[1][right]]
    if len(pairs) < _MIN_FACTS:
        return None
    subjects = [clusters(group.at(lr), "forget") for group in groups]
    return mean_contrast(_of_pairs(list(zip(lost, subjects, strict=True)), pairs), first.key.data)


def _of_pairs(sides: Sequence[Side], pairs: Sequence[tuple[int, int]]) -> list[Side]:
    """The items of either side that are in a pair."""
    return [
        (values[:, indices], [names[index] for index in indices])
        for (values, names), indices in zip(sides, map(list, zip(*pairs, strict=True)), strict=True)
    ]


def compare_answered(group: Group, lr: float) -> Contrast | None:
    """Forgetting of the facts that the trivial rule answers minus that of the others, at one learning rate.

    None for fewer than ten of either.
    """
    drops, names = forgetting(group, lr)
    answered = group.before[0].rule.scores >= 0.5
    if min(answered.sum(), (~answered).sum()) < _MIN_FACTS:
        return None
    sides = [(drops[:, side], list(itertools.compress(names, side))) for side in (answered, ~answered)]
    return mean_contrast(sides, group.key.data, together=True)


def mean_contrast(
    sides: Sequence[Side], data: str, *, together: bool = False, scale: Scale = SHARE.differences
) -> Contrast:
    """Contrast of the means of two sides, which lie on a scale, in models of a dataset.

    `together` is for two parts of one set in the same models: both get the same draws of seeds.
    """

    def draw(number: int, degrees: float | None) -> Floats:
        models = models_of(data, 0 if together else number)
        return mean_draws(*sides[number], scale, models=models, degrees=degrees)

    spread = _spread(sides, together=together)
    exact = [float(values.mean()) for values, _ in sides]
    facts = min(values.shape[1] for values, _ in sides)
    clusters = min(len(set(names)) for _, names in sides)
    seeds = min(len(values) for values, _ in sides)
    difference = draw(0, spread.degrees) - draw(1, spread.degrees)
    return contrast_of_draws(exact, [draw(0, None), draw(1, None)], difference, facts, clusters, seeds, spread)


def models_of(data: str, number: int) -> tuple[int, int]:
    """By what the seeds of a side of a contrast are drawn: models of other data are others."""
    return int(digest(data), 16), number


def _spread(sides: Sequence[Side], *, together: bool) -> Spread:
    """Spread of the difference of two sides' means; arguments as of :func:`mean_contrast`."""
    left, right = (mean_draws(values.mean(0), names, replicates=_SPREAD_REPLICATES) for values, names in sides)
    left_seeds, right_seeds = (values.mean(1) for values, _ in sides)
    terms = [left_seeds - right_seeds] if together else [left_seeds, right_seeds]
    by_seed = [(float(means.var(ddof=1)) / len(means), len(means) - 1) for means in terms if len(means) > 1]
    return Spread(float((left - right).var()), tuple(by_seed))


def contrast_of_draws(
    exact: Sequence[float],
    sides: Sequence[Floats],
    difference: Floats,
    facts: int,
    clusters: int,
    seeds: int,
    spread: Spread,
) -> Contrast:
    """Contrast of two exact values, with the draws of either; draws that are undefined (NaN) are left out.

    The seeds of a side and of the difference have different degrees of freedom, and so draws of their own.
    """
    first, second = (
        Interval(value, *quantiles(draws[~np.isnan(draws)])) for value, draws in zip(exact, sides, strict=True)
    )
    defined = difference[~np.isnan(difference)]
    return Contrast(
        interval_of(exact[0] - exact[1], defined, clusters, lambda: spread), first, second, facts, seeds, difference
    )


def compare_shares(first: Floats, second: Floats, subjects: Sequence[str], data: str) -> Contrast:
    """The share of `first` minus that of `second`, [seeds, items], over the same items in models of a dataset."""
    return Contrast(
        bootstrap_difference(first, second, subjects, SHARE),
        bootstrap_mean(first, subjects, SHARE),
        bootstrap_mean(second, subjects, SHARE),
        len(subjects),
        len(first),
        mean_draws(first - second, subjects, SHARE.differences, models=models_of(data, 0)),
    )


def average(contrasts: Sequence[Contrast]) -> Interval:
    """Mean difference of several contrasts; the k-th draw has the same subjects in all of them.

    Facts that contrasts share therefore do not narrow the interval, and others do. In a draw where some contrasts are
    undefined, the others tell how far the mean is off: their own mean would differ by which contrasts they are.
    """
    values = np.array([contrast.difference.value for contrast in contrasts])
    errors = np.stack([contrast.draws for contrast in contrasts]) - values[:, None]
    defined = ~np.isnan(errors)
    counts = defined.sum(0)
    means = np.where(defined, errors, 0.0).sum(0)[counts > 0] / counts[counts > 0]
    return Interval(float(values.mean()), *quantiles(values.mean() + means))
