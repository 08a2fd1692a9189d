"""The findings, in sentences generated from the numbers: nothing is claimed that an interval does not support."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.display import count
from dual_data.evaluation.report.collect import Collection, Group, Key, Run, clusters, stack
from dual_data.evaluation.report.contrast import (
    SHARE,
    Contrast,
    Pairing,
    average,
    compare_answered,
    compare_jumps,
    compare_pairs,
    compare_retention,
    compare_sets,
    compare_shares,
    pair_facts,
)
from dual_data.evaluation.report.frontier import balance
from dual_data.evaluation.report.places import chosen_cells, estimate, shown, trivial_rule
from dual_data.evaluation.report.swapped import elicited
from dual_data.evaluation.results import BASE, read_result
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Interval, bootstrap_mean, holm

LEVEL = 0.05
"""Significance level: a difference counts where its corrected p-value is below this."""


class Compared(NamedTuple):
    """One comparison."""

    about: tuple[str, str]
    """The dataset and, where its sentence is about one, the stage."""
    label: str
    """The text of its row: place, set or learning rate, method."""
    contrast: Contrast
    runs: tuple[Run, ...]
    """The results that it is computed from."""
    p_value: float | None = None
    """Corrected over all comparisons of its kind; None where nothing is tested."""


class PopularityAnswer(NamedTuple):
    """What can be said on popularity."""

    sentences: list[str]
    """By dataset."""
    similarity: list[str]
    """By dataset, how similar the paired facts are."""
    paired: list[Compared]
    """The comparisons at equal base confidence."""


def popularity_answer(collection: Collection) -> PopularityAnswer:
    """Are popular facts harder to forget?"""
    over_all, over_pairs, retained = list[Compared](), list[Compared](), list[Compared]()
    pairings: dict[tuple[str, str], list[Pairing]] = {}
    names = _Names.of(collection)
    for popular, rare in _popular_and_rare(collection.groups):
        lr = common_rate(popular, rare)
        if lr is None:
            continue
        key = popular.key
        about = (names.data(key), "")
        label = f"{names.place(key)}, {key.method} at {lr:g}"
        runs = tuple(run for group in (popular, rare) for run in (*group.before, *group.at(lr)))
        over_all.append(Compared(about, label, compare_sets(popular, rare, lr), runs))
        if pairing := pair_facts(popular, rare):
            pairings.setdefault(about, []).append(pairing)
            over_pairs.append(Compared(about, label, compare_pairs(popular, rare, lr, pairing), runs))
        if retention := compare_retention(popular, rare):
            curve_label = f"{names.place(key)}, {key.method}"
            retained.append(Compared(about, curve_label, retention, _all_runs(popular, rare)))
    if not over_all:
        sets = _values_with_missing(collection, "set")
        yet = any("popular" in name and name.replace("popular", "rare") in sets for name in sets)
        both = "one method and learning rate on both a rare and a popular set"
        return PopularityAnswer([f"{_no_results(both, yet=yet)}, so nothing is said about popularity."], [], [])
    sentences, similarity, unpaired_data = list[str](), list[str](), list[str]()
    over_all, over_pairs, retained = map(holm_corrected, (over_all, over_pairs, retained))
    for about in dict.fromkeys(comparison.about for comparison in over_all):
        data, unpaired, paired = about[0], _about(over_all, about), _about(over_pairs, about)
        sentences.append(_popularity_sentence(f"{data}, all facts", unpaired))
        if paired:
            sentences.append(_popularity_sentence(f"{data}, paired facts", paired))
            similarity.append(f"{data}: {_similarity_sentence(pairings[about])}")
        if lacking := len(unpaired) - len(paired):
            unpaired_data.append(f"{data} ({lacking} of {count(len(unpaired), 'comparison')})")
        if retention_of_data := _about(retained, about):
            sentences.append(
                _retention_sentence(data, "forgetting popular facts", "forgetting rare ones", retention_of_data)
            )
    if unpaired_data:
        sentences.append(f"Too few facts can be paired in {'; '.join(unpaired_data)}.")
    return PopularityAnswer(sentences, similarity, over_pairs)


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention, and what about it helps? Sentences and comparisons."""
    stages, uncorrected = _compare_with_pretrained(collection, compare_retention)
    if not stages:
        missing = "a stage beside pretrained"
        if any(group.key.stage != PRETRAINED for group in collection.groups):
            missing = "one method both after a stage and on the pretrained model"
        yet = _values_with_missing(collection, "stage") > {PRETRAINED}
        return [f"{_no_results(missing, yet=yet)}, so nothing is said about a training stage first."], []
    compared = holm_corrected(uncorrected)
    sentences = [
        _retention_sentence(
            ", ".join(about), "unlearning after this stage", "unlearning the pretrained model", of_stage
        )
        for about in stages
        if (of_stage := _about(compared, about))
    ]
    if lacking := [", ".join(about) for about in stages if not _about(compared, about)]:
        sentences.append(
            f"Retention cannot be compared at equal forgetting in {'; '.join(lacking)}: no method has learning rates "
            f"near {SHARE:.0%} of the forget score on both sides of it, after the stage and on the pretrained model."
        )
    for data in dict.fromkeys(data for data, _ in stages):
        sentences += _control_sentences(data, compared)
    return sentences, compared


