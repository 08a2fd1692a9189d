"""Shared by the findings: a comparison, its correction, and the words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.contrast import Contrast, average
from dual_data.evaluation.report.analysis.curves import LOST
from dual_data.evaluation.report.analysis.estimates import above_rule
from dual_data.evaluation.report.analysis.runs import Collection, Group, Key, Run
from dual_data.evaluation.report.numbers import points, shown, sign, size
from dual_data.evaluation.report.places import several_settings
from dual_data.statistics import holm
from dual_data.text.display import count

LEVEL = 0.05
"""Significance level: a difference counts where its corrected p-value is below this."""


class About(NamedTuple):
    """What a sentence is about."""

    data: str
    """A dataset."""
    what: str = ""
    """A stage, a set, or what models were tuned on; empty for none."""


class Compared(NamedTuple):
    """One comparison."""

    about: About
    label: str
    """The text of its row: place, set or learning rate, method."""
    contrast: Contrast
    runs: tuple[Run, ...]
    """The results that it is computed from."""
    p_value: float | None = None
    """Corrected over all comparisons of its kind; None where nothing is tested."""
    beside: Contrast | None = None
    """Another contrast of the same cells: their retain_eval scores, or the share recovered with losses counted."""


class Names(NamedTuple):
    """Names of places, with preset and profile where the results have several."""

    several: tuple[str, ...]

    @classmethod
    def of(cls, collection: Collection) -> Names:
        return cls(several_settings([group.key for group in collection.groups]))

    def data(self, key: Key) -> str:
        """The name of the dataset."""
        return ", ".join((key.data, *(getattr(key, name) for name in self.several)))

    def place(self, key: Key) -> str:
        """The name of dataset, model and stage."""
        return f"{self.data(key)}, {key.model}, {key.stage}"


def holm_corrected(compared: Sequence[Compared]) -> list[Compared]:
    """The comparisons with p-values after Holm's correction; those of one seed are not tested and do not count."""
    contrasts = [comparison.contrast for comparison in compared]
    p_values = holm([None if contrast.is_of_one_seed else contrast.difference.p_value for contrast in contrasts])
    return [comparison._replace(p_value=value) for comparison, value in zip(compared, p_values, strict=True)]


def is_above_zero(difference: Interval, *, is_of_one_seed: bool) -> bool:
    """Whether a difference is shown to be above 0, without correction; nothing of one seed is tested.

    The p-value is asked too: draws of a few subjects can all be alike, and their interval has no width then.
    """
    is_beyond_chance = difference.p_value is not None and difference.p_value < LEVEL
    return difference.low > 0 and is_beyond_chance and not is_of_one_seed


def about_of(compared: Sequence[Compared], about: About) -> list[Compared]:
    """Those that one sentence is about."""
    return [comparison for comparison in compared if comparison.about == about]


def all_runs(*groups: Group) -> tuple[Run, ...]:
    """The results of the groups, with those before unlearning."""
    return tuple(run for group in groups for run in (*group.before, *group.runs))


def mean_difference(compared: Sequence[Compared]) -> Interval:
    """The mean over the comparisons."""
    return average([comparison.contrast for comparison in compared])


def _verdict(comparison: Compared) -> int:
    """The sign of a significant difference, else 0."""
    if comparison.p_value is None or comparison.p_value >= LEVEL:
        return 0
    return 1 if comparison.contrast.difference.value > 0 else -1


def _counts(subject: str, outcomes: Mapping[int, str], neither: str, compared: Sequence[Compared]) -> str:
    """In how many comparisons the outcome of either sign is significant, and in how many none is."""
    numbers, total = Counter(map(_verdict, compared)), len(compared)
    untested = sum(comparison.contrast.is_of_one_seed for comparison in compared)
    if untested == total:
        return untested_all(total, "comparison")
    note = f" ({untested} of one seed, not tested)" if untested else ""
    if numbers[0] == total:
        return f"{neither} in {'the one comparison' if total == 1 else f'any of {total} comparisons'}{note}"
    claims = " and ".join(f"{outcome} in {number}" for way, outcome in outcomes.items() if (number := numbers[way]))
    rest = f"; in the other {numbers[0]} no difference is shown{note}" if numbers[0] else ""
    return f"{subject} {claims} of {count(total, 'comparison')}{rest}"


def untested_all(total: int, noun: str) -> str:
    """That nothing is tested, of so many comparisons or the like."""
    return f"{f'the one {noun} is' if total == 1 else f'all {total} {noun}s are'} of one seed and not tested"


