"""The findings, in sentences made from the numbers: nothing is said that an interval does not carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.report.collect import Collection, Group, Key, Run, clusters, stack
from dual_data.evaluation.report.contrast import (
    SHARE,
    Contrast,
    Pairing,
    average,
    compare_jumps,
    compare_pairs,
    compare_retention,
    compare_sets,
    pair_facts,
)
from dual_data.evaluation.report.frontier import Point, balance
from dual_data.evaluation.report.places import chosen_cells, estimate, shown, trivial_rule
from dual_data.evaluation.report.swapped import brought_out
from dual_data.evaluation.results import BASE, read_result
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Interval, bootstrap_difference, bootstrap_mean, holm

LEVEL = 0.05
"""A difference is called one where its corrected p-value is below this."""


class Compared(NamedTuple):
    """One comparison."""

    about: tuple[str, str]
    """What its sentence is about: the dataset, and the stage where its sentence is about one."""
    place: str
    contrast: Contrast
    runs: tuple[Run, ...]
    """The results that it is made from."""
    p_value: float | None = None
    """Corrected over all comparisons of its kind; None for what no test holds of."""


def popularity_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Are popular facts harder to forget? Sentences by dataset, and the comparisons at equal base confidence."""
    plain, equal, kept = list[Compared](), list[Compared](), list[Compared]()
    pairings: dict[tuple[str, str], list[Pairing]] = {}
    names = _Names.of(collection)
    for popular, rare in _popular_and_rare(collection.groups):
        lr = common_rate(popular, rare)
        if lr is None:
            continue
        key = popular.key
        about = (names.data(key), "")
        place = f"{names.place(key)}, {key.method} at {lr:g}"
        runs = tuple(run for group in (popular, rare) for run in (*group.before, *group.at(lr)))
        plain.append(Compared(about, place, compare_sets(popular, rare, lr), runs))
        if pairing := pair_facts(popular, rare):
            pairings.setdefault(about, []).append(pairing)
            equal.append(Compared(about, place, compare_pairs(popular, rare, lr, pairing), runs))
        if retention := compare_retention(popular, rare):
            where = f"{names.place(key)}, {key.method}"
            kept.append(Compared(about, where, retention, _all_runs(popular, rare)))
    if not plain:
        named = _with_missing(collection, "set")
        yet = any("popular" in one and one.replace("popular", "rare") in named for one in named)
        both = "one method and learning rate on both a rare and a popular set"
        return [f"{_no_results(both, yet=yet)}, so nothing is said about popularity."], []
    sentences = []
    all_facts, of_pairs, retained = corrected(plain), corrected(equal), corrected(kept)
    for about in dict.fromkeys(one.about for one in plain):
        data, whole, paired = about[0], _of(all_facts, about), _of(of_pairs, about)
        sentences.append(_popularity(f"{data}, over all facts of the two sets", whole))
        sentences.append(_popularity(f"{data}, over facts paired on the confidence before unlearning", paired))
        if paired:
            sentences.append(f"{data}: {_alike(pairings[about])}")
        if unpaired := len(whole) - len(paired):
            sentences.append(f"{data}: in {unpaired} of {len(whole)} comparisons too few facts can be paired.")
        if found := _of(retained, about):
            sentences.append(_kept(data, "forgetting popular facts", "forgetting rare ones", found))
    return sentences, of_pairs


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention, and which of its parts? Sentences and comparisons."""
    asked, found = _against_pretrained(collection, compare_retention)
    if not asked:
        what = "a stage beside pretrained"
        if any(group.key.stage != PRETRAINED for group in collection.groups):
            what = "one method both after a stage and on the pretrained model"
        yet = _with_missing(collection, "stage") > {PRETRAINED}
        return [f"{_no_results(what, yet=yet)}, so nothing is said about a training stage first."], []
    compared = corrected(found)
    sentences = []
    for about in asked:
        start = ", ".join(about)
        if of_stage := _of(compared, about):
            sentences.append(_kept(start, "unlearning after this stage", "unlearning the pretrained model", of_stage))
        else:
            sentences.append(
                f"{start}: no method has learning rates near {SHARE:.0%} of the forget score on both sides of it, here "
                "and on the pretrained model, so retention cannot be compared at equal forgetting."
            )
    for data in dict.fromkeys(data for data, _ in asked):
        sentences += _reading(data, compared)
    return sentences, compared


def smoothness_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Is forgetting smoother over learning rates after a training stage? Sentences and comparisons, untested."""
    asked, compared = _against_pretrained(collection, compare_jumps)
    sentences = []
    for about in asked:
        found = _of(compared, about)
        if not found:
            continue
        mean = average([one.contrast for one in found])
        smaller = sum(one.contrast.difference.value < 0 for one in found)
        sentences.append(
            f"{', '.join(about)}: the largest jump of the forget score between neighbouring learning rates, in per "
            f"cent of that score before unlearning, is {_points(mean)} {'larger' if mean.value > 0 else 'smaller'} "
            f"than on the pretrained model, on average over {_count(len(found), 'comparison')}, and smaller in "
            f"{smaller} of them. Noise alone makes the largest of several changes large: this describes the curves and "
            "tests nothing."
        )
    return sentences, compared


