"""Comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.bootstrap import Interval, Spread, bootstrap_difference, mean_spread
from dual_data.evaluation.metrics.chance import Rule
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import (
    Contrast,
    Pairing,
    average,
    compare_answered,
    compare_pairs,
    compare_sets,
    compare_shares,
    confidence,
    connected,
    forgetting,
    nearest_pairs,
    pair_facts,
)
from dual_data.evaluation.report.analysis.runs import Group, Run, clusters
from tests.evaluation.report.made_up import rescored, scored_before, write_cell, write_grid


def test_pairs_are_close_and_used_once_and_the_nearest_come_first() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=40), random.normal(1.0, size=60)
    pairs = nearest_pairs(first, second, 0.1)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) > 5
    assert all(abs(first[i] - second[j]) <= 0.1 for i, j in pairs)
    assert nearest_pairs(np.array([0.0]), np.array([5.0])) == []
    assert nearest_pairs(np.array([0.0, 0.2]), np.array([0.2, 9.0])) == [(1, 0)]
    apart = np.array([[False, False], [True, False]])
    assert nearest_pairs(np.array([0.0, 0.2]), np.array([0.2, 9.0]), apart=apart) == [(0, 0)]


def test_pairs_of_shifted_values_hardly_differ() -> None:
    # Pairing in sorted order would take the first value within the caliper, and leave a third of the shift.
    random = np.random.default_rng(0)
    first, second = random.normal(size=300), random.normal(0.3, size=300)
    pairs = nearest_pairs(first, second)
    assert len(pairs) > 200
    assert abs(np.mean([first[i] - second[j] for i, j in pairs])) < 0.05


def test_paired_facts_were_answered_alike_before(tmp_path: Path) -> None:
    write_cell(tmp_path, forget_set="popular", forget=0.5, retain=1.0)
    write_cell(tmp_path, forget_set="rare", forget=0.8, retain=1.0)
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.2, retain=0.9)
    popular, rare = collect([tmp_path]).groups
    pairing = pair_facts(popular, rare)
    assert pairing is not None
    answered = [group.before[0].sets["forget"].scores["contains_answer"] for group in (popular, rare)]
    assert all(answered[0][i] == answered[1][j] for i, j in pairing.pairs)
    assert pairing.confidence.low <= pairing.confidence.value <= pairing.confidence.high
    assert abs(pairing.confidence.value) < 0.02
    assert pairing.score.value == 0
    over_pairs = compare_pairs(popular, rare, 1e-4, pairing)
    assert over_pairs.facts == len(pairing.pairs)


@pytest.fixture
def popular_and_rare(tmp_path: Path) -> tuple[Group, Group]:
    for name, score in (("popular", 0.8), ("rare", 0.9)):
        write_cell(tmp_path, forget_set=name, forget=score, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    popular, rare = collect([tmp_path]).groups
    return popular, rare


def test_forgetting_is_what_is_gone_of_each_fact(popular_and_rare: tuple[Group, Group]) -> None:
    means = []
    for group in popular_and_rare:
        drops, subjects = forgetting(group, 1e-4)
        before, after = (run.sets["forget"].scores["rougeL_recall"] for run in (group.before[0], group.runs[0]))
        assert drops.tolist() == [(before - after).tolist()]
        assert subjects == group.runs[0].sets["forget"].subjects
        means.append(before.mean() - after.mean())
    contrast = compare_sets(*popular_and_rare, 1e-4)
    assert [side.value for side in (contrast.first, contrast.second)] == pytest.approx(means)
    assert contrast.difference.value == pytest.approx(means[0] - means[1])
    assert (contrast.facts, contrast.seeds) == (60, 1)


def test_forgetting_is_since_before_unlearning_with_the_same_seed(popular_and_rare: tuple[Group, Group]) -> None:
    group, _ = popular_and_rare
    other = rescored(group.before[0], rougeL_recall=np.full(60, 0.25))._replace(seed=1)
    runs = [rescored(group.runs[0], rougeL_recall=np.zeros(60))._replace(seed=seed) for seed in (0, 1, 2)]
    drops, _ = forgetting(group._replace(before=(other, group.before[0]), runs=tuple(runs)), 1e-4)
    assert drops[0].tolist() == group.before[0].sets["forget"].scores["rougeL_recall"].tolist()
    assert drops[1:].tolist() == [[0.25] * 60] * 2  # of no run with seed 2: the first


def _after(group: Group, lr: float, scores: np.ndarray) -> Group:
    """The group with one run for each seed, in which these scores [seeds, facts] are left of 1."""
    before = rescored(group.before[0], rougeL_recall=np.ones(scores.shape[1]))
    runs = tuple(
        rescored(group.at(lr)[0], rougeL_recall=of_seed)._replace(seed=seed) for seed, of_seed in enumerate(scores)
    )
    return group._replace(before=(before,), runs=runs)


def test_two_sets_differ_as_far_as_the_facts_and_models_of_both_vary(popular_and_rare: tuple[Group, Group]) -> None:
    random = np.random.default_rng(4)
    first, second = (
        _after(group, 1e-4, mean + random.normal(0, by_seed, (seeds, 1)) + random.normal(0, 0.3, (seeds, 60)))
        for group, mean, by_seed, seeds in zip(popular_and_rare, (0.7, 0.4), (0.02, 0.05), (5, 4), strict=True)
    )
    contrast = compare_sets(first, second, 1e-4)
    spreads = [mean_spread(*forgetting(group, 1e-4)) for group in (first, second)]
    both = Spread(spreads[0].subjects + spreads[1].subjects, spreads[0].seeds + spreads[1].seeds)
    assert contrast.difference.p_value == pytest.approx(both.tail(contrast.difference.value), rel=0.2)
    assert contrast.seeds == 4


def test_few_seeds_of_two_sets_are_compared_as_welch_compares_them(popular_and_rare: tuple[Group, Group]) -> None:
    apart = (0.47, 0.5, 0.53)  # far from the ends of a drop of a share
    for seeds, degrees, quantile in ((apart, 4, 2.776), ((0.5, 0.5, 0.5), 2, 4.303)):
        first, second = (
            _after(group, 1e-4, np.repeat(np.array(of_seeds)[:, None], 60, axis=1))
            for group, of_seeds in zip(popular_and_rare, (apart, seeds), strict=True)
        )
        contrast = compare_sets(first, second, 1e-4)
        error = np.sqrt((np.var(apart, ddof=1) + np.var(seeds, ddof=1)) / 3)
        difference = contrast.difference
        assert (difference.high - difference.low) / 2 == pytest.approx(quantile * error, rel=0.1), degrees
        # A side alone has the two degrees of freedom of its own seeds.
        own = np.std(apart, ddof=1) / np.sqrt(3)
        assert (contrast.first.high - contrast.first.low) / 2 == pytest.approx(4.303 * own, rel=0.1)


def test_a_p_value_is_not_below_that_of_a_sign_test_of_the_subjects_of_the_smaller_set(tmp_path: Path) -> None:
    for name, facts, left in (("popular", 60, 0.0), ("rare", 40, 1.0)):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0, facts=facts)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=left, retain=0.9, facts=facts)
    popular, rare = collect([tmp_path]).groups
    for first, second in ((popular, rare), (rare, popular)):
        contrast = compare_sets(first, second, 1e-4)
        assert contrast.difference.p_value == 2**-19  # two facts of each subject
        assert contrast.facts == 40


def test_contrasts_of_the_same_subjects_have_them_in_the_same_draws(popular_and_rare: tuple[Group, Group]) -> None:
    random = np.random.default_rng(4)
    first, second = (_after(group, 1e-4, random.random((1, 60))) for group in popular_and_rare)
    zero = Interval(0.0, 0.0, 0.0)
    pairs = [(index, index) for index in range(58)]  # without the facts of the last subject
    some_pairs, every_fact = (
        compare_pairs(first, second, 1e-4, Pairing(pairs, zero, zero)),
        compare_sets(first, second, 1e-4),
    )
    assert np.corrcoef(some_pairs.draws, every_fact.draws)[0, 1] > 0.9
    within = [
        compare_answered(
            first._replace(
                before=(first.before[0]._replace(rule=Rule("", (np.arange(60) < answered).astype(np.float64))),)
            ),
            1e-4,
        )
        for answered in (20, 22)
    ]
    assert within[0] is not None
    assert within[1] is not None
    assert np.corrcoef(within[0].draws, within[1].draws)[0, 1] > 0.8
    table, subjects = random.random((1, 60)), clusters(first.runs, "forget")
    parts = [(table[:, :chosen], subjects[:chosen]) for chosen in (58, 60)]
    shares = [compare_shares(part, 0 * part, names, "d") for part, names in parts]
    assert np.corrcoef(shares[0].draws, shares[1].draws)[0, 1] > 0.9


@pytest.mark.parametrize(("answered", "compared"), [(9, False), (10, True), (50, True), (51, False)])
def test_ten_facts_that_the_rule_answers_and_ten_others_are_a_comparison(
    popular_and_rare: tuple[Group, Group], answered: int, compared: bool
) -> None:
    group, _ = popular_and_rare
    trivial = np.array([0.5] * answered + [0.4] * (60 - answered), dtype=np.float64)
    contrast = compare_answered(group._replace(before=(group.before[0]._replace(rule=Rule("", trivial)),)), 1e-4)
    assert (contrast is not None) == compared
    if contrast is not None:
        assert contrast.facts == 10
        drops, _ = forgetting(group, 1e-4)
        assert contrast.first.value == pytest.approx(drops[0, :answered].mean())


def test_facts_of_one_confidence_are_paired_where_both_or_neither_are_answered(
    popular_and_rare: tuple[Group, Group],
) -> None:
    confidence, seeds = [[0.0] * 60] * 5, np.arange(5)[:, None]
    # Three of five seeds answer the first twenty of one side, and the last forty of the other; of the rest, two.
    answered = (seeds < np.where(np.arange(60) < 20, 3, 2)).astype(float)
    first, second = (
        scored_before(group, mean_log_probability=confidence, contains_answer=by_seed.tolist())
        for group, by_seed in zip(popular_and_rare, (answered, answered[:, ::-1]), strict=True)
    )
    pairing = pair_facts(first, second)
    assert pairing is not None
    assert len(pairing.pairs) == 60
    assert all((left < 20) == (right >= 40) for left, right in pairing.pairs)


def test_paired_facts_are_compared_and_no_others(popular_and_rare: tuple[Group, Group]) -> None:
    pairs = [(index, 59 - 2 * index) for index in range(12)]
    zero = Interval(0.0, 0.0, 0.0)
    contrast = compare_pairs(*popular_and_rare, 1e-4, Pairing(pairs, zero, zero))
    drops = [forgetting(group, 1e-4)[0][0] for group in popular_and_rare]
    assert contrast.difference.value == pytest.approx(np.mean([drops[0][i] - drops[1][j] for i, j in pairs]))
    assert contrast.facts == 12


@pytest.mark.parametrize("lost", [0.0, 0.5])
def test_parts_of_one_set_are_compared_in_the_same_subjects_and_models(
    popular_and_rare: tuple[Group, Group], lost: float
) -> None:
    # Each of 30 subjects has a fact that the rule answers and another, so this is a paired difference.
    group, _ = popular_and_rare
    random = np.random.default_rng(0)
    by_subject, by_seed = np.repeat(random.random(30), 2), random.normal(0, 0.2, (3, 1))
    drops = (by_subject + by_seed + random.normal(0, 0.1, (3, 60)) + lost * np.tile([1, 0], 30)) / 2
    runs = tuple(
        rescored(group.runs[0], rougeL_recall=-of_seed)._replace(seed=seed) for seed, of_seed in enumerate(drops)
    )
    before = rescored(group.before[0], rougeL_recall=np.zeros(60))._replace(rule=Rule("", np.tile([1.0, 0.0], 30)))
    contrast = compare_answered(group._replace(runs=runs, before=(before,)), 1e-4)
    assert contrast is not None
    paired = bootstrap_difference(drops[:, ::2], drops[:, 1::2], range(30))
    assert contrast.difference[:3] == pytest.approx(paired[:3], abs=0.01)
    assert contrast.difference.p_value == pytest.approx(paired.p_value, rel=0.1)
    assert (contrast.facts, contrast.seeds) == (30, 3)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_pairs_with_a_subject_in_common_are_one_observation(pairs: list[tuple[int, int]]) -> None:
    numbers = connected([f"left {left}" for left, _ in pairs], [f"right {right}" for _, right in pairs])
    graph = {pair: {other for other in pairs if pair[0] == other[0] or pair[1] == other[1]} for pair in pairs}
    for pair, number in zip(pairs, numbers, strict=True):
        reached, found = set(), {pair}
        while found:
            reached |= found
            found = set().union(*(graph[other] for other in found)) - reached
        same = {other for other, of_other in zip(pairs, numbers, strict=True) if of_other == number}
        assert same == reached


@pytest.mark.parametrize(("near", "paired"), [(9, False), (10, True)])
def test_ten_pairs_are_a_comparison(popular_and_rare: tuple[Group, Group], near: int, paired: bool) -> None:
    first = np.arange(60) * -10.0
    second = first + np.where(np.arange(60) < near, 0.25, 5.0)
    groups = [
        scored_before(group, mean_log_probability=[side.tolist()], contains_answer=[[1.0] * 60])
        for group, side in zip(popular_and_rare, (first, second), strict=True)
    ]
    pairing = pair_facts(*groups)
    assert (pairing is not None) == paired
    if pairing is not None:
        assert pairing.pairs == [(index, index) for index in range(10)]
        assert pairing.confidence[:3] == pytest.approx((-0.25, -0.25, -0.25))


@pytest.mark.parametrize("side", [0, 1])
def test_how_alike_pairs_are_is_said_for_other_subjects_too(popular_and_rare: tuple[Group, Group], side: int) -> None:
    """Three facts of a subject with equal gaps are one observation, in whichever set it is."""
    first = np.arange(60) * -10.0
    second = first + np.repeat(np.random.default_rng(0).normal(0, 0.05, 20), 3)
    groups = [
        scored_before(group, mean_log_probability=[values.tolist()], contains_answer=[[1.0] * 60])
        for group, values in zip(popular_and_rare, (first, second), strict=True)
    ]
    (run,) = groups[side].before

    def half_width(subjects: Sequence[int]) -> float:
        items = run.sets["forget"]._replace(subjects=tuple(map(str, subjects)))
        groups[side] = groups[side]._replace(before=(run._replace(sets={**run.sets, "forget": items}),))
        pairing = pair_facts(*groups)
        assert pairing is not None
        return pairing.confidence.high - pairing.confidence.low

    assert half_width([fact // 3 for fact in range(60)]) > 1.5 * half_width(range(60))


def test_facts_are_paired_by_their_answers_in_the_models_own_words(popular_and_rare: tuple[Group, Group]) -> None:
    # Two seeds. The first twenty facts are answered by both, the next by one, the others by neither.
    answered = [[1.0] * 40 + [0.0] * 20, [1.0] * 20 + [0.0] * 40]
    bare, own = np.arange(60) * -10.0, np.arange(60) - 100.0
    in_own_words = np.where(answered, own + np.array([[-1.0], [1.0]]), np.nan)
    in_own_words[:, 20:40] += [[1.0], [0.0]]  # of one seed, so nothing levels out what was added
    scores = {"mean_log_probability": [bare.tolist()] * 2, "contains_answer": answered}
    first = scored_before(popular_and_rare[0], **scores, own_words_log_probability=in_own_words.tolist())
    expected = np.where(np.arange(60) < 40, own, bare)
    assert confidence(first) == pytest.approx(expected)
    # On the other side, the answers are as certain in own words in the opposite order.
    reverse = np.concatenate([np.arange(40)[::-1], np.arange(40, 60)])
    second = scored_before(
        popular_and_rare[1], **scores, own_words_log_probability=[[*own[reverse][:40], *[np.nan] * 20]] * 2
    )
    pairing = pair_facts(first, second)
    assert pairing is not None
    assert pairing.pairs == list(enumerate(reverse.tolist()))


def test_an_average_is_as_narrow_as_the_facts_that_are_not_shared(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    # The same facts are forgotten in both stages, so the second adds no information.
    contrasts = [compare_sets(groups[stage, "popular"], groups[stage, "rare"], 1e-4) for stage in ("pretrained", "sft")]
    assert average(contrasts)[:3] == pytest.approx(contrasts[0].difference[:3])
    fewer_seeds = groups["sft", "popular"]._replace(runs=groups["sft", "popular"].runs[::3])
    assert {run.seed for run in fewer_seeds.runs} == {0}
    other = compare_sets(fewer_seeds, groups["sft", "rare"], 1e-4)
    assert np.corrcoef(other.draws, contrasts[0].draws)[0, 1] > 0.5


def test_an_average_of_what_shares_nothing_is_narrower_and_skips_missing_draws() -> None:
    random = np.random.default_rng(0)
    unknown = Interval(0.0, 0.0, 0.0)
    contrasts = [Contrast(Interval(1.0, 0.0, 2.0), unknown, unknown, 9, 3, random.normal(1, 1, 2000)) for _ in range(4)]
    mean = average(contrasts)
    assert mean.value == 1
    assert (mean.low, mean.high) == pytest.approx((1 - 1.96 / 2, 1 + 1.96 / 2), abs=0.08)
    unequal = [contrasts[0]._replace(difference=Interval(value, -9.0, 9.0)) for value in (0.0, 1.0, 5.0)]
    assert average(unequal).value == 2
    missing = contrasts[0]._replace(draws=np.full(2000, np.nan))
    assert average([contrasts[0], missing])[1:3] == pytest.approx(average(contrasts[:1])[1:3])


def test_an_average_does_not_move_where_some_of_the_draws_are_missing() -> None:
    random = np.random.default_rng(0)
    unknown = Interval(0.0, 0.0, 0.0)
    above, below = (
        Contrast(Interval(value, 0.0, 0.0), unknown, unknown, 9, 3, random.normal(value, 0.02, 2000))
        for value in (0.2, -0.2)
    )
    whole = average([above, below])
    partly = average([above, below._replace(draws=np.where(random.random(2000) < 0.45, np.nan, below.draws))])
    assert (partly.value, partly.low + partly.high) == pytest.approx((0, 0), abs=0.01)
    assert whole.high < partly.high < 1.96 * 0.02  # the widest that one contrast alone would give


@pytest.mark.parametrize("facts", [60, 59])
def test_an_average_over_sets_of_other_subjects_is_narrower_in_whichever_order_they_are(facts: int) -> None:
    half = (np.arange(60) < 30).astype(float)[None]
    contrasts = [
        compare_shares(share, 0 * share, [f"{name} {index}" for index in range(share.shape[1])], "d")
        for name, share in (("popular", half), ("rare", 1 - half[:, :facts]))
    ]
    widths = [interval.high - interval.low for interval in (average(contrasts), average(contrasts[:1]))]
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_subjects_that_two_sets_share_are_drawn_together(popular_and_rare: tuple[Group, Group]) -> None:
    # The same facts lose as much in either set, so that only those which one set has alone make a difference.
    group, _ = popular_and_rare
    lost = np.random.default_rng(0).random((1, 60))
    widths = []
    for shared in (0, 30, 60):
        names = [[f"{side if index >= shared else 'both'} {index}" for index in range(60)] for side in range(2)]
        first, second = (_named(_after(group, 1e-4, lost), of_side) for of_side in names)
        contrast = compare_sets(first, second, 1e-4)
        assert contrast.difference.value == 0
        widths.append(contrast.difference.high - contrast.difference.low)
    assert widths == pytest.approx([widths[0], widths[0] * np.sqrt(0.5), 0], rel=0.1, abs=1e-9)


def _named(group: Group, subjects: Sequence[str]) -> Group:
    """The group with other subjects to forget."""

    def named(run: Run) -> Run:
        return run._replace(sets={**run.sets, "forget": run.sets["forget"]._replace(subjects=tuple(subjects))})

    return group._replace(before=tuple(map(named, group.before)), runs=tuple(map(named, group.runs)))


def test_a_difference_of_shares_may_be_below_zero_in_other_seeds() -> None:
    subjects, nothing = [f"s{index}" for index in range(40)], np.zeros((3, 40))
    elicited = np.array(
        [[(index * seed) % 40 < 1 + 3 * seed for index in range(40)] for seed in (1, 2, 3)], dtype=float
    )
    contrast = compare_shares(elicited, nothing, subjects, "d")
    assert contrast.difference.value == pytest.approx(elicited.mean())
    assert contrast.second[:3] == pytest.approx((0, 0, 1 - 0.025 ** (1 / 40)))
    assert (contrast.facts, contrast.seeds) == (40, 3)
    assert contrast.difference.low < 0  # though no value below zero was measured
    assert average([contrast])[1:3] == pytest.approx(contrast.difference[1:3], abs=0.05)
    reverse = compare_shares(nothing, elicited, subjects, "d")
    assert reverse.draws == pytest.approx(-contrast.draws)


def test_models_of_two_datasets_are_drawn_apart(tmp_path: Path) -> None:
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    zero = Interval(0.0, 0.0, 0.0)
    groups = []
    for group in collect([tmp_path]).groups:
        before = rescored(group.before[0], rougeL_recall=np.ones(60))
        runs = tuple(
            rescored(group.runs[0], rougeL_recall=np.full(60, left))._replace(seed=seed)
            for seed, left in enumerate((0.4, 0.5, 0.6))
        )
        groups.append(group._replace(before=(before,), runs=runs))
    pairing = Pairing([(fact, fact) for fact in range(60)], zero, zero)
    draws = []
    for data in ("d", "e"):
        popular, rare = (group._replace(key=group.key._replace(data=data)) for group in groups)
        draws.append(compare_pairs(popular, rare, 1e-4, pairing).draws)
    assert abs(float(np.asarray(np.corrcoef(np.array(draws)))[0, 1])) < 0.1
