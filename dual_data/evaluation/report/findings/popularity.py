"""Are popular facts harder to forget?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.contrast import (
    Contrast,
    Pairing,
    average,
    compare_in_own_words,
    compare_pairs,
    compare_sets,
    compare_shares,
    pair_facts,
)
from dual_data.evaluation.report.analysis.curves import compare_retention
from dual_data.evaluation.report.analysis.frontier import balance
from dual_data.evaluation.report.analysis.runs import Collection, Group, clusters, same_seeds, stack
from dual_data.evaluation.report.findings.sentences import (
    About,
    Compared,
    Names,
    about_of,
    all_runs,
    by_how_much,
    holm_corrected,
    little_known,
    loses,
    loss_sentence,
    not_at_equal_forgetting,
    over_datasets,
    retention_sentence,
)
from dual_data.evaluation.report.numbers import opposite, points, shown, size
from dual_data.text.display import count


class PopularityAnswer(NamedTuple):
    """What can be said on popularity."""

    sentences: list[str]
    """By dataset."""
    similarity: list[str]
    """By dataset, how similar the paired facts are."""
    over_all: list[Compared]
    """The comparisons over all facts."""
    over_pairs: list[Compared]
    """Those at equal base confidence."""
    retained: list[Compared]
    """What forgetting either leaves of the held-out score, where as much of both is forgotten."""


class _Sides(NamedTuple):
    """The popular and the rare facts of one place and method, compared at one learning rate."""

    popular: Group
    rare: Group
    lr: float
    about: About
    label: str
    pairing: Pairing | None
    kept: Contrast | None

    def compared(self, contrast: Contrast) -> Compared:
        runs = (run for group in (self.popular, self.rare) for run in (*group.before, *group.at(self.lr)))
        return Compared(self.about, f"{self.label} at {self.lr:g}", contrast, tuple(runs), beside=self.kept)


def popularity_answer(collection: Collection) -> PopularityAnswer:
    """Are popular facts harder to forget?"""
    sides = _sides(collection)
    if not sides:
        both = "one method and learning rate on both a rare and a popular set"
        nothing = f"There are no results of {both}, so nothing is said about popularity."
        return PopularityAnswer([nothing], [], [], [], [])
    over_all = holm_corrected([entry.compared(compare_sets(entry.popular, entry.rare, entry.lr)) for entry in sides])
    over_pairs = holm_corrected(
        [
            entry.compared(compare_pairs(entry.popular, entry.rare, entry.lr, entry.pairing))
            for entry in sides
            if entry.pairing is not None
        ]
    )
    retained = holm_corrected(
        [
            Compared(entry.about, entry.label, retention, all_runs(entry.popular, entry.rare))
            for entry in sides
            if (retention := compare_retention(entry.popular, entry.rare)) is not None
        ]
    )
    sentences, similarity, unpairable, unretained = list[str](), list[str](), list[str](), list[str]()
    for about in dict.fromkeys(entry.about for entry in sides):
        data, of_data = about.data, [entry for entry in sides if entry.about == about]
        sentences.append(_loss_sentence(f"{data}, all facts", about_of(over_all, about)))
        sentences += _little_known_sentences(
            data, [group for entry in of_data for group in (entry.popular, entry.rare)]
        )
        if of_pairs := about_of(over_pairs, about):
            sentences.append(_loss_sentence(f"{data}, paired facts", of_pairs))
            sentences += _own_words_sentences(data, of_data)
            pairings = [entry.pairing for entry in of_data if entry.pairing is not None]
            similarity.append(f"{data}: {_similarity_sentence(pairings)}")
        if lacking := len(of_data) - len(of_pairs):
            unpairable.append(f"{data} ({lacking} of {count(len(of_data), 'comparison')})")
        if kept := about_of(retained, about):
            sentences.append(retention_sentence(data, "forgetting popular facts", "forgetting rare ones", kept))
        else:
            unretained.append(data)
    sentences += over_datasets(collection, "paired facts", over_pairs, partial(loses, "popular facts", "rare ones"))
    if unretained:
        sentences.append(not_at_equal_forgetting(unretained, "for popular facts and for rare ones"))
    if unpairable:
        sentences.append(f"Too few facts can be paired in {'; '.join(unpairable)}.")
    return PopularityAnswer(sentences, similarity, over_all, over_pairs, retained)


def _sides(collection: Collection) -> list[_Sides]:
    """All that can be compared."""
    by_key, names = {group.key: group for group in collection.groups}, Names.of(collection)
    pairs = [(popular, by_key[key.rare]) for key, popular in by_key.items() if key.rare in by_key]
    has_several_sets = len({popular.key.set for popular, _ in pairs}) > 1
    sides = []
    for popular, rare in pairs:
        key, lr = popular.key, common_rate(popular, rare)
        if lr is not None:
            label = ", ".join((names.place(key), *([key.set] if has_several_sets else []), key.method))
            about, kept = About(names.data(key)), _compare_kept(popular, rare, lr)
            sides.append(_Sides(popular, rare, lr, about, label, pair_facts(popular, rare), kept))
    return sides


def _compare_kept(first: Group, second: Group, lr: float) -> Contrast | None:
    """The retain_eval score of `first` minus that of `second` at one learning rate, over the seeds that both have.

    None where they have no common seed, or were measured on different facts.
    """
    sides = same_seeds(first.at(lr), second.at(lr))
    if sides is None or len({runs[0].sets["retain_eval"].ids for runs in sides}) > 1:
        return None
    left, right = (stack(runs, "retain_eval", "rougeL_recall") for runs in sides)
    return compare_shares(left, right, clusters(sides[0], "retain_eval"), first.key.data)


def _loss_sentence(start: str, compared: Sequence[Compared]) -> str:
    return loss_sentence(start, "popular facts", "rare ones", compared) + _damage(compared)


def _damage(compared: Sequence[Compared]) -> str:
    """Where less of the held-out facts is kept with the set that loses more, by the intervals of both; else empty."""
    pairs = [(comparison.contrast, comparison.beside) for comparison in compared if comparison.beside is not None]
    number = sum(_is_opposed(loss.difference, kept.difference) for loss, kept in pairs)
    where = [f"in {number} of {count(len(compared), 'comparison')}"] if number else []
    if len(pairs) > 1:
        loss, kept = (average(contrasts) for contrasts in zip(*pairs, strict=True))
        where += [f"on average (by {shown(size(kept))})"] if _is_opposed(loss, kept) else []
    if not where:
        return ""
    return (
        f" {' and '.join(where).capitalize()}, forgetting the set that loses more also keeps less of retain_eval, with "
        "both intervals apart from 0: part of the difference may be general damage."
    )


def _is_opposed(loss: Interval, kept: Interval) -> bool:
    """Whether one difference is above 0 and the other below, by their intervals."""
    return loss.high < 0 < kept.low or kept.high < 0 < loss.low


def common_rate(first: Group, second: Group) -> float | None:
    """The learning rate that the rule picks for both sets together, so that they are compared at the same rate."""
    rates = sorted(set(first.lrs) & set(second.lrs))
    if not rates or not first.before or not second.before:
        return None

    def mean_balance(lr: float) -> float:
        return sum(balance(group.point(lr), group.point(None)) for group in (first, second)) / 2

    return max(rates, key=lambda lr: (mean_balance(lr), -lr))


def _little_known_sentences(data: str, groups: Sequence[Group]) -> list[str]:
    """Where models before unlearning of some groups of a dataset are not shown to score more than the trivial rule."""
    before = {group.key._replace(method=""): group.before for group in groups}
    places: dict[str, list[str]] = defaultdict(list)
    for key, runs in before.items():
        if follows := little_known(runs):
            places[follows].append(f"{key.model}, {key.stage}, {key.set}")
    return [
        f"{data}: before unlearning, the model is not shown to score more than the trivial rule in "
        f"{'; '.join(names)}, so {follows}. Comparisons there say little about forgetting."
        for follows, names in places.items()
    ]


def _own_words_sentences(data: str, sides: Sequence[_Sides]) -> list[str]:
    """Of which facts more answers are still the likeliest, given or not; none where too few are answered before."""
    contrasts = [
        contrast
        for entry in sides
        if entry.pairing is not None
        and (contrast := compare_in_own_words(entry.popular, entry.rare, entry.lr, entry.pairing)) is not None
    ]
    if not contrasts:
        return []
    kept = opposite(average(contrasts))  # these are of what is lost
    alone = all(contrast.is_of_one_seed for contrast in contrasts)
    return [
        f"{data}, paired facts: after the words that the model put before its answers before unlearning, "
        f"{by_how_much(kept, points)} of the answers about popular facts than of those about rare "
        f"ones are still the likeliest, on average over {count(len(contrasts), 'comparison')}"
        f"{', each of one seed' if alone else ''}."
    ]


def _similarity_sentence(pairings: Sequence[Pairing]) -> str:
    """How similar the paired facts are, in the comparison where they are least similar."""
    fewest = min(len(pairing.pairs) for pairing in pairings)
    confidence, score = (
        max(gaps, key=lambda gap: abs(gap.value))
        for gaps in ([pairing.confidence for pairing in pairings], [pairing.score for pairing in pairings])
    )
    return (
        f"each comparison has at least {fewest} pairs of facts of which the model before unlearning answers both or "
        "neither. On average over the pairs, its log-probability of the popular fact's answer, in the words in which "
        f"it gives it, is at most {shown(size(confidence))} nats a token "
        f"{'higher' if confidence.value >= 0 else 'lower'}, and its ROUGE-L recall at most "
        f"{shown(size(score))} {'higher' if score.value >= 0 else 'lower'}."
    )