def smoothness_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Is forgetting smoother over learning rates after a training stage? Sentences and comparisons, untested."""
    stages, compared = _compare_with_pretrained(collection, compare_jumps)
    sentences = []
    for about in stages:
        jumps = _about(compared, about)
        if not jumps:
            continue
        mean = average([comparison.contrast for comparison in jumps])
        smaller = sum(comparison.contrast.difference.value < 0 for comparison in jumps)
        sentences.append(
            f"{', '.join(about)}: the largest jump is on average {_points(mean)} "
            f"{'larger' if mean.value > 0 else 'smaller'} than on the pretrained model. It is smaller in {smaller} of "
            f"{count(len(jumps), 'comparison')}."
        )
    return sentences, compared


class _Leak(NamedTuple):
    """Facts of one cell that other wordings or prompts elicit though the question does not, of those known before."""

    group: Group
    share: Interval
    """Share of the facts known before whose answer is elicited."""
    excess: Contrast | None
    """That share minus the share for which the swapped answer is elicited (:mod:`swapped`), on the facts that have
    both; None where there is no such answer."""

    @property
    def beyond_chance(self) -> bool:
        """The p-value is asked too: draws of a few subjects can all be alike, and their interval has no width then."""
        if self.excess is None or self.excess.difference.p_value is None:
            return False
        return self.excess.difference.low > 0 and self.excess.difference.p_value < LEVEL

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
    names = _Names.of(collection)
    chance = "No relation has another answer to compare with."
    if compared:
        mean = average(compared)
        chance = (
            f"In {sum(leak.beyond_chance for leak in leaks)} of them this is more frequent than by chance (interval of "
            f"the difference above zero and p below {LEVEL}, not corrected for the number of cells). On average over "
            f"the cells, it is {_points(mean)} {'more' if mean.value >= 0 else 'less'} frequent than by chance."
        )
    beside = "" if clearest.excess is None else f", by chance {shown(clearest.excess.second)}"
    return [
        f"In {len(positive)} of {count(len(leaks), 'cell')}, another wording or prompt still brings out some facts "
        f"that were known before unlearning and that the question no longer brings out. {chance} The clearest case is "
        f"{clearest.group.key.method} ({names.place(clearest.group.key)}, {clearest.group.key.set}): "
        f"{shown(clearest.share)} of the facts known before{beside}."
    ]


def _leak(group: Group, runs: Sequence[Run]) -> _Leak | None:
    """None for a cell that was asked only the questions, or none of whose facts was known before."""
    known = stack(group.before, "forget", "contains_answer").mean(0) >= 0.5
    if not runs[0].sets["forget"].rephrased or not known.any():
        return None
    pairs = np.array([elicited(read_result(run.path)["items"]["forget"]) for run in runs], dtype=float)
    own, swapped = pairs[:, :, 0], pairs[:, :, 1]
    subjects = np.array(clusters(runs, "forget"))
    both = known & ~np.isnan(swapped).any(0)
    share = bootstrap_mean(own[:, known], subjects[known].tolist(), share=True)
    if not both.any():
        return _Leak(group, share, None)
    return _Leak(group, share, compare_shares(own, swapped, subjects.tolist(), both))


def baseline_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Which scores does a trivial rule explain? Sentences, and comparisons of the facts that it answers and the others.

    Where a model keeps the former and loses the others, its set seems hard to forget because of its answers.
    """
    sentences, names = [], _Names.of(collection)
    cells, uncorrected = chosen_cells(collection.groups), list[Compared]()
    for key, runs in sorted(collection.bases.items()):
        if key.stage != PRETRAINED:
            continue
        baseline, score = trivial_rule(runs), estimate(runs, "forget", "rougeL_recall")
        below = total = 0
        for group, chosen in cells:
            if group.key._replace(stage=PRETRAINED, method=BASE) == key:
                total += 1
                # The rule of its own stage, whose answers may differ.
                rule = float(group.before[0].trivial.mean())
                below += float(stack(chosen, "forget", "rougeL_recall").mean()) <= rule
        hardly = ", so little can be called known" if score.value <= baseline.value else ""
        sentence = (
            f"{names.data(key)}, {key.model}, {key.set}: the trivial rule reaches {shown(baseline)}, the model before "
            f"unlearning {shown(score)}{hardly}."
        )
        if total:
            are = "is" if total == 1 else "are"
            sentence += (
                f" After unlearning, {below} of {count(total, 'cell')} {are} at or below the rule of their own stage."
            )
        sentences.append(sentence)
    for group, chosen in cells:
        key, lr = group.key, chosen[0].lr
        if contrast := compare_answered(group, lr):
            label = f"{names.place(key)}, {key.set}, {key.method} at {lr:g}"
            uncorrected.append(Compared((names.data(key), key.set), label, contrast, (*group.before, *chosen)))
    compared = holm_corrected(uncorrected)
    sentences += [
        _answered_sentence(f"{data}, {name}", _about(compared, (data, name)))
        for data, name in dict.fromkeys(comparison.about for comparison in compared)
    ]
    return sentences, compared


