"""Intervals over subjects and seeds, against closed forms and simulations."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data import bootstrap, statistics


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, 400)
    interval = bootstrap.bootstrap_mean(values, range(400))
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)
    assert interval == bootstrap.bootstrap_mean(values, range(400))


def test_items_of_one_subject_widen_the_interval() -> None:
    subjects = np.random.default_rng(2).normal(size=40)
    values = np.repeat(subjects, 10)
    unclustered = bootstrap.bootstrap_mean(values, range(400))
    clustered = bootstrap.bootstrap_mean(values, [index // 10 for index in range(400)])
    ratio = (clustered.high - clustered.low) / (unclustered.high - unclustered.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_seeds_are_resampled_too() -> None:
    # Seeds differ by 1, items do not: an interval over items alone would have no width.
    table = np.repeat(np.array([[0.0], [1.0], [2.0]]), 50, axis=1)
    interval = bootstrap.bootstrap_mean(table, range(50))
    assert interval.value == 1.0
    assert interval.low < 0.5
    assert interval.high > 1.5


def test_a_function_of_means_is_of_the_same_draws() -> None:
    random = np.random.default_rng(6)
    scores, lengths = random.normal(size=(2, 60)), random.uniform(1, 3, 60)
    names = [index // 3 for index in range(60)]
    same = bootstrap.bootstrap_function(lambda mean: mean, [scores], names)
    assert same == bootstrap.bootstrap_mean(scores, names)
    difference = bootstrap.bootstrap_function(lambda left, right: left - right, [scores, scores], names)
    assert difference[:3] == (0, 0, 0)
    ratio = bootstrap.bootstrap_function(lambda left, right: left / right, [2 * lengths, lengths], names)
    assert ratio[:3] == pytest.approx((2, 2, 2))


@given(st.lists(st.lists(st.integers(0, 4).map(float), min_size=4, max_size=4), min_size=1, max_size=3))
def test_the_median_of_every_draw_is_that_of_its_items(table: list[list[float]]) -> None:
    clusters = ["a", "a", "b", "c"]
    interval = bootstrap.bootstrap_median(table, clusters, replicates=70)
    seeds = np.maximum(bootstrap.seed_weights(len(table), np.random.default_rng(0), 70), 0)
    items = bootstrap.item_weights(clusters, 70)
    medians = [
        weighted_median(
            [(v, seed_weights[s] * item_weights[i]) for s, row in enumerate(table) for i, v in enumerate(row)]
        )
        for seed_weights, item_weights in zip(seeds, items, strict=True)
    ]
    assert interval[:3] == pytest.approx((np.median(table), *np.quantile(medians, [0.025, 0.975])))


def weighted_median(pairs: list[tuple[float, float]]) -> float:
    """The value with as much weight below as above it; halfway to the next where exactly half lies at or below it."""
    half, below = sum(weight for _, weight in pairs) / 2, 0.0
    ascending = sorted((pair for pair in pairs if pair[1] > 0), key=lambda pair: pair[0])
    for (value, weight), (next_value, _) in zip(ascending, [*ascending[1:], ascending[-1]], strict=True):
        below += weight
        if below > half + 1e-9:
            return value
        if below > half - 1e-9:
            return (value + next_value) / 2
    return ascending[-1][0]


def test_a_median_of_thousands_of_items_takes_little_memory() -> None:
    values = np.random.default_rng(0).integers(1, 100, (5, 1000))
    tracemalloc.start()
    bootstrap.bootstrap_median(values, range(1000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # all draws of all items at once would take 40e6 bytes for each step


def test_what_is_no_number_in_one_place_has_no_estimate() -> None:
    values, others = [math.nan, 1.0, 2.0], [1.0, 2.0, 3.0]
    for interval in (
        bootstrap.bootstrap_mean(values, "abc", bootstrap.UNIT),
        bootstrap.bootstrap_median(values, "abc"),
        bootstrap.bootstrap_difference(values, others, "abc"),
        bootstrap.bootstrap_difference(others, values, "abc"),
    ):
        assert interval is bootstrap.UNKNOWN


def test_unequal_clusters_weigh_by_their_items() -> None:
    interval = bootstrap.bootstrap_mean([1.0, 1.0, 1.0, 5.0], ["a", "a", "a", "b"])
    assert interval.value == 2.0
    assert (interval.low, interval.high) == (1.0, 5.0)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_seeds_spread_as_their_mean_does(count: int) -> None:
    # All subjects are alike, so that only the seeds make the draws differ.
    seed_means = np.random.default_rng(5).normal(size=count)
    draws = bootstrap.mean_draws(seed_means[:, None] + np.zeros((count, 4)), range(4), replicates=20_000)
    deviates = (draws - seed_means.mean()) / (seed_means.std(ddof=1) / math.sqrt(count))
    # Student's t distribution, clipped at the least and the largest seed, beyond which no mean lies.
    upper_quartile = {2: 1.0, 3: 0.816, 5: 0.741}[count]  # with count - 1 degrees of freedom
    assert np.quantile(deviates, [0.25, 0.75]) == pytest.approx([-upper_quartile, upper_quartile], rel=0.05)


def test_seeds_of_several_groups_are_drawn_with_the_degrees_of_all() -> None:
    spread = bootstrap.Spread(1.0, ((0.5, 2),) * 4)
    assert spread.degrees == pytest.approx(8)  # of Welch, for equal variances
    assert bootstrap.Spread(1.0, ((0.5, 2), (0.0, 2))).degrees == pytest.approx(2)
    assert bootstrap.Spread(1.0, ((3.0, 2), (1.0, 4))).degrees == pytest.approx(16 / (9 / 2 + 1 / 4))
    assert bootstrap.Spread(1.0, ()).degrees is bootstrap.Spread(1.0, ((0.0, 2),)).degrees is None
    seeds = np.array([0.0, 1.0, 5.0])
    weights = bootstrap.seed_weights(3, np.random.default_rng(0), 20_000, spread.degrees)
    deviates = (weights @ seeds / 3 - seeds.mean()) / (seeds.std(ddof=1) / math.sqrt(3))
    assert np.quantile(deviates, [0.025, 0.25, 0.75, 0.975]) == pytest.approx([-2.306, -0.706, 0.706, 2.306], rel=0.05)
    # Its p-values are those of the same distribution.
    assert bootstrap.Spread(0.0, spread.seeds).tail(2.306 * math.sqrt(2)) == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize(
    ("seeds", "scale"),
    [
        ((0.2, 0.4), bootstrap.UNIT),
        ((0.2, 0.4), bootstrap.ANY),
        ((-1.0, 1.0), bootstrap.SHARE.differences),
        ((-3.0, -0.2), bootstrap.Scale(high=0.0)),
    ],
)
def test_no_draw_lies_beyond_the_scale(seeds: tuple[float, float], scale: bootstrap.Scale) -> None:
    # Of two seeds, Student's distribution goes far beyond both.
    draws = bootstrap.mean_draws([[mean] * 4 for mean in seeds], range(4), scale)
    for end, farthest in ((scale.low, draws.min()), (scale.high, draws.max())):
        assert farthest == end if math.isfinite(end) else abs(farthest) > 10 * max(map(abs, seeds))


def test_differences_lie_between_those_of_the_ends() -> None:
    assert bootstrap.SHARE.differences == bootstrap.Scale(-1, 1)
    assert bootstrap.Scale(low=0.0).differences == bootstrap.ANY.differences == bootstrap.ANY


@pytest.mark.parametrize(
    ("seeds", "p_value"),
    [((1.0, 2.0), 0.2048), ((-1.0, -3.0, -8.0), 0.1946), ((0.1, 0.04, 0.5), 0.2777), ((0.3, 0.34, 0.42), 0.0098)],
)
def test_a_difference_that_only_seeds_make_is_tested_as_by_student(seeds: tuple[float, ...], p_value: float) -> None:
    # Though every item of every seed differs in the same direction.
    items = np.repeat(np.array(seeds)[:, None], 100, axis=1)
    interval = bootstrap.bootstrap_difference(items, np.zeros(100), range(100))
    assert interval.p_value == pytest.approx(p_value, rel=0.25)
    assert (interval.low <= 0 <= interval.high) == (p_value > 0.05)


def test_what_seeds_do_to_single_facts_is_drawn_with_facts_and_with_seeds_and_not_a_third_time() -> None:
    noise = np.random.default_rng(11).normal(size=(8, 60))
    draws = bootstrap.mean_draws(noise, range(60), degrees=1e6, replicates=20_000)
    spread = bootstrap.mean_spread(noise, range(60))
    assert draws.var() == pytest.approx(spread.subjects + spread.seeds[0][0], rel=0.06)
    # The means of each seed and of each cluster are as before.
    sizes = np.array([1.0, 2.0, 3.0])
    sums = np.random.default_rng(12).normal(size=(3, 4))
    kept = bootstrap.additive(sums, sizes)
    assert kept.sum(0) == pytest.approx(sums.sum(0))
    assert kept.mean(1) == pytest.approx(sums.mean(1))
    assert bootstrap.additive(kept, sizes) == pytest.approx(kept)


def test_the_spread_of_a_mean_is_its_variance_by_subjects_and_by_seeds() -> None:
    spread = bootstrap.mean_spread(np.repeat([[0.0], [1.0], [5.0]], 40, axis=1), [index // 4 for index in range(40)])
    assert spread.subjects == pytest.approx(0)
    ((variance, freedom),) = spread.seeds
    assert (variance, freedom) == pytest.approx((7 / 3, 2))  # the variance of the three, over their number
    items = np.random.default_rng(10).normal(size=300)
    single, double = bootstrap.mean_spread(items, range(300)), bootstrap.mean_spread([items, items], range(300))
    assert single.subjects == pytest.approx(items.var() / 300, rel=0.1)
    assert double.subjects == pytest.approx(single.subjects)
    assert single.seeds == ()
    assert double.seeds == ((0.0, 1),)
    tens = bootstrap.mean_spread(np.repeat(items, 10), np.repeat(np.arange(300), 10).tolist())
    assert tens.subjects == pytest.approx(single.subjects)  # ten items of a subject that are alike say no more than one


def test_a_share_that_is_all_or_nothing_has_an_interval_as_wide_as_its_subjects_allow() -> None:
    nothing = bootstrap.bootstrap_mean(np.zeros((3, 174)), [index // 2 for index in range(174)], bootstrap.SHARE)
    assert nothing[:3] == pytest.approx((0, 0, upper_end(87)), abs=1e-12)
    everything = bootstrap.bootstrap_mean(np.ones(87), range(87), bootstrap.SHARE)
    assert everything[:3] == pytest.approx((1, 1 - upper_end(87), 1))
    assert bootstrap.bootstrap_mean(np.zeros(87), range(87))[:3] == (0, 0, 0)  # not a share but a change, for example


@pytest.mark.parametrize("subjects", [3, 20, 60])
def test_no_interval_of_a_share_ends_before_that_of_none_or_begins_after_that_of_all(subjects: int) -> None:
    for hits in range(subjects + 1):
        scores = np.arange(subjects) < hits
        interval = bootstrap.bootstrap_mean(scores, range(subjects), bootstrap.SHARE)
        assert interval.high >= upper_end(subjects) - 1e-9
        assert interval.low <= 1 - upper_end(subjects) + 1e-9


def test_a_share_in_between_has_the_interval_of_any_mean() -> None:
    scores, subjects = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0], "aabbcd"
    assert bootstrap.bootstrap_mean(scores, subjects, bootstrap.SHARE) == bootstrap.bootstrap_mean(scores, subjects)


def upper_end(trials: int) -> float:
    """The chance of a hit at which no hit in so many trials has a probability of 2.5 %, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 - middle) ** trials > 0.025 else (low, middle)
    return low