def _sentence(start: str, counts: str, mean: str, compared: Sequence[Compared]) -> str:
    """The counts, and the mean difference in words, with whom it holds for if it leaves out the variation of seeds."""
    where = "On average" if len(compared) > 1 else "There"
    alone = all(comparison.contrast.is_of_one_seed for comparison in compared)
    of_one_seed = " in these models; with other seeds it may be otherwise" if alone else ""
    return f"{start}: {counts}. {where}, {mean}{of_one_seed}."


def loss_sentence(start: str, first: str, second: str, compared: Sequence[Compared]) -> str:
    """Which of two kinds of facts loses more."""
    outcomes = {-1: f"less than {second}", 1: f"more than {second}"}
    counts = _counts(f"{first} lose", outcomes, f"no difference between {first} and {second} is shown", compared)
    return _sentence(start, counts, loses(first, second, mean_difference(compared)), compared)


def retention_sentence(start: str, first: str, second: str, compared: Sequence[Compared]) -> str:
    """Which of two ways of unlearning keeps more at equal forgetting."""
    outcomes = {1: "more of the retain_eval score", -1: "less of the retain_eval score"}
    neither = "at equal forgetting, no difference in retention is shown"
    counts = _counts(f"at equal forgetting, {first} keeps", outcomes, neither, compared)
    return _sentence(start, counts, keeps(first, second, mean_difference(compared)), compared)


def recovery_sentence(start: str, compared: Sequence[Compared]) -> str:
    """Of which of two kinds of facts more of the loss comes back."""
    comes_back = "of the popular facts than of the rare ones comes back"
    neither = "no difference between popular and rare facts in the share of the loss that comes back is shown"
    counts = _counts("of what was lost,", {1: f"more {comes_back}", -1: f"less {comes_back}"}, neither, compared)
    with_losses = average([comparison.beside for comparison in compared if comparison.beside])
    mean = (
        f"of what popular facts lost, {by_how_much(mean_difference(compared))} comes back than of what rare ones lost, "
        f"and {by_how_much(with_losses)} where losses of the control count"
    )
    return _sentence(start, counts, mean, compared)


def over_datasets(
    collection: Collection, what: str, compared: Sequence[Compared], by_mean: Callable[[Interval], str]
) -> list[str]:
    """A sentence on the average over several datasets, which may share facts; none over presets or profiles.

    `by_mean` says what the mean difference is.
    """
    datasets = len({comparison.about.data for comparison in compared})
    if datasets < 2 or Names.of(collection).several:
        return []
    which = "Both" if datasets == 2 else f"All {datasets}"
    mean = by_mean(mean_difference(compared))
    return [f"{which} datasets, {what}: on average over {len(compared)} comparisons, {mean}."]


def not_at_equal_forgetting(places: Sequence[str], both: str) -> str:
    """Where two ways of unlearning cannot be compared in what they keep; `both` are those ways."""
    return (
        f"Retention cannot be compared at equal forgetting in {'; '.join(places)}: no method has learning rates near "
        f"{LOST:.0%} of the forget score that lie on both sides of it in half of the draws or more, {both}."
    )


def loses(first: str, second: str, mean: Interval) -> str:
    """How much more or less one kind of facts loses than another."""
    return f"{first} lose {by_how_much(mean)} ROUGE-L recall than {second}"


def keeps(first: str, second: str, mean: Interval) -> str:
    """How much more or less one way of unlearning keeps than another."""
    return f"{first} keeps {by_how_much(mean, points)} of the retain_eval score than {second}"


def by_how_much(mean: Interval, text: Callable[[Interval], str] = shown, more: str = "more", less: str = "less") -> str:
    """A difference with its direction, before "than": neither where it reads as 0."""
    if not (direction := sign(mean.value)):
        return f"neither {more} nor {less} (difference {text(mean)})"
    return f"{text(size(mean))} {more if direction > 0 else less}"


def little_known(before: Sequence[Run]) -> str:
    """What follows where the model before unlearning is not shown to score more than the trivial rule; else empty.

    Answers that ROUGE-L cannot score have a score of 0 in both, so nothing follows about them.
    """
    if above_rule(before).low > 0:
        return ""
    facts = before[0].sets["forget"]
    scorable = len(facts.ids) - facts.unscorable
    if not scorable:
        return "nothing can be told from ROUGE-L, which can score none of the answers"
    of_which = f" of the {count(scorable, 'fact')} whose answers ROUGE-L can score" if scorable < len(facts.ids) else ""
    return f"little can be called known{of_which}"
