"""What is recovered over a control."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dual_data.bootstrap import mean_draws, quantiles
from dual_data.evaluation.report.analysis.recovery import LEVELS, recovered, recovered_share, recovery

STEPS = (0, 1, 3)


@pytest.mark.parametrize(
    ("gain", "by_control", "share"),
    [(0.0, 0, 0.0), (0.2, 0, 0.5), (0.4, 0, 1.0), (0.8, 0, 2.0), (-0.1, 0, -0.25), (0.2, 0.1, 0.25), (0.2, -0.1, 0.5)],
)
def test_recovered_share(gain: float, by_control: float, share: float) -> None:
    assert recovered(gain, by_control, 0.4) == pytest.approx(share)
    assert recovered(gain, by_control, 0.0) == recovered(gain, by_control, -0.1) == 0


def test_losses_of_the_control_count_where_asked() -> None:
    assert recovered([0.2, 0.2], [0.1, -0.1], 0.4, with_losses=True) == pytest.approx([0.25, 0.75])
    # Of ten facts unlearning took four, tuning brings back two of these, and costs half of all facts known.
    tuned, control = [[0.6] * 4, [0.4] * 4], [[1.0] * 4, [0.5] * 4]
    result = recovery((0, 1), tuned, control, control[0], range(4))
    assert 2 * result.area.interval.value == pytest.approx(0.5 - 0.5 * (0.5 + 0.6 / 0.4))
    assert 2 * result.area_with_losses.interval.value == pytest.approx(0.5 + 0.5 * (1 - 0.5))
    # At one step it gains more than it loses at the other: over both, losses are those of the mean.
    control = [[0.5] * 4, [0.75] * 4, [0.25] * 4]
    result = recovery(STEPS, [[0.1] * 4, [0.3] * 4, [0.5] * 4], control, control[0], range(4))
    assert result.area.interval == result.area_with_losses.interval


def test_the_area_and_the_steps_by_hand() -> None:
    tuned = [[0.1, 0.1], [0.2, 0.4], [0.5, 0.5]]  # shares of the gap of 0.4: 0, 0.5, 1
    flat = [[0.5, 0.5]] * 3
    result = recovery(STEPS, tuned, flat, flat[0], "ab")
    assert result.area.interval.value == pytest.approx((0.25 * 1 + 0.75 * 1) / 2)
    assert [result.steps_to(level).value for level in LEVELS] == [1, 3]


def test_noise_about_the_start_is_no_recovery_and_a_gain_is() -> None:
    """At every step some facts are answered anew, with as many hits as before; the control keeps what it knows."""
    random = np.random.default_rng(0)
    steps = (0, 1, 2, 4, 8, 16, 32, 64)
    shown = {0.0: 0, 0.3: 0}
    for gained in shown:
        for _ in range(40):
            start, anew = (random.random((count, 70)) < 0.3 for count in (1, len(steps)))
            tuned = np.where(random.random(anew.shape) < 0.3, anew, start)
            tuned[0] = start[0]
            tuned[3:] |= random.random(70) < gained
            known = np.tile(random.random(70) < 0.9, (len(steps), 1))
            area = recovery(steps, tuned, known, known[0], range(70)).area.interval
            shown[gained] += area.low > 0
    assert shown[0.0] <= 4  # a fortieth of the intervals should lie above a truth of 0
    assert shown[0.3] >= 30


def test_noise_of_the_control_takes_little_off() -> None:
    # At steps 1 and 3 the control gains and loses as much: over all steps it gains nothing.
    control = [[0.5] * 4, [0.75] * 4, [0.0] * 4]
    result = recovery(STEPS, [[0.25] * 4, [0.5] * 4, [0.5] * 4], control, control[0], range(4))
    assert result.area.interval[:3] == (0.75, 0.75, 0.75)
    assert result.exact.tolist() == [[0, 0, 1]]


def test_a_share_that_is_reached_but_for_rounding_is_reached() -> None:
    # (0.3 - 0.1) / (0.5 - 0.1) is less than a half in floats.
    result = recovery((0, 1), [[0.1] * 3, [0.3] * 3], [[0.5] * 3] * 2, [0.5] * 3, range(3))
    assert result.steps_to(0.5) == (1, 1, 1, None)


def test_the_steps_have_an_interval_over_subjects() -> None:
    # Half of the subjects recover at the first step and half never: draws with few of the latter reach the level early.
    tuned = [[0.1] * 20, [0.5, 0.1] * 10, [0.5, 0.1] * 10]
    flat = [[0.5] * 20] * 3
    result = recovery(STEPS, tuned, flat, flat[0], range(20))
    assert result.steps_to(0.5) == (1, 1, math.inf, None)
    assert result.steps_to(0.9) == (math.inf, math.inf, math.inf, None)
    assert result.steps_to(0.1) == (1, 1, 1, None)


def test_what_the_control_gains_is_no_recovery() -> None:
    tuned = np.array([[0.1] * 4, [0.3] * 4, [0.5] * 4])
    base = [0.5] * 4
    same = recovery(STEPS, tuned, tuned, base, range(4))
    assert (same.area.interval.value, same.area.interval.high) == (0, 0)
    assert [same.steps_to(level).value for level in LEVELS] == [math.inf, math.inf]
    partial = recovery(STEPS, tuned, tuned[:1] + (tuned - tuned[:1]) / 4, base, range(4))
    assert partial.area.interval.value == pytest.approx(0.375)  # three quarters of what the control leaves at 0.5
    assert [partial.steps_to(level).value for level in LEVELS] == [3, math.inf]


def test_the_interval_is_over_subjects() -> None:
    random = np.random.default_rng(0)
    after = np.repeat(random.uniform(0, 1, 40), 5)
    tuned = np.stack([np.zeros(200), after])
    flat = np.ones((2, 200))
    alone = recovery((0, 1), tuned, flat, flat[0], range(200))
    clustered = recovery((0, 1), tuned, flat, flat[0], [index // 5 for index in range(200)])
    assert alone.area.interval.value == clustered.area.interval.value == pytest.approx(after.mean() / 2)
    ratio = (clustered.area.interval.high - clustered.area.interval.low) / (
        alone.area.interval.high - alone.area.interval.low
    )
    assert ratio == pytest.approx(math.sqrt(5), rel=0.2)


def test_the_interval_is_over_seeds_too_and_they_are_crossed_with_subjects() -> None:
    tuned = np.stack([np.zeros((3, 50)), np.full((3, 50), [[0.2], [0.4], [0.6]])], axis=1)
    flat = np.ones((3, 2, 50))
    all_seeds = recovery((0, 1), tuned, flat, flat[:, 0], range(50))
    one_seed = recovery((0, 1), tuned[1], flat[1], flat[1, 0], range(50))
    assert all_seeds.area.interval.value == pytest.approx(one_seed.area.interval.value) == pytest.approx(0.2)
    assert one_seed.area.interval[:3] == pytest.approx((0.2, 0.2, 0.2))  # all subjects are alike, the seeds are not
    # Half of 0.4 at the last step, within Student's 4.303 standard errors of three seeds.
    assert (all_seeds.area.interval.low, all_seeds.area.interval.high) == pytest.approx(
        [(0.4 + sign * 4.303 * 0.2 / math.sqrt(3)) / 2 for sign in (-1, 1)], abs=0.06
    )
    # Ten seeds that agree give no more information on the subjects than one.
    after = np.random.default_rng(0).uniform(0, 1, 40)
    single = recovered_share(np.ones(40), np.zeros(40), after, np.ones(40), range(40))
    ones, zeros = np.ones((10, 40)), np.zeros((10, 40))
    many = recovered_share(ones, zeros, np.tile(after, (10, 1)), ones, range(40))
    assert single.high - single.low > 0.1
    assert many[:3] == pytest.approx(single[:3])


@pytest.mark.parametrize("control_gains", [True, False])
def test_values_of_facts_have_the_mean_and_the_spread_of_the_area(control_gains: bool) -> None:
    random = np.random.default_rng(0)
    known = (random.random((3, 1, 400)) < 0.9).repeat(4, 1)
    start = known[:, :1] & (random.random((3, 1, 400)) < 0.4)
    tuned = start | (known & (random.random((3, 4, 400)) < [[0.0], [0.2], [0.4], [0.5]]))
    tuned[:, 0] = start[:, 0]
    control = known.copy()
    changed = random.random((3, 3, 400)) < 0.3
    control[:, 1:] = control[:, 1:] | changed if control_gains else control[:, 1:] & ~changed
    steps = (0, 1, 3, 7)
    result = recovery(steps, tuned, control, known[:, 0], range(400))
    assert result.lost == (known[:, 0].sum() - start.sum()) / 3
    of_one_seed = recovery(steps, tuned[:1], control[:1], known[:1, 0], range(400))
    for share, by_fact in (each for of in (result, of_one_seed) for each in (of.area, of.area_with_losses)):
        assert by_fact.mean() == pytest.approx(share.value)
        low, high = quantiles(mean_draws(by_fact, range(400)))
        assert (low, high) == pytest.approx(share[1:3], abs=0.25 * (share.high - share.low))


def test_without_a_gap_values_of_facts_are_zero() -> None:
    assert not recovery((0, 1), [[0.5] * 3, [1.0] * 3], [[0.5] * 3] * 2, [0.5] * 3, range(3)).area.by_fact.any()


def test_the_share_of_one_treatment() -> None:
    before, unlearned, attacked = [1.0] * 6, [0.2] * 6, [0.6] * 6
    share = recovered_share(before, unlearned, attacked, before, range(6))
    assert share[:3] == pytest.approx((0.5, 0.5, 0.5))
    worse = [0.5] * 6  # rounding hurts the model before unlearning: no gain to take off
    assert recovered_share(before, unlearned, attacked, worse, range(6)).value == pytest.approx(0.5)
    with_losses = recovered_share(before, unlearned, attacked, worse, range(6), with_losses=True)
    assert with_losses.value == pytest.approx(0.9 / 0.8)
    gains = recovered_share([0.8] * 6, unlearned, attacked, [0.9] * 6, range(6))
    assert gains.value == pytest.approx(0.5)  # (0.4 - 0.1) / 0.6