class _Leak(NamedTuple):
    """What other wordings and prompts bring out of one cell, though the question does not: over facts known before."""

    group: Group
    found: Interval
    """Share of the facts whose answer comes out so."""
    by_chance: Interval | None
    """Share of those with another answer of the relation of which that comes out so; None where there are none."""
    excess: Interval | None
    """The first minus the second, on the facts that have both."""

    @property
    def shown(self) -> bool:
        return self.excess is not None and self.excess.low > 0


def wording_answer(collection: Collection) -> list[str]:
    """Does forgetting carry over to other wordings? At the chosen learning rates, of facts answered before."""
    leaks = [leak for group, runs in chosen_cells(collection.groups) if (leak := _leak(group, runs)) is not None]
    some = [one for one in leaks if one.found.value > 0]
    if not some:
        return ["In no cell do other wordings bring out facts that the question no longer does."] if leaks else []
    # By the lower end: a cell with three facts known before can have the largest share of all by chance.
    most = max(some, key=lambda one: ((one.excess or one.found).low, (one.excess or one.found).value))
    names = _Names.of(collection)
    chance = (
        "there is no other answer of the relation to hold them against"
        if all(one.by_chance is None for one in leaks)
        else f"in {sum(one.shown for one in leaks)} of them more often than the answer of another fact of the relation "
        "does, by chance (interval above zero)"
    )
    beside = "" if most.by_chance is None else f", and by chance {shown(most.by_chance)}"
    return [
        f"In {len(some)} of {len(leaks)} cells the answers of some facts that were known before unlearning come with "
        f"another wording or prompt though no longer with the question; {chance}. Most clearly with "
        f"{most.group.key.method} ({names.place(most.group.key)}, {most.group.key.set}): {shown(most.found)} of the "
        f"facts known before{beside}."
    ]


def _leak(group: Group, runs: Sequence[Run]) -> _Leak | None:
    """None for a cell that was asked nothing but the questions, or of which no fact was known before."""
    known = stack(group.before, "forget", "contains_answer").mean(0) >= 0.5
    if not runs[0].sets["forget"].rephrased or not known.any():
        return None
    sides = [brought_out(read_result(run.path)["items"]["forget"]) for run in runs]
    own, other = (np.array([[pair[side] for pair in of_run] for of_run in sides], dtype=float) for side in (0, 1))
    subjects = np.array(clusters(runs, "forget"))
    both = known & ~np.isnan(other).any(0)
    found = bootstrap_mean(own[:, known], subjects[known].tolist(), share=True)
    if not both.any():
        return _Leak(group, found, None, None)
    names = subjects[both].tolist()
    by_chance = bootstrap_mean(other[:, both], names, share=True)
    return _Leak(group, found, by_chance, bootstrap_difference(own[:, both], other[:, both], names))


def baseline_answer(collection: Collection) -> list[str]:
    """Which scores does a trivial rule explain?"""
    sentences, names = [], _Names.of(collection)
    for key, runs in collection.bases.items():
        if key.stage != PRETRAINED:
            continue
        baseline, score = trivial_rule(runs), estimate(runs, "forget", "rougeL_recall")
        below = total = 0
        for group, chosen in chosen_cells(collection.groups):
            if group.key._replace(stage=PRETRAINED, method=BASE) == key:
                total += 1
                # A stage of its own: other answers have another rule.
                rule = float(group.before[0].trivial.mean())
                below += float(stack(chosen, "forget", "rougeL_recall").mean()) <= rule
        hardly = ", so that little can be called known" if score.value <= baseline.value else ""
        sentences.append(
            f"{names.data(key)}, {key.model}, {key.set}: on the forget facts measured, the best trivial rule, which "
            f"knows no fact, reaches {shown(baseline)} ROUGE-L recall, the model before unlearning {shown(score)}"
            f"{hardly}; after unlearning {below} of {total} cells are at or below the rule of their own stage."
        )
    return sentences