def _answered_sentence(start: str, compared: Sequence[Compared]) -> str:
    mean, more, less = _mean_and_counts(compared)
    counts = _counts(
        "the facts that the rule answers are",
        {"harder to forget than the others": less, "easier to forget than the others": more},
        "no difference between the facts that the rule answers and the others is shown",
        compared,
    )
    return f"{start}: {counts}. {_average_loss(mean, compared, 'the facts that it answers', 'the others')}"


def common_rate(first: Group, second: Group) -> float | None:
    """The learning rate that the rule picks for both sets together, so that they are compared at the same rate."""
    rates = sorted(set(first.lrs) & set(second.lrs))
    if not rates or not first.before or not second.before:
        return None

    def mean_balance(lr: float) -> float:
        return sum(balance(group.point(lr), group.point(None)) for group in (first, second)) / 2

    return max(rates, key=lambda lr: (mean_balance(lr), -lr))


def holm_corrected(compared: Sequence[Compared]) -> list[Compared]:
    """The comparisons with p-values after Holm's correction; those of one seed are not tested and do not count."""
    contrasts = [comparison.contrast for comparison in compared]
    p_values = holm([contrast.difference.p_value if contrast.seeds > 1 else None for contrast in contrasts])
    return [comparison._replace(p_value=value) for comparison, value in zip(compared, p_values, strict=True)]