def test_paired_difference() -> None:
    noise = np.random.default_rng(3).normal(0, 5, 200)
    base = noise[None]
    better = noise + np.random.default_rng(4).normal(0.5, 0.2, (3, 200))
    interval = bootstrap.bootstrap_difference(better, base, range(200))
    assert interval.value == pytest.approx(0.5, abs=0.05)
    assert interval.high - interval.low < 0.2  # the common noise cancels
    assert interval.p_value is not None
    assert interval.p_value < 2e-3
    one_seed = bootstrap.bootstrap_difference(better[:1], base, range(200))
    assert one_seed.high - one_seed.low < 0.1  # of this seed's model
    assert one_seed.p_value is not None
    assert one_seed.p_value < 1e-9
    same = bootstrap.bootstrap_difference(base, base, range(200))
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_a_difference_is_drawn_as_a_mean_is_and_one_of_shares_ends_at_one() -> None:
    noise = np.random.default_rng(11).normal(size=(8, 60))
    interval = bootstrap.bootstrap_difference(noise, np.zeros(60), range(60))
    draws = bootstrap.mean_draws(noise, range(60))
    assert interval[:3] == pytest.approx((noise.mean(), *bootstrap.quantiles(draws)))
    # Of two seeds, Student's distribution goes far beyond both.
    shares = np.repeat([[0.2], [0.9]], 4, axis=1)
    assert bootstrap.bootstrap_difference(shares, np.zeros(4), range(4), bootstrap.SHARE)[1:3] == (-1, 1)
    assert bootstrap.bootstrap_difference(2 * shares, np.zeros(4), range(4)).high > 2