def common_rate(first: Group, second: Group) -> float | None:
    """The learning rate that the rule picks for two sets together, so that they are compared at the same one."""
    rates = sorted(set(first.lrs) & set(second.lrs))
    if not rates or not first.before or not second.before:
        return None

    def mean_balance(lr: float) -> float:
        return sum(balance(_point(group, lr), _point(group, None)) for group in (first, second)) / 2

    return max(rates, key=lambda lr: (mean_balance(lr), -lr))


def corrected(found: Sequence[Compared]) -> list[Compared]:
    """The same with Holm's correction over those of several seeds: what one seed gives is no test of a method."""
    values = holm([one.contrast.difference.p_value if one.contrast.seeds > 1 else None for one in found])
    return [one._replace(p_value=value) for one, value in zip(found, values, strict=True)]


def _against_pretrained(
    collection: Collection, compare: Callable[[Group, Group], Contrast | None]
) -> tuple[list[tuple[str, str]], list[Compared]]:
    """Every group of a stage against the same group of the pretrained model: the datasets and stages that have both,
    and the comparisons that were possible."""
    by_key, names = {group.key: group for group in collection.groups}, _Names.of(collection)
    asked: dict[tuple[str, str], None] = {}
    compared = []
    for key, group in by_key.items():
        pretrained = by_key.get(key._replace(stage=PRETRAINED))
        if key.stage == PRETRAINED or pretrained is None:
            continue
        about = (names.data(key), key.stage)
        asked.setdefault(about)
        if contrast := compare(group, pretrained):
            place = f"{names.place(key)}, {key.set}, {key.method}"
            compared.append(Compared(about, place, contrast, _all_runs(group, pretrained)))
    return list(asked), compared


def _all_runs(*groups: Group) -> tuple[Run, ...]:
    return tuple(run for group in groups for run in (*group.before, *group.runs))


def _point(group: Group, lr: float | None) -> Point:
    runs = group.before if lr is None else group.at(lr)
    forget, retain = (float(stack(runs, name, "rougeL_recall").mean()) for name in ("forget", "retain_train"))
    return Point(lr or 0.0, forget, retain)


def _popular_and_rare(groups: Iterable[Group]) -> Iterable[tuple[Group, Group]]:
    by_key = {group.key: group for group in groups}
    for key, group in by_key.items():
        if "popular" in key.set:
            other = by_key.get(key._replace(set=key.set.replace("popular", "rare")))
            if other is not None:
                yield group, other


def _verdict(one: Compared) -> int:
    """1 or -1 where the difference is one, else 0."""
    if one.p_value is None or one.p_value >= LEVEL:
        return 0
    return 1 if one.contrast.difference.value > 0 else -1


def _of(compared: Sequence[Compared], about: tuple[str, str]) -> list[Compared]:
    return [one for one in compared if one.about == about]


def _counts(compared: Sequence[Compared]) -> tuple[Interval, int, int]:
    """Mean difference, and how many differences are positive and negative ones."""
    mean = average([one.contrast for one in compared])
    verdicts = [_verdict(one) for one in compared]
    return mean, verdicts.count(1), verdicts.count(-1)


def _popularity(start: str, compared: Sequence[Compared]) -> str:
    if not compared:
        return f"{start}: nothing could be compared."
    mean, more, less = _counts(compared)
    said = _said(
        (more, "popular facts are easier to forget"),
        (less, "popular facts are harder to forget"),
        "whether popular facts are harder to forget depends on method and stage",
        "no difference between popular and rare facts is shown",
        len(compared),
    )
    return (
        f"{start}: {said}. Popular facts lose {shown(_size(mean))} ROUGE-L recall "
        f"{'more' if mean.value > 0 else 'less'} than rare ones, on average over "
        f"{_count(len(compared), 'comparison')}. They lose less in {less} of them and more in {more}; in "
        f"{len(compared) - more - less} no difference is shown{_untested(compared)}."
    )


def _untested(compared: Sequence[Compared]) -> str:
    alone = sum(one.contrast.seeds < 2 for one in compared)
    return f" ({alone} of one seed, not tested)" if alone else ""