def _compare_with_pretrained(
    collection: Collection, compare: Callable[[Group, Group], Contrast | None]
) -> tuple[list[tuple[str, str]], list[Compared]]:
    """Compare every group after a stage with the same group of the pretrained model.

    Returns the (dataset, stage) pairs that have both, and the comparisons that were possible.
    """
    by_key, names = {group.key: group for group in collection.groups}, _Names.of(collection)
    stages: dict[tuple[str, str], None] = {}
    compared = []
    for key, group in by_key.items():
        pretrained = by_key.get(key._replace(stage=PRETRAINED))
        if key.stage == PRETRAINED or pretrained is None:
            continue
        about = (names.data(key), key.stage)
        stages.setdefault(about)
        if contrast := compare(group, pretrained):
            label = f"{names.place(key)}, {key.set}, {key.method}"
            compared.append(Compared(about, label, contrast, _all_runs(group, pretrained)))
    return list(stages), compared


def _all_runs(*groups: Group) -> tuple[Run, ...]:
    return tuple(run for group in groups for run in (*group.before, *group.runs))


def _popular_and_rare(groups: Iterable[Group]) -> Iterable[tuple[Group, Group]]:
    by_key = {group.key: group for group in groups}
    for key, popular in by_key.items():
        if "popular" in key.set:
            rare = by_key.get(key._replace(set=key.set.replace("popular", "rare")))
            if rare is not None:
                yield popular, rare


def _verdict(comparison: Compared) -> int:
    """The sign of a significant difference, else 0."""
    if comparison.p_value is None or comparison.p_value >= LEVEL:
        return 0
    return 1 if comparison.contrast.difference.value > 0 else -1


def _about(compared: Sequence[Compared], about: tuple[str, str]) -> list[Compared]:
    return [comparison for comparison in compared if comparison.about == about]


def _mean_and_counts(compared: Sequence[Compared]) -> tuple[Interval, int, int]:
    """Mean difference, and the numbers of significant positive and negative differences."""
    mean = average([comparison.contrast for comparison in compared])
    verdicts = [_verdict(comparison) for comparison in compared]
    return mean, verdicts.count(1), verdicts.count(-1)


def _popularity_sentence(start: str, compared: Sequence[Compared]) -> str:
    mean, more, less = _mean_and_counts(compared)
    counts = _counts(
        "popular facts are",
        {"harder to forget": less, "easier to forget": more},
        "no difference between popular and rare facts is shown",
        compared,
    )
    return f"{start}: {counts}. {_average_loss(mean, compared, 'popular facts', 'rare ones')}"


def _where(compared: Sequence[Compared]) -> str:
    return "On average" if len(compared) > 1 else "There"


def _average_loss(mean: Interval, compared: Sequence[Compared], first: str, second: str) -> str:
    more_or_less = "more" if mean.value > 0 else "less"
    return f"{_where(compared)}, {first} lose {shown(_size(mean))} {more_or_less} ROUGE-L recall than {second}."


def _counts(subject: str, outcomes: Mapping[str, int], neither: str, compared: Sequence[Compared]) -> str:
    """In how many comparisons each outcome is significant, and in how many none is."""
    total, significant = len(compared), sum(outcomes.values())
    untested = sum(comparison.contrast.seeds < 2 for comparison in compared)
    note = f" ({untested} of one seed, not tested)" if untested else ""
    if not significant:
        return f"{neither} in {'the one comparison' if total == 1 else f'any of {total} comparisons'}{note}"
    claims = " and ".join(f"{outcome} in {number}" for outcome, number in outcomes.items() if number)
    rest = f"; in the other {total - significant} no difference is shown{note}" if total > significant else ""
    return f"{subject} {claims} of {count(total, 'comparison')}{rest}"


