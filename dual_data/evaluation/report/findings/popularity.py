"""Are popular facts harder to forget?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dual_data.display import count
from dual_data.evaluation.report.contrast import (
    Contrast,
    Pairing,
    average,
    compare_in_own_words,
    compare_pairs,
    compare_sets,
    pair_facts,
)
from dual_data.evaluation.report.curves import compare_retention
from dual_data.evaluation.report.estimates import shown
from dual_data.evaluation.report.findings.sentences import (
    Compared,
    Names,
    about_of,
    all_runs,
    holm_corrected,
    little_known,
    loses,
    loss_sentence,
    no_results,
    over_datasets,
    points,
    retention_sentence,
    shared_subjects,
    size,
    values_with_missing,
)
from dual_data.evaluation.report.frontier import balance
from dual_data.evaluation.report.runs import Collection, Group


class PopularityAnswer(NamedTuple):
    """What can be said on popularity."""

    sentences: list[str]
    """By dataset."""
    similarity: list[str]
    """By dataset, how similar the paired facts are."""
    unpaired: list[Compared]
    """The comparisons over all facts."""
    paired: list[Compared]
    """Those at equal base confidence."""


def popularity_answer(collection: Collection) -> PopularityAnswer:
    """Are popular facts harder to forget?"""
    over_all, over_pairs, retained = list[Compared](), list[Compared](), list[Compared]()
    paired_groups = list[tuple[Group, Group, float, Pairing]]()
    names, compared_groups = Names.of(collection), list[Group]()
    pairs = list(popular_and_rare(collection.groups))
    has_several_sets = len({popular.key.set for popular, _ in pairs}) > 1
    for popular, rare in pairs:
        lr = common_rate(popular, rare)
        if lr is None:
            continue
        key = popular.key
        about = (names.data(key), "")
        compared_groups += (popular, rare)
        curve_label = ", ".join((names.place(key), *([key.set] if has_several_sets else []), key.method))
        label = f"{curve_label} at {lr:g}"
        runs = tuple(run for group in (popular, rare) for run in (*group.before, *group.at(lr)))
        over_all.append(Compared(about, label, compare_sets(popular, rare, lr), runs))
        if pairing := pair_facts(popular, rare):
            paired_groups.append((popular, rare, lr, pairing))
            over_pairs.append(Compared(about, label, compare_pairs(popular, rare, lr, pairing), runs))
        if retention := compare_retention(popular, rare):
            retained.append(Compared(about, curve_label, retention, all_runs(popular, rare)))
    if not over_all:
        sets = values_with_missing(collection, "set")
        yet = any("popular" in name and name.replace("popular", "rare") in sets for name in sets)
        both = "one method and learning rate on both a rare and a popular set"
        return PopularityAnswer([f"{no_results(both, yet=yet)}, so nothing is said about popularity."], [], [], [])
    sentences, similarity, unpaired_data = list[str](), list[str](), list[str]()
    over_all, over_pairs, retained = map(holm_corrected, (over_all, over_pairs, retained))
    for about in dict.fromkeys(comparison.about for comparison in over_all):
        data, unpaired, paired = about[0], about_of(over_all, about), about_of(over_pairs, about)
        sentences.append(loss_sentence(f"{data}, all facts", "popular facts", "rare ones", unpaired))
        sentences += _little_known_sentences(
            data, [group for group in compared_groups if names.data(group.key) == data]
        )
        if paired:
            sentences.append(loss_sentence(f"{data}, paired facts", "popular facts", "rare ones", paired))
            of_data = [entry for entry in paired_groups if names.data(entry[0].key) == data]
            if own_words := [contrast for entry in of_data if (contrast := compare_in_own_words(*entry)) is not None]:
                sentences.append(f"{data}, paired facts: {_own_words_sentence(own_words)}")
            similarity.append(f"{data}: {_similarity_sentence([pairing for *_, pairing in of_data])}")
        if lacking := len(unpaired) - len(paired):
            unpaired_data.append(f"{data} ({lacking} of {count(len(unpaired), 'comparison')})")
        if retention_of_data := about_of(retained, about):
            sentences.append(
                retention_sentence(data, "forgetting popular facts", "forgetting rare ones", retention_of_data)
            )
    if subjects := shared_subjects(collection, over_pairs):
        mean = average([compare_pairs(*groups, among=subjects) for groups in paired_groups])
        datasets = len({comparison.about for comparison in over_pairs})
        sentences.append(
            f"{over_datasets(datasets, 'paired facts', len(paired_groups))}, "
            f"{loses('popular facts', 'rare ones', mean)}."
        )
    if unpaired_data:
        sentences.append(f"Too few facts can be paired in {'; '.join(unpaired_data)}.")
    return PopularityAnswer(sentences, similarity, over_all, over_pairs)


def common_rate(first: Group, second: Group) -> float | None:
    """The learning rate that the rule picks for both sets together, so that they are compared at the same rate."""
    rates = sorted(set(first.lrs) & set(second.lrs))
    if not rates or not first.before or not second.before:
        return None

    def mean_balance(lr: float) -> float:
        return sum(balance(group.point(lr), group.point(None)) for group in (first, second)) / 2

    return max(rates, key=lambda lr: (mean_balance(lr), -lr))


def popular_and_rare(groups: Iterable[Group]) -> Iterable[tuple[Group, Group]]:
    """Groups that differ only in "popular" and "rare" in the names of their sets, the popular one first."""
    by_key = {group.key: group for group in groups}
    for key, popular in by_key.items():
        if "popular" in key.set:
            rare = by_key.get(key._replace(set=key.set.replace("popular", "rare")))
            if rare is not None:
                yield popular, rare


def _little_known_sentences(data: str, groups: Sequence[Group]) -> list[str]:
    """Where the models before unlearning of some groups of a dataset score no more than the trivial rule."""
    before = {group.key._replace(method=""): group.before for group in groups}
    places: dict[str, list[str]] = defaultdict(list)
    for key, runs in before.items():
        if follows := little_known(runs):
            places[follows].append(f"{key.model}, {key.stage}, {key.set}")
    return [
        f"{data}: before unlearning, the model scores no more than the trivial rule in {'; '.join(names)}, so "
        f"{follows}. Comparisons there say little about forgetting."
        for follows, names in places.items()
    ]


def _own_words_sentence(contrasts: Sequence[Contrast]) -> str:
    """Of which facts more answers are gone, and not only no longer given."""
    mean = average(contrasts)
    return (
        f"after the words that the model put before its answers before unlearning, {points(mean)} "
        f"{'more' if mean.value >= 0 else 'less'} of the answers about popular facts than of those about rare ones are "
        f"not the likeliest any more, on average over {count(len(contrasts), 'comparison')}."
    )


def _similarity_sentence(pairings: Sequence[Pairing]) -> str:
    """How similar the paired facts are, in the comparison where they are least similar."""
    fewest = min(len(pairing.pairs) for pairing in pairings)
    confidence, score = (
        max(gaps, key=lambda gap: abs(gap.value))
        for gaps in ([pairing.confidence for pairing in pairings], [pairing.score for pairing in pairings])
    )
    where = ", in the words in which it gives it," if all(pairing.in_own_words for pairing in pairings) else ""
    return (
        f"each comparison has at least {fewest} pairs of facts of which the model before unlearning answers both or "
        f"neither. On average over the pairs, its log-probability of the popular fact's answer{where} is at most "
        f"{shown(size(confidence))} nats a token {'higher' if confidence.value >= 0 else 'lower'}, and its ROUGE-L "
        f"recall at most {shown(size(score))} {'higher' if score.value >= 0 else 'lower'}."
    )
