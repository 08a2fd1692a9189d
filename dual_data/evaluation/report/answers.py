"""What the numbers answer, in sentences made from them: nothing is said that an interval does not carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.frontier import Point, balance
from dual_data.evaluation.report.collect import Collection, Group, Key, clusters, stack
from dual_data.evaluation.report.contrast import (
    Contrast,
    compare_at_equal_confidence,
    compare_retention,
    compare_sets,
)
from dual_data.evaluation.settings import PRETRAINED
from dual_data.evaluation.statistics import Interval, bootstrap_difference, holm

LEVEL = 0.05
"""A difference is called one where its corrected p-value is below this."""
SHARE = 0.5
"""Retention is compared where this share of the forget score is gone."""


class Compared(NamedTuple):
    """One comparison with its p-value corrected over all of its kind."""

    place: str
    contrast: Contrast
    corrected: float


def number(interval: Interval, digits: int = 3) -> str:
    """An estimate with its interval."""
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def popularity_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Are popular facts harder to forget? Sentences, and the comparisons at equal base confidence."""
    pairs = list(_popular_and_rare(collection.groups))
    if not pairs:
        return ["The grid does not hold both a rare and a popular set, so it says nothing about popularity."], []
    plain: list[tuple[str, Contrast | None]] = []
    equal: list[tuple[str, Contrast | None]] = []
    for popular, rare in pairs:
        lr = common_rate(popular, rare)
        if lr is None:
            continue
        place = f"{_where(popular.key)}, {popular.key.method} at {lr:g}"
        plain.append((place, compare_sets(popular, rare, (lr, lr))))
        equal.append((place, compare_at_equal_confidence(popular, rare, (lr, lr))))
    sentences = _tally("As published, over all facts of the two sets", corrected(plain))
    matched = corrected(equal)
    sentences += _tally("Over facts paired by the base's confidence in the answer", matched)
    if unpaired := sum(contrast is None for _, contrast in equal):
        sentences.append(f"In {unpaired} of {len(equal)} comparisons too few facts could be paired by confidence.")
    return sentences, matched


def stage_answer(collection: Collection) -> tuple[list[str], list[Compared]]:
    """Does a training stage first help retention, and which of its parts? Sentences and comparisons."""
    found: list[tuple[str, Contrast | None]] = []
    stages: dict[str, list[str]] = defaultdict(list)
    by_key = {group.key: group for group in collection.groups}
    for key, group in by_key.items():
        pretrained = by_key.get(key._replace(stage=PRETRAINED))
        if key.stage == PRETRAINED or pretrained is None:
            continue
        place = f"{_where(key)}, {key.set}, {key.method}"
        stages[key.stage].append(place)
        found.append((place, compare_retention(group, pretrained, share=SHARE)))
    if not found:
        return ["The grid has no stage beside pretrained, so it says nothing about a training stage first."], []
    compared = corrected(found)
    known = {one.place: one for one in compared}
    sentences, gains = [], {}
    for stage, places in stages.items():
        inside = [known[place] for place in places if place in known]
        if not inside:
            sentences.append(
                f"{stage}: no method forgets {SHARE:.0%} of what it knew both here and on the pretrained model, so "
                "retention cannot be compared at equal forgetting."
            )
            continue
        mean = float(np.mean([one.contrast.difference.value for one in inside]))
        better = sum(_verdict(one) > 0 for one in inside)
        worse = sum(_verdict(one) < 0 for one in inside)
        gains[stage] = (mean, better, worse, len(inside))
        sentences.append(
            f"{stage}: where {SHARE:.0%} of the forget score is gone, {abs(mean):.1%} "
            f"{'more' if mean >= 0 else 'less'} of the held-out retain score is kept than on the pretrained model "
            f"(mean over {_count(len(inside), 'comparison')}; better in {better}, worse in {worse}, "
            f"no difference shown in {len(inside) - better - worse})."
        )
    sentences += _reading(gains)
    return sentences, compared