def _retention_sentence(start: str, first: str, second: str, compared: Sequence[Compared]) -> str:
    mean, better, worse = _mean_and_counts(compared)
    counts = _counts(
        f"at equal forgetting, {first} keeps",
        {"more of the retain_eval score": better, "less of the retain_eval score": worse},
        "at equal forgetting, no difference in retention is shown",
        compared,
    )
    return (
        f"{start}: {counts}. {_where(compared)}, {first} keeps {_points(mean)} "
        f"{'more' if mean.value >= 0 else 'less'} of the retain_eval score than {second}."
    )


def _control_sentences(data: str, compared: Sequence[Compared]) -> list[str]:
    """What the control stages say about a gain of the stage `sft`; empty where `sft` could not be compared."""
    gained = _about(compared, (data, "sft"))
    if not gained:
        return []
    mean, better, worse = _mean_and_counts(gained)
    if better <= worse or mean.value <= 0:
        return [f"{data}: fine-tuning first (sft) is not shown to keep more of the retain score."]
    texts = {
        "sft_format": "the form of the answers, learned on other subjects",
        "sft_new": "facts that were first learned in that step",
        "sft_retain": "fine-tuning without the facts to forget",
    }
    gains = [
        f"{text} ({stage}) gives {_points(_mean_and_counts(of_control)[0], '+')}"
        for stage, text in texts.items()
        if (of_control := _about(compared, (data, stage)))
    ]
    start = (
        f"{data}: fine-tuning first (sft) keeps more of the retain score in {better} of "
        f"{count(len(gained), 'comparison')}, {_points(mean, '+')} on average"
    )
    if not gains:
        return [f"{start}; without its controls the grid cannot say why."]
    return [f"{start}. Of its controls, against the same pretrained model, {'; '.join(gains)}."]


def _no_results(missing: str, *, yet: bool) -> str:
    return f"There are no results of {missing}{' yet' if yet else ''}"


def _values_with_missing(collection: Collection, name: str) -> set[str]:
    """Values of a coordinate once all planned cells are measured; empty where none is missing."""
    measured = {getattr(key, name) for key in collection.keys}
    missing = {str(cell[name]) for cell in collection.missing}
    return measured | missing if missing else set()


class _Names(NamedTuple):
    """Names of places, with preset and profile where the results have several."""

    several: tuple[str, ...]

    @classmethod
    def of(cls, collection: Collection) -> _Names:
        keys = [group.key for group in collection.groups]
        return cls(tuple(name for name in ("preset", "profile") if len({getattr(key, name) for key in keys}) > 1))

    def data(self, key: Key) -> str:
        return ", ".join((key.data, *(getattr(key, name) for name in self.several)))

    def place(self, key: Key) -> str:
        return f"{self.data(key)}, {key.model}, {key.stage}"


def _similarity_sentence(pairings: Sequence[Pairing]) -> str:
    """How similar the paired facts are, in the comparison where they are least similar."""
    fewest = min(len(pairing.pairs) for pairing in pairings)
    confidence, score = (
        max(gaps, key=lambda gap: abs(gap.value))
        for gaps in ([pairing.confidence for pairing in pairings], [pairing.score for pairing in pairings])
    )
    return (
        f"each comparison has at least {fewest} pairs of facts of which the model before unlearning answers both or "
        f"neither. On average over the pairs, its log-probability of the popular fact's answer is at most "
        f"{shown(_size(confidence))} nats a token {'higher' if confidence.value >= 0 else 'lower'}, and its ROUGE-L "
        f"recall at most {shown(_size(score))} {'higher' if score.value >= 0 else 'lower'}."
    )


def _size(mean: Interval) -> Interval:
    """A difference without its sign: negative values in its interval are differences in the other direction."""
    return mean if mean.value >= 0 else Interval(-mean.value, -mean.high, -mean.low)


def _points(share: Interval, sign: str = "") -> str:
    """A difference of shares in percentage points: its size, or with `sign` "+" the signed value."""
    value, low, high = (100 * end for end in (share if sign else _size(share))[:3])
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}] percentage points"
