"""Comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.report.collect import Group, collect
from dual_data.evaluation.report.contrast import (
    Contrast,
    average,
    compare_jumps,
    compare_pairs,
    compare_retention,
    compare_sets,
    largest_jump,
    nearest_pairs,
    pair_facts,
)
from dual_data.evaluation.statistics import Interval
from tests.evaluation.report.made_up import write_cell, write_grid


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
    # Merged in order, each would take the first within reach, and differ by a third of the shift.
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
    found = pair_facts(popular, rare)
    assert found is not None
    answered = [group.before[0].sets["forget"].scores["contains_answer"] for group in (popular, rare)]
    assert all(answered[0][i] == answered[1][j] for i, j in found.pairs)
    assert found.confidence.low <= found.confidence.value <= found.confidence.high
    assert abs(found.confidence.value) < 0.02
    assert found.score.value == 0
    over_pairs = compare_pairs(popular, rare, 1e-4, found)
    assert over_pairs.facts == len(found.pairs)


def test_equal_confidence_needs_enough_facts(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    popular, rare = groups["sft", "popular"], groups["sft", "rare"]
    far = rare._replace(
        before=tuple(
            run._replace(
                sets={
                    **run.sets,
                    "forget": run.sets["forget"]._replace(
                        scores={
                            **run.sets["forget"].scores,
                            "mean_log_probability": run.sets["forget"].scores["mean_log_probability"] - 50,
                        }
                    ),
                }
            )
            for run in rare.before
        )
    )
    assert pair_facts(popular, rare) is not None
    assert pair_facts(popular, far) is None


def _two_stages(folder: Path) -> tuple[Group, Group]:
    """The only method after sft and on the pretrained model."""
    by_stage = {group.key.stage: group for group in collect([folder]).groups}
    return by_stage["sft"], by_stage["pretrained"]


def test_retention_at_equal_forgetting_by_hand(tmp_path: Path) -> None:
    for stage, kept in (("pretrained", 0.4), ("sft", 0.8)):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget, retain in ((1e-4, 0.7, 1.0), (1e-3, 0.3, kept)):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=retain)
    sft, pretrained = _two_stages(tmp_path)
    found = compare_retention(sft, pretrained)
    assert found is not None
    # On the line between the two cells, where half of the facts is gone.
    shares = [run.sets["forget"].scores["rougeL_recall"].mean() for run in sft.runs]
    way = (shares[0] - 0.5) / (shares[0] - shares[1])
    kept_there = [group.runs[1].sets["retain_eval"].scores["rougeL_recall"].mean() for group in (sft, pretrained)]
    assert found.first.value == pytest.approx(1 + way * (kept_there[0] - 1))
    assert found.first.low < found.first.value < found.first.high
    assert found.second.high < found.first.low
    assert found.difference.value == pytest.approx(way * (kept_there[0] - kept_there[1]))
    assert found.difference.low > 0
    # With the stronger rate alone the line would go from it to the model before: nothing near the half was measured.
    far = [group._replace(runs=group.runs[1:]) for group in (sft, pretrained)]
    assert compare_retention(*far) is None


def test_retention_is_read_between_the_rates_next_to_it_though_another_keeps_more(tmp_path: Path) -> None:
    for stage, cells in (
        ("pretrained", ((1e-4, 0.65, 0.8), (1e-3, 0.35, 0.5))),
        ("sft", ((1e-4, 0.65, 0.7), (1e-3, 0.35, 0.9))),  # the second has forgotten more and kept more
    ):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget, retain in cells:
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=retain)
    sft, pretrained = _two_stages(tmp_path)
    found = compare_retention(sft, pretrained)
    assert found is not None
    weaker, stronger = (run.sets["retain_eval"].scores["rougeL_recall"].mean() for run in sft.runs)
    assert stronger > found.first.value > weaker > found.second.value
    alone = sft._replace(runs=sft.runs[1:])
    assert compare_retention(alone, pretrained) is None


def test_facts_that_two_sets_share_are_drawn_together(tmp_path: Path) -> None:
    for name in ("rare", "popular"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        for lr, forget, retain in ((1e-4, 0.7, 0.53), (1e-3, 0.3, 0.5)):
            write_cell(tmp_path, forget_set=name, method="NPO", lr=lr, forget=forget, retain=retain)
    popular, rare = collect([tmp_path]).groups
    found = compare_retention(popular, rare)
    assert found is not None
    # Each keeps nearly the same facts of one set, whichever are drawn and wherever half of its own are gone.
    assert np.nanstd(found.draws) < 0.2 * (found.first.high - found.first.low)
    assert found.facts == 60


def test_largest_jump(tmp_path: Path) -> None:
    write_grid(tmp_path)
    group = next(group for group in collect([tmp_path]).groups if group.key[2:4] == ("pretrained", "rare"))
    means = [np.mean([run.sets["forget"].scores["rougeL_recall"].mean() for run in group.at(lr)]) for lr in group.lrs]
    found = largest_jump(group)
    assert found is not None
    assert found.value == pytest.approx(max(abs(means[0] - means[1]), abs(means[1] - means[2])))
    assert found.low < found.value < found.high
    assert largest_jump(group._replace(runs=group.runs[:1])) is None


def test_jumps_are_compared_over_the_rates_of_both(tmp_path: Path) -> None:
    for stage, left in (("pretrained", {1e-5: 0.9, 1e-4: 0.6, 1e-3: 0.0}), ("sft", {1e-5: 0.9, 1e-4: 0.6})):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget in left.items():
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.9)
    groups = {group.key.stage: group for group in collect([tmp_path]).groups}
    found = compare_jumps(groups["sft"], groups["pretrained"])
    assert found is not None
    assert found.difference[:3] == (0, 0, 0)  # the third rate, at which all is lost, was run of one stage alone
    one_rate = groups["sft"]._replace(runs=groups["sft"].runs[:1])
    assert compare_jumps(one_rate, groups["pretrained"]) is None


def test_jumps_of_what_forgets_nothing_are_not_compared(tmp_path: Path) -> None:
    for stage, left in (("pretrained", (0.9, 0.2)), ("sft", (1.0, 0.95))):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget in zip((1e-5, 1e-4), left, strict=True):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.9)
    groups = {group.key.stage: group for group in collect([tmp_path]).groups}
    assert compare_jumps(groups["sft"], groups["pretrained"]) is None
    assert compare_jumps(groups["pretrained"], groups["pretrained"]) is not None


def test_noise_alone_makes_no_jump_certain(tmp_path: Path) -> None:
    # Three rates at which the same share is left, of other facts each: the step that is largest is so by chance.
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for seed, lr in enumerate((1e-5, 1e-4, 1e-3)):
        write_cell(tmp_path, method="NPO", lr=lr, seed=seed, forget=0.5, retain=0.9)
    (group,) = collect([tmp_path]).groups
    found = largest_jump(group)
    assert found is not None
    assert found.value > 0
    assert found.low < 0


def test_an_average_is_as_narrow_as_the_facts_that_are_not_shared(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    # The same facts are forgotten in both stages, so that the second says nothing new.
    found = [compare_sets(groups[stage, "popular"], groups[stage, "rare"], 1e-4) for stage in ("pretrained", "sft")]
    assert average(found)[:3] == pytest.approx(found[0].difference[:3])
    fewer_seeds = groups["sft", "popular"]._replace(runs=groups["sft", "popular"].runs[::3])
    assert {run.seed for run in fewer_seeds.runs} == {0}
    other = compare_sets(fewer_seeds, groups["sft", "rare"], 1e-4)
    assert np.corrcoef(other.draws, found[0].draws)[0, 1] > 0.7


def test_an_average_of_what_shares_nothing_is_narrower_and_skips_missing_draws() -> None:
    random = np.random.default_rng(0)
    none = Interval(0.0, 0.0, 0.0)
    contrasts = [Contrast(Interval(1.0, 0.0, 2.0), none, none, 9, 3, random.normal(1, 1, 2000)) for _ in range(4)]
    found = average(contrasts)
    assert found.value == 1
    assert (found.low, found.high) == pytest.approx((1 - 1.96 / 2, 1 + 1.96 / 2), abs=0.08)
    missing = contrasts[0]._replace(draws=np.full(2000, np.nan))
    assert average([contrasts[0], missing])[1:3] == pytest.approx(average(contrasts[:1])[1:3])
