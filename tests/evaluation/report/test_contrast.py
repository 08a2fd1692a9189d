"""Comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.contrast import (
    Contrast,
    average,
    compare_at_equal_confidence,
    compare_jumps,
    compare_retention,
    compare_sets,
    largest_jump,
    paired_by_confidence,
)
from dual_data.evaluation.statistics import Interval
from tests.evaluation.report.made_up import write_cell, write_grid


def test_pairs_are_close_and_used_once() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=40), random.normal(1.0, size=60)
    pairs = paired_by_confidence(first, second, 0.1)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs) > 5
    assert all(abs(first[i] - second[j]) <= 0.1 for i, j in pairs)
    assert paired_by_confidence(np.array([0.0]), np.array([5.0])) == []


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
    assert compare_at_equal_confidence(popular, rare, (1e-4, 1e-4)) is not None
    assert compare_at_equal_confidence(popular, far, (1e-4, 1e-4)) is None


def test_retention_at_equal_forgetting_by_hand(tmp_path: Path) -> None:
    for stage, kept in (("pretrained", 0.4), ("sft", 0.8)):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, forget=0.0, retain=kept)
    sft, pretrained = (
        next(group for group in collect([tmp_path]).groups if group.key.stage == stage)
        for stage in ("sft", "pretrained")
    )
    found = compare_retention(sft, pretrained)
    assert found is not None
    # Half way between the cell and the model before, on both axes.
    means = [np.mean(group.runs[0].sets["retain_eval"].scores["rougeL_recall"]) for group in (sft, pretrained)]
    assert found.first.value == pytest.approx((means[0] + 1) / 2)
    assert found.first.low < found.first.value < found.first.high
    assert found.second.high < found.first.low
    assert found.difference.value == pytest.approx((means[0] - means[1]) / 2)
    assert found.difference.low > 0


def test_facts_that_two_sets_share_are_drawn_together(tmp_path: Path) -> None:
    for name in ("rare", "popular"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.0, retain=0.5)
    popular, rare = collect([tmp_path]).groups
    found = compare_retention(popular, rare)
    assert found is not None
    # Each forgets everything and keeps the same facts of one set to retain.
    assert found.difference[:3] == (0, 0, 0)
    assert found.first.low < found.first.high
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
    for stage, left in (("pretrained", {1e-5: 0.9, 1e-4: 0.8, 1e-3: 0.0}), ("sft", {1e-5: 0.9, 1e-4: 0.8})):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget in left.items():
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.9)
    groups = {group.key.stage: group for group in collect([tmp_path]).groups}
    found = compare_jumps(groups["sft"], groups["pretrained"])
    assert found is not None
    assert found.difference[:3] == (0, 0, 0)  # the third rate, at which all is lost, was run of one stage alone
    one_rate = groups["sft"]._replace(runs=groups["sft"].runs[:1])
    assert compare_jumps(one_rate, groups["pretrained"]) is None


def test_an_average_is_as_narrow_as_the_facts_that_are_not_shared(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    # The same facts are forgotten in both stages, so that the second says nothing new.
    found = [
        compare_sets(groups[stage, "popular"], groups[stage, "rare"], (1e-4, 1e-4)) for stage in ("pretrained", "sft")
    ]
    assert average(found)[:3] == pytest.approx(found[0].difference[:3])
    fewer_seeds = groups["sft", "popular"]._replace(runs=groups["sft", "popular"].runs[::2])
    assert {run.seed for run in fewer_seeds.runs} == {0}
    other = compare_sets(fewer_seeds, groups["sft", "rare"], (1e-4, 1e-4))
    assert np.corrcoef(other.draws, found[0].draws)[0, 1] > 0.7


def test_an_average_of_what_shares_nothing_is_narrower_and_skips_missing_draws() -> None:
    random = np.random.default_rng(0)
    none = Interval(0.0, 0.0, 0.0)
    contrasts = [Contrast(Interval(1.0, 0.0, 2.0), none, none, 9, random.normal(1, 1, 2000)) for _ in range(4)]
    found = average(contrasts)
    assert found.value == 1
    assert (found.low, found.high) == pytest.approx((1 - 1.96 / 2, 1 + 1.96 / 2), abs=0.08)
    missing = contrasts[0]._replace(draws=np.full(2000, np.nan))
    assert average([contrasts[0], missing])[1:3] == pytest.approx(average(contrasts[:1])[1:3])