def _said(more: tuple[int, str], less: tuple[int, str], both: str, neither: str, compared: int) -> str:
    """What holds: one direction, both or neither, and in how many of the comparisons where not in all."""
    shown = [one for one in (more, less) if one[0]]
    if len(shown) != 1:
        return both if shown else neither
    ((some, said),) = shown
    return said if some == compared else f"{said} in {some} of {compared} comparisons"


def _kept(start: str, what: str, than: str, compared: Sequence[Compared]) -> str:
    mean, better, worse = _counts(compared)
    return (
        f"{start}: where {SHARE:.0%} of the forget score is gone, interpolated between the measurements on either "
        f"side of it, {what} keeps {_points(mean)} {'more' if mean.value >= 0 else 'less'} of the retain_eval score "
        f"from before unlearning than {than}, on average over {_count(len(compared), 'comparison')}. It keeps more in "
        f"{better} of them and less in {worse}; in {len(compared) - better - worse} no difference is shown"
        f"{_untested(compared)}."
    )


def _reading(data: str, compared: Sequence[Compared]) -> list[str]:
    """What the controls say about a gain of the stage `sft`; nothing where it could not be compared."""
    gained = _of(compared, (data, "sft"))
    if not gained:
        return []
    mean, better, worse = _counts(gained)
    if better <= worse or mean.value <= 0:
        return [f"{data}: fine-tuning first (sft) is not shown to keep more of the retain score."]
    texts = {
        "sft_format": "the form of the answers, learned on other subjects",
        "sft_new": "facts that were first learned in that step",
        "sft_retain": "fine-tuning without the facts to forget",
    }
    parts = [
        f"{text} ({stage}) gives {_points(_counts(found)[0], '+')}"
        for stage, text in texts.items()
        if (found := _of(compared, (data, stage)))
    ]
    start = (
        f"{data}: fine-tuning first (sft) keeps more of the retain score in {better} of "
        f"{_count(len(gained), 'comparison')}, {_points(mean, '+')} on average"
    )
    if not parts:
        return [f"{start}; without its controls the grid cannot say why."]
    return [f"{start}. Of its controls, against the same pretrained model, {'; '.join(parts)}."]


def _no_results(what: str, *, yet: bool) -> str:
    return f"There are no results of {what}{' yet' if yet else ''}"


def _with_missing(collection: Collection, name: str) -> set[str]:
    """Values of a coordinate once all is there that was planned; none where nothing is missing."""
    there = {getattr(key, name) for key in (*collection.bases, *(group.key for group in collection.groups))}
    missing = {str(place[name]) for place in collection.missing}
    return there | missing if missing else set()


class _Names(NamedTuple):
    """How places are named: presets and profiles too, where the results are of several."""

    several: tuple[str, ...]

    @classmethod
    def of(cls, collection: Collection) -> _Names:
        keys = [group.key for group in collection.groups]
        return cls(tuple(one for one in ("preset", "profile") if len({getattr(key, one) for key in keys}) > 1))

    def data(self, key: Key) -> str:
        return ", ".join((key.data, *(getattr(key, one) for one in self.several)))

    def place(self, key: Key) -> str:
        return f"{self.data(key)}, {key.model}, {key.stage}"


def _alike(pairings: Sequence[Pairing]) -> str:
    """How alike paired facts are, where they are least so."""
    fewest = min(len(one.pairs) for one in pairings)
    confidence, score = (
        max(gaps, key=lambda gap: abs(gap.value))
        for gaps in ([one.confidence for one in pairings], [one.score for one in pairings])
    )
    return (
        f"at least {fewest} popular facts are paired with rare ones in each comparison, such that the model before "
        "unlearning answers both or neither. On average its log-probability of the popular fact's answer is at most "
        f"{shown(_size(confidence))} nats a token {'higher' if confidence.value >= 0 else 'lower'}, and its ROUGE-L "
        f"recall at most {shown(_size(score))} {'higher' if score.value >= 0 else 'lower'}."
    )


def _size(mean: Interval) -> Interval:
    """A difference without its sign: what is negative in its interval is a difference the other way."""
    return mean if mean.value >= 0 else Interval(-mean.value, -mean.high, -mean.low)


def _points(share: Interval, sign: str = "") -> str:
    """A difference of shares: its size, or with a sign."""
    value, low, high = (100 * one for one in (share if sign else _size(share))[:3])
    return f"{value:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}] percentage points"


def _count(amount: int, noun: str) -> str:
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
