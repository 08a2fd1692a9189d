"""What the numbers answer, in sentences made from them: nothing is said that an interval does not carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.frontier import Point, balance
from dual_data.evaluation.report.collect import Collection, Group, Key, Run, clusters, stack
from dual_data.evaluation.report.contrast import (
    Contrast,
    Pairing,
    average,
    compare_jumps,
    compare_pairs,
    compare_retention,
    compare_sets,
    pair_facts,
)
from dual_data.evaluation.report.places import estimate, number, trivial_rule
from dual_data.evaluation.report.swapped import swapped_hits
from dual_data.evaluation.results import BASE, read_result
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Interval, bootstrap_difference, bootstrap_mean, holm

LEVEL = 0.05
"""A difference is called one where its corrected p-value is below this."""
SHARE = 0.5
"""Retention is compared where this share of the forget score is gone."""


class _Asked(NamedTuple):
    """A comparison that may have been impossible."""

    group: tuple[str, str]
    """What its sentence is about: the dataset, and the stage where its sentence is about one."""
    place: str
    contrast: Contrast | None
    runs: tuple[Run, ...]
    """The results that it is made from."""


class Compared(NamedTuple):
    """One comparison with its p-value corrected over all of its kind."""

    group: tuple[str, str]
    place: str
    contrast: Contrast
    runs: tuple[Run, ...]
    corrected: float | None
    """None for what no test holds of."""


def popularity_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Are popular facts harder to forget? Sentences by dataset, and the comparisons at equal base confidence."""
    plain: list[_Asked] = []
    equal: list[_Asked] = []
    kept: list[_Asked] = []
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
        plain.append(_Asked(about, place, compare_sets(popular, rare, (lr, lr)), runs))
        pairing = pair_facts(popular, rare)
        paired = None if pairing is None else compare_pairs(popular, rare, (lr, lr), pairing)
        pairings.setdefault(about, []).extend([] if pairing is None else [pairing])
        equal.append(_Asked(about, place, paired, runs))
        retention = compare_retention(popular, rare, share=SHARE)
        kept.append(_Asked(about, f"{names.place(key)}, {key.method}", retention, _all_runs(popular, rare)))
    if not plain:
        return ["The grid does not hold both a rare and a popular set, so it says nothing about popularity."], []
    sentences = []
    all_facts, of_pairs, retained = corrected(plain), corrected(equal), corrected(kept)
    for about in dict.fromkeys(one.group for one in plain):
        asked = [one for one in equal if one.group == about]
        sentences.append(_popularity(f"{about[0]}, over all facts of the two sets", _of(all_facts, about)))
        sentences.append(_popularity(f"{about[0]}, over facts of equal base confidence", _of(of_pairs, about)))
        if pairings[about]:
            sentences.append(f"{about[0]}: {_alike(pairings[about])}")
        if unpaired := sum(one.contrast is None for one in asked):
            sentences.append(
                f"{about[0]}: in {unpaired} of {len(asked)} comparisons too few facts have equal confidence."
            )
        if found := _of(retained, about):
            sentences.append(_kept(about[0], "forgetting popular facts", "forgetting rare ones", found))
    return sentences, of_pairs


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention, and which of its parts? Sentences and comparisons."""
    asked = _against_pretrained(collection, lambda group, other: compare_retention(group, other, share=SHARE))
    if not asked:
        return ["The grid has no stage beside pretrained, so it says nothing about a training stage first."], []
    compared = corrected(asked)
    sentences = []
    for name in dict.fromkeys(one.group for one in asked):
        found = _of(compared, name)
        start = ", ".join(name)
        if found:
            sentences.append(_kept(start, "unlearning after this stage", "unlearning the pretrained model", found))
        else:
            sentences.append(
                f"{start}: no method has learning rates on both sides of {SHARE:.0%} of what it knew, and near, both "
                "here and on the pretrained model, so retention cannot be compared at equal forgetting."
            )
    for data in dict.fromkeys(one.group[0] for one in asked):
        sentences += _reading(data, compared)
    return sentences, compared


def smoothness_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Is forgetting smoother over learning rates after a training stage? Sentences and comparisons, untested."""
    asked = _against_pretrained(collection, compare_jumps)
    compared = [
        Compared(one.group, one.place, one.contrast, one.runs, None) for one in asked if one.contrast is not None
    ]
    sentences = []
    for name in dict.fromkeys(one.group for one in compared):
        found = _of(compared, name)
        mean = average([one.contrast for one in found])
        smaller = sum(one.contrast.difference.value < 0 for one in found)
        sentences.append(
            f"{', '.join(name)}: the largest jump of the forget score between neighbouring learning rates, in per cent "
            f"of that score before unlearning, is {_points(mean)} {'larger' if mean.value > 0 else 'smaller'} than on "
            f"the pretrained model, on average over {_count(len(found), 'comparison')}, and smaller in {smaller} of "
            "them. The largest of several changes is large by noise alone: this describes the curves and tests nothing."
        )
    return sentences, compared