def wording_answer(collection: Collection) -> list[str]:
    """Does forgetting carry over to other wordings? At the chosen learning rates."""
    kept = []
    for group in collection.groups:
        lr = group.chosen()
        if lr is None:
            continue
        runs = group.at(lr)
        worst, asked = stack(runs, "forget", "worst"), stack(runs, "forget", "contains_answer")
        kept.append((group, bootstrap_difference(worst, asked, clusters(runs, "forget"))))
    if not kept:
        return []
    leaks = [(group, gap) for group, gap in kept if gap.low > 0]
    if not leaks:
        return ["In no cell do other wordings get out facts that the question itself does not."]
    group, largest = max(leaks, key=lambda pair: pair[1].value)
    return [
        f"In {len(leaks)} of {len(kept)} cells some facts that the question no longer gets out still come with another "
        f"wording or prompt; most with {group.key.method} ({_where(group.key)}, {group.key.set}): {number(largest)} "
        "of the facts."
    ]


def baseline_answer(collection: Collection) -> list[str]:
    """Which scores does a trivial rule explain?"""
    sentences = []
    for key, runs in collection.bases.items():
        forget = runs[0].summary["forget"]
        baseline, score = forget["baseline"], forget["rougeL_recall"]
        if key.stage != PRETRAINED or baseline is None or score is None:
            continue
        below = total = 0
        for group in collection.groups:
            lr = group.chosen()
            if lr is not None and (group.key.data, group.key.model, group.key.set) == (key.data, key.model, key.set):
                total += 1
                below += float(stack(group.at(lr), "forget", "rougeL_recall").mean()) <= baseline
        sentences.append(
            f"{key.data}, {key.model}, {key.set}: a rule that knows no fact reaches {baseline:.3f}, the model before "
            f"unlearning {score:.3f}; after unlearning {below} of {total} cells are at or below the rule."
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


def corrected(found: Sequence[tuple[str, Contrast | None]]) -> list[Compared]:
    """Those that could be compared, with Holm's correction over them."""
    known = [(place, contrast) for place, contrast in found if contrast is not None]
    values = holm([contrast.difference.p_value or 0.0 for _, contrast in known])
    return [Compared(place, contrast, value) for (place, contrast), value in zip(known, values, strict=True)]


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
    if one.corrected >= LEVEL:
        return 0
    return 1 if one.contrast.difference.value > 0 else -1


def _tally(start: str, compared: Sequence[Compared]) -> list[str]:
    if not compared:
        return [f"{start}: nothing could be compared."]
    easier = sum(_verdict(one) > 0 for one in compared)
    harder = sum(_verdict(one) < 0 for one in compared)
    mean = float(np.mean([one.contrast.difference.value for one in compared]))
    if harder and not easier:
        said = "popular facts are harder to forget"
    elif easier and not harder:
        said = "popular facts are easier to forget"
    elif easier and harder:
        said = "it depends on method and stage"
    else:
        said = "no difference between popular and rare facts is shown"
    return [
        f"{start}, {said}: the popular ones lose {mean:+.3f} ROUGE-L recall relative to the rare ones (mean over "
        f"{_count(len(compared), 'comparison')}; lost less in {harder}, more in {easier}, no difference shown in "
        f"{len(compared) - easier - harder})."
    ]


def _reading(gains: dict[str, tuple[float, int, int, int]]) -> list[str]:
    """What the controls say about a gain of the stage `sft`; nothing where it has none."""
    if "sft" not in gains:
        return []
    mean, better, worse, total = gains["sft"]
    if better <= worse or mean <= 0:
        return ["So the grid shows no gain of fine-tuning first that would need an explanation."]
    texts = {
        "sft_format": "the form of the answers, learned on other subjects",
        "sft_new": "facts that were first learned in that step",
        "sft_retain": "fine-tuning without the facts to forget",
    }
    parts = [
        f"{text} ({stage}) gives {gains[stage][0]:+.1%} of the {mean:+.1%}"
        for stage, text in texts.items()
        if stage in gains
    ]
    if not parts:
        return [f"Fine-tuning first helps in {better} of {total}; without its controls the grid cannot say why."]
    return [f"Fine-tuning first helps in {better} of {total}. Of its controls, {'; '.join(parts)}."]


def _where(key: Key) -> str:
    return f"{key.data}, {key.model}, {key.stage}"


def _count(amount: int, noun: str) -> str:
    return f"{amount} {noun}{'' if amount == 1 else 's'}"