def test_the_same_subjects_are_drawn_whatever_is_measured_on_them() -> None:
    values, names = np.random.default_rng(7).normal(size=60), [index // 3 for index in range(60)]
    assert bootstrap.bootstrap_mean(values, names)[1:3] == bootstrap.quantiles(
        bootstrap.mean_draws(values, names, replicates=2000)
    )
    draws = bootstrap.mean_draws(values, names)
    assert bootstrap.mean_draws(np.stack([values] * 3), names) == pytest.approx(draws)  # three seeds, all alike
    assert bootstrap.mean_draws(values[::-1], names[::-1]) == pytest.approx(draws)
    # Of some of the subjects: in each draw, the mean of their facts in the draw of all.
    some = slice(0, 30)
    whole, share = (bootstrap.mean_draws(np.where(np.arange(60) < 30, table, 0.0), names) for table in (values, 1.0))
    of_some = bootstrap.mean_draws(values[some], names[some])
    assert of_some[share > 0] == pytest.approx(whole[share > 0] / share[share > 0])
    # Subjects of other names are others.
    others = bootstrap.mean_draws(values, [f"another {name}" for name in names])
    assert abs(np.corrcoef(draws, others)[0, 1]) < 0.05


def test_how_often_a_subject_is_drawn_is_a_poisson_variable_that_no_other_changes() -> None:
    counts = bootstrap.draw_counts(range(300), 2000)
    expected = [math.exp(-1) / math.factorial(times) for times in range(4)]
    assert [(counts == times).mean() for times in range(4)] == pytest.approx(expected, abs=0.003)
    assert counts.sum(1).var() == pytest.approx(300, rel=0.1)  # drawn independently
    assert np.array_equal(bootstrap.draw_counts([*range(299, 99, -1)], 2000), counts[:, :99:-1])
    # A draw of none of the subjects is one of each.
    assert bootstrap.draw_counts(["a"], 1000).min() == 1
    of_two = bootstrap.mean_draws([1.0, 4.0], ["a", "b"])
    chance_of_as_many = sum(math.exp(-2) / math.factorial(times) ** 2 for times in range(9))
    assert (of_two == 2.5).mean() == pytest.approx(chance_of_as_many, abs=0.02)


def test_other_models_have_other_seeds_and_the_same_subjects() -> None:
    random = np.random.default_rng(8)
    by_subject, by_seed = random.normal(size=(1, 20)), np.repeat(random.normal(size=(3, 1)), 20, axis=1)
    for values, alike in ((by_subject, True), (by_seed, False)):
        first, second = (bootstrap.mean_draws(values, range(20), models=(0, model)) for model in (0, 1))
        assert (first == second).all() == alike
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1


def test_an_interval_holds_its_estimate_though_draws_without_a_number_are_left_out() -> None:
    # One fact of twelve was lost: draws without it have no correlation, those that hold it twice a higher one.
    drops, lost = np.arange(12.0), (np.arange(12) == 11).astype(float)
    interval = bootstrap.bootstrap_correlation(
        lambda chosen: statistics.spearman(drops[chosen], lost[chosen]), range(12)
    )
    assert interval.value == pytest.approx(statistics.spearman(drops, lost))
    assert interval.low <= interval.value < interval.high
    mirrored = bootstrap.bootstrap_correlation(
        lambda chosen: -statistics.spearman(drops[chosen], lost[chosen]), range(12)
    )
    assert mirrored[:3] == pytest.approx((-interval.value, -interval.high, -interval.low))
    nothing = bootstrap.bootstrap_correlation(
        lambda chosen: statistics.spearman(drops[chosen], 0 * lost[chosen]), range(12)
    )
    assert all(math.isnan(value) for value in nothing[:3])
    # Of a statistic that every draw underestimates.
    distinct = bootstrap.bootstrap_correlation(lambda chosen: float(len(set(chosen.tolist()))), range(12))
    assert distinct.low < distinct.value == distinct.high == 12


def test_what_is_plain_is_found_among_many_comparisons_and_few_subjects_prove_nothing() -> None:
    everything = bootstrap.bootstrap_difference(np.ones((3, 200)), np.zeros((3, 200)), range(200))
    random = np.random.default_rng(0)
    most = bootstrap.bootstrap_difference(random.random((1, 200)) < 0.8, random.random((1, 200)) < 0.2, range(200))
    for difference in (everything, most):
        assert difference.p_value is not None
        assert 300 * difference.p_value < 1e-6
    few = bootstrap.bootstrap_difference(np.ones(4), np.zeros(4), range(4))
    assert few.p_value == 2**-3  # as in a sign test


@pytest.mark.parametrize(("beyond", "asked"), [(0, True), (9, True), (10, False), (300, False)])
def test_a_p_value_is_read_from_the_draws_where_enough_lie_beyond_zero(beyond: int, asked: bool) -> None:
    # A normal tail at 6 standard deviations, which 1,000 draws cannot show.
    draws = np.concatenate([np.full(999 - beyond, 1.0), np.full(beyond, -1.0)])
    calls = []

    def spread() -> bootstrap.Spread:
        calls.append(beyond)
        return bootstrap.Spread(1 / 36, ())

    for sign in (1, -1):
        interval = bootstrap.interval_of(1.0, sign * draws, 200, spread)
        assert interval.p_value == pytest.approx(math.erfc(6 / math.sqrt(2)) if asked else 2 * (beyond + 1) / 1000)
    assert len(calls) == (2 if asked else 0)
    # A tail of the spread that is higher than that of the draws says nothing more.
    wide = bootstrap.interval_of(1.0, draws, 200, lambda: bootstrap.Spread(1.0, ()))
    assert wide.p_value == pytest.approx(min(2 * (beyond + 1) / 1000, math.erfc(1 / math.sqrt(2)) if asked else 1))


def test_the_tail_of_a_spread_is_normal_by_subjects_and_students_by_seeds() -> None:
    assert bootstrap.Spread(0.25, ()).tail(-1.0) == pytest.approx(0.0455, abs=5e-5)  # two standard deviations
    # Student's distribution: 12.706, 4.303 and 2.776 standard errors are its two-sided 5 % points.
    for freedom, deviate in ((1, 12.706), (2, 4.303), (4, 2.776)):
        assert bootstrap.Spread(0.0, ((0.25, freedom),)).tail(deviate / 2) == pytest.approx(0.05, rel=0.05)
    assert bootstrap.Spread(0.0, ((0.0, 2),)).tail(1.0) == 0
    assert bootstrap.Spread(0.0, ((0.0, 2),)).tail(0.0) == 1


@pytest.mark.parametrize(("seeds", "apart"), [(2, 0.1), (3, 0.0), (3, 0.1), (3, 0.3), (5, 0.1)])
def test_few_seeds_are_no_evidence_of_what_they_differ_in(seeds: int, apart: float) -> None:
    # Methods that differ only by the noise of their seeds: 95 of 100 intervals should contain zero.
    random = np.random.default_rng(3)
    intervals = []
    for _ in range(400):
        item_effects, noise = random.normal(0, 0.4, (1, 80)), random.normal(0, 0.2, (seeds, 80))
        scores = item_effects + random.normal(0, apart, (seeds, 1)) + noise
        intervals.append(bootstrap.bootstrap_difference(scores, np.zeros((1, 80)), range(80), replicates=500))
    assert np.mean([interval.low <= 0 <= interval.high for interval in intervals]) > 0.93
    p_values = np.array([interval.p_value for interval in intervals], dtype=float)
    for level in (0.05, 0.01, 0.002):
        assert (p_values < level).mean() < 1.5 * level + 0.003


def test_small_p_values_are_as_rare_as_they_say() -> None:
    random = np.random.default_rng(1)
    intervals = [
        bootstrap.bootstrap_difference(random.random(60) < 0.3, random.random(60) < 0.3, range(60), replicates=300)
        for _ in range(2000)
    ]
    p_values = np.array([interval.p_value for interval in intervals], dtype=float)
    for level in (0.05, 0.01, 0.002):
        # A bootstrap of 60 subjects gives p-values that are a little too small.
        assert 0.5 * level < (p_values < level).mean() < 2 * level + 3e-3


def test_p_values_are_uniform_without_an_effect() -> None:
    random = np.random.default_rng(5)
    p_values = []
    for _ in range(150):
        left, right = random.normal(size=(2, 60))
        interval = bootstrap.bootstrap_difference(left, right, range(60), replicates=300)
        assert interval.p_value is not None
        p_values.append(interval.p_value)
    assert 0.01 < np.mean(np.array(p_values) < 0.1) < 0.2
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap.bootstrap_mean([], []), "no items"),
        (lambda: bootstrap.bootstrap_mean([1.0], ["a", "b"]), "cluster names"),
        (lambda: bootstrap.bootstrap_mean(np.ones((2, 2, 2)), ["a", "b"]), "cluster names"),
        (lambda: bootstrap.bootstrap_difference([[1.0, 2.0]], [[1.0]], ["a"]), "cannot pair"),
        (lambda: bootstrap.bootstrap_difference(np.ones((2, 3)), np.ones((3, 3)), "abc"), "cannot pair"),
    ],
)
def test_what_cannot_be_computed_is_refused(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


def test_auc_interval() -> None:
    random = np.random.default_rng(6)
    positive, negative = random.normal(1, 1, 150).tolist(), random.normal(0, 1, 150).tolist()
    interval = bootstrap.auc_interval(positive, negative, range(150), range(150))
    assert interval.low < 0.76 < interval.high  # Phi(1 / sqrt 2)
    assert 0.05 < interval.high - interval.low < 0.2
    assert math.isnan(statistics.auc([], [1.0]))
    assert math.isnan(statistics.auc([1.0], []))


def test_an_auc_of_all_or_nothing_has_the_interval_of_a_share_of_the_class_of_fewer_subjects() -> None:
    above, below = [5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 0.0]
    interval = bootstrap.auc_interval(above, below, "aabc", range(5))
    assert interval[:3] == pytest.approx((1, 1 - upper_end(3), 1))
    assert bootstrap.auc_interval(below, above, range(5), "aabc")[:3] == pytest.approx((0, 0, upper_end(3)))


def test_the_interval_of_an_auc_is_over_the_subjects_of_both_classes() -> None:
    random = np.random.default_rng(9)
    sides = [np.repeat(random.normal(mean, 1, 30), 4).tolist() for mean in (0.5, 0.0)]
    groups = [[[f"{side} {index // size}" for index in range(120)] for size in (1, 4)] for side in ("in", "out")]
    intervals = [bootstrap.auc_interval(*sides, *names) for names in itertools.product(*groups)]
    widths = [interval.high - interval.low for interval in intervals]
    # Half of the variance is of either class: of 120 subjects or of 30.
    expected = [1, math.sqrt(2.5), math.sqrt(2.5), 2]
    assert [width / widths[0] for width in widths] == pytest.approx(expected, rel=0.2)


def test_the_draws_of_an_auc_are_those_of_its_items() -> None:
    sides, names = ([1.0, 3.0, 4.0, 4.0, 6.0, 2.0], [0.0, 3.0, 5.0, 1.0, 2.0]), ("aaabbc", "ddefe")
    drawn = [bootstrap.item_weights(of_side, 500).astype(int) for of_side in names]
    areas = [
        statistics.auc(*(np.repeat(side, counts) for side, counts in zip(sides, draw, strict=True)))
        for draw in zip(*drawn, strict=True)
    ]
    interval = bootstrap.auc_interval(*sides, *names)
    assert interval[:3] == pytest.approx((statistics.auc(*sides), *np.quantile(areas, [0.025, 0.975])))


def test_bootstrap_of_any_statistic() -> None:
    values = np.random.default_rng(8).normal(size=300)
    interval = bootstrap.bootstrap_correlation(lambda chosen: float(np.median(values[chosen])), range(300))
    assert interval.low < interval.value < interval.high
    assert interval.value == np.median(values)
    nothing = bootstrap.bootstrap_correlation(lambda _: math.nan, range(3))
    assert math.isnan(nothing.low)


def test_every_draw_of_a_statistic_holds_whole_subjects() -> None:
    subjects, drawn = "abacbaad", list[list[int]]()

    def statistic(chosen: np.ndarray) -> float:
        drawn.append(np.bincount(chosen, minlength=8).tolist())
        return 0.0

    bootstrap.bootstrap_correlation(statistic, subjects)
    everything, *draws = drawn
    assert everything == [1] * 8
    for counts in draws:
        by_subject = set(zip(subjects, counts, strict=True))
        assert len(by_subject) == len(dict(by_subject)) == 4  # all items of a subject are drawn equally often
    assert np.mean([counts[7] for counts in draws]) == pytest.approx(1, abs=0.15)


def test_a_correlation_that_few_facts_make_is_not_told_from_none() -> None:
    # Draws without the facts that were lost have no correlation, so the others alone would exclude zero.
    for lost in ([199], [3], [0, 120], [10, 60, 90]):
        interval = _correlation(np.arange(200.0), np.isin(np.arange(200), lost).astype(float))
        assert interval.low <= 0 <= interval.high
    values = iter([math.nan])  # without draws, which would be of no use
    assert all(map(math.isnan, bootstrap.bootstrap_correlation(lambda _: next(values), range(6))[:3]))


def _correlation(first: np.ndarray, second: np.ndarray) -> bootstrap.Interval:
    return bootstrap.bootstrap_correlation(
        lambda chosen: statistics.spearman(first[chosen], second[chosen]), range(len(first))
    )


def test_who_changes_draws_does_not_change_those_of_others() -> None:
    first = bootstrap.draw_counts(range(5), 40)
    before = first.copy()
    first[:] = 0
    assert np.array_equal(bootstrap.draw_counts(range(5), 40), before)


def test_p_values_hardly_depend_on_the_draws() -> None:
    scores = np.random.default_rng(3).normal(loc=0.18, scale=0.6, size=60)
    spread = bootstrap.mean_spread(scores, range(60))
    p_values = []
    for number in range(12):
        draws = bootstrap.mean_draws(scores, [(number, index) for index in range(60)])
        p_values.append(bootstrap.interval_of(scores.mean(), draws, 60, lambda: spread).p_value or 0.0)
    assert 0.03 < np.mean(p_values) < 0.06
    assert np.std(p_values) < 0.005