def wording_answer(collection: Collection) -> list[str]:
    """Does forgetting carry over to other wordings? At the chosen learning rates, of facts got out before."""
    gaps = []
    for group in collection.groups:
        lr = group.chosen()
        if lr is None or not group.before or not group.at(lr)[0].sets["forget"].rephrased:
            continue
        runs = group.at(lr)
        known = stack(group.before, "forget", "contains_answer").mean(0) >= 0.5
        if not known.any():
            continue
        worst, asked = (stack(runs, "forget", score)[:, known] for score in ("worst", "contains_answer"))
        subjects = [name for name, one in zip(clusters(runs, "forget"), known, strict=True) if one]
        gaps.append((group, bootstrap_difference(worst, asked, subjects)))
    if not gaps:
        return []
    leaks = [(group, gap) for group, gap in gaps if gap.value > 0]
    if not leaks:
        return ["In no cell do other wordings get out facts that the question no longer does."]
    group, largest = max(leaks, key=lambda pair: pair[1].value)
    names = _Names.of(collection)
    return [
        f"In {len(leaks)} of {len(gaps)} cells some facts that the question got out before and no longer does still "
        f"come with another wording or prompt, in {sum(gap.low > 0 for _, gap in leaks)} of them more than drawing "
        f"facts explains; most with {group.key.method} ({names.place(group.key)}, {group.key.set}): {number(largest)} "
        f"of the facts got out before.{_by_chance(group)}"
    ]


def _by_chance(group: Group) -> str:
    """How much of the worst case many tries at any answer of the relation would give."""
    runs = group.at(group.chosen() or 0.0)
    hits = [swapped_hits(read_result(run.path)["items"]["forget"]) for run in runs]
    other = [place for place, hit in enumerate(hits[0]) if hit is not None]
    if not other:
        return ""
    subjects = clusters(runs, "forget")
    table = np.array([[bool(of_run[place]) for place in other] for of_run in hits])
    found = bootstrap_mean(table, [subjects[place] for place in other], share=True)
    return f" There the answer of another fact of the relation comes with some wording or prompt in {number(found)}."


def baseline_answer(collection: Collection) -> list[str]:
    """Which scores does a trivial rule explain?"""
    sentences, names = [], _Names.of(collection)
    for key, runs in collection.bases.items():
        if key.stage != PRETRAINED or not runs[0].sets:
            continue
        baseline, score = trivial_rule(runs), estimate(runs, "forget", "rougeL_recall")
        below = total = 0
        for group in collection.groups:
            lr = group.chosen()
            if lr is not None and group.key._replace(stage=PRETRAINED, method=BASE) == key:
                total += 1
                # A stage of its own: other answers have another rule.
                rule = float(group.before[0].trivial.mean())
                below += float(stack(group.at(lr), "forget", "rougeL_recall").mean()) <= rule
        hardly = ", so that little can be called known" if score.value <= baseline.value else ""
        sentences.append(
            f"{names.data(key)}, {key.model}, {key.set}: on the forget facts measured, a rule that knows no fact "
            f"reaches {number(baseline)} ROUGE-L recall, the model before unlearning {number(score)}{hardly}; after "
            f"unlearning {below} of {total} cells are at or below the rule of their own stage."
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


def corrected(found: Sequence[_Asked]) -> list[Compared]:
    """Those that could be compared, with Holm's correction over them."""
    known = [(one.group, one.place, one.contrast, one.runs) for one in found if one.contrast is not None]
    values = holm([contrast.difference.p_value or 0.0 for _, _, contrast, _ in known])
    return [Compared(*one, value) for one, value in zip(known, values, strict=True)]


def _against_pretrained(collection: Collection, compare: Callable[[Group, Group], Contrast | None]) -> list[_Asked]:
    """Every group of a stage against the same group of the pretrained model."""
    by_key, names = {group.key: group for group in collection.groups}, _Names.of(collection)
    asked = []
    for key, group in by_key.items():
        pretrained = by_key.get(key._replace(stage=PRETRAINED))
        if key.stage != PRETRAINED and pretrained is not None:
            place = f"{names.place(key)}, {key.set}, {key.method}"
            runs = _all_runs(group, pretrained)
            asked.append(_Asked((names.data(key), key.stage), place, compare(group, pretrained), runs))
    return asked


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
    if one.corrected is None or one.corrected >= LEVEL:
        return 0
    return 1 if one.contrast.difference.value > 0 else -1


def _of(compared: Sequence[Compared], group: tuple[str, str]) -> list[Compared]:
    return [one for one in compared if one.group == group]


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
        f"{start}: {said}. Popular facts lose {number(_size(mean))} ROUGE-L recall "
        f"{'more' if mean.value > 0 else 'less'} than rare ones, on average over "
        f"{_count(len(compared), 'comparison')}. They lose less in {less} of them and more in {more}; in "
        f"{len(compared) - more - less} no difference is shown."
    )


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
        f"{start}: at the point where {SHARE:.0%} of the forget score is gone, on a line between two learning rates "
        f"near it (or before unlearning), {what} keeps {_points(mean)} "
        f"{'more' if mean.value >= 0 else 'less'} of the held-out retain score, in per cent of that score before "
        f"unlearning, than {than}, on average over {_count(len(compared), 'comparison')}. It keeps more in {better} of "
        f"them and less in {worse}; in {len(compared) - better - worse} no difference is shown."
    )


def _reading(data: str, compared: Sequence[Compared]) -> list[str]:
    """What the controls say about a gain of the stage `sft`; nothing where it could not be compared."""
    gained = _of(compared, (data, "sft"))
    if not gained:
        return []
    mean, better, worse = _counts(gained)
    if better <= worse or mean.value <= 0:
        return [f"{data}: no gain of fine-tuning first is shown that would need an explanation."]
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
        f"these are {fewest} pairs or more that the model before unlearning answers both or neither. Against their "
        f"rare partners popular facts have at most {number(_size(confidence))} nats a token "
        f"{'more' if confidence.value >= 0 else 'less'} of the answer before, and {number(_size(score))} ROUGE-L "
        f"recall {'more' if score.value >= 0 else 'less'}."
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
