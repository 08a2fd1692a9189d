"""Retention at equal forgetting, jumps and the area under the frontier."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from dual_data.bootstrap import UNKNOWN, mean_spread
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import average
from dual_data.evaluation.report.analysis.curves import (
    _spread,
    compare_jumps,
    compare_retention,
    frontier_area,
    largest_jump,
)
from dual_data.evaluation.report.analysis.levels import levels_of
from dual_data.evaluation.report.analysis.runs import Group, Items, Run, clusters, stack
from tests.evaluation.report.made_up import rescored, scored_before, write_cell, write_grid


def _two_stages(folder: Path) -> tuple[Group, Group]:
    """The only method after sft and on the pretrained model."""
    by_stage = {group.key.stage: group for group in collect([folder]).groups}
    return by_stage["sft"], by_stage["pretrained"]


def test_retention_at_equal_forgetting_by_hand(tmp_path: Path) -> None:
    for stage, retain_low in (("pretrained", 0.4), ("sft", 0.8)):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget, retain in ((1e-4, 0.7, 1.0), (1e-3, 0.3, retain_low)):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=retain)
    sft, pretrained = _two_stages(tmp_path)
    contrast = compare_retention(sft, pretrained)
    assert contrast is not None
    # On the line between the two cells, where half of the facts is gone.
    shares = [run.sets["forget"].scores["rougeL_recall"].mean() for run in sft.runs]
    fraction = (shares[0] - 0.5) / (shares[0] - shares[1])
    retained = [group.runs[1].sets["retain_eval"].scores["rougeL_recall"].mean() for group in (sft, pretrained)]
    assert contrast.first.value == pytest.approx(1 + fraction * (retained[0] - 1))
    assert contrast.first.low < contrast.first.value < contrast.first.high
    assert contrast.second.high < contrast.first.low
    assert contrast.difference.value == pytest.approx(fraction * (retained[0] - retained[1]))
    assert contrast.difference.low > 0
    # With only the stronger rate, the line would start at the model before: nothing near one half was measured.
    far = [group._replace(runs=group.runs[1:]) for group in (sft, pretrained)]
    assert compare_retention(*far) is None


def test_retention_is_relative_to_the_model_before_and_read_where_half_of_its_score_is_gone(tmp_path: Path) -> None:
    for stage, base, retained in (("pretrained", 0.6, 0.5), ("sft", 0.9, 0.6)):
        write_cell(tmp_path, stage=stage, forget=base, retain=base)
        for lr, forget, retain in ((1e-4, 0.65, retained), (1e-3, 0.3, retained / 2)):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget * base, retain=retain)
    contrast = compare_retention(*_two_stages(tmp_path))
    assert contrast is not None
    expected = []
    for group in _two_stages(tmp_path):
        forget_scores, retain_scores = (
            [run.sets[name].scores["rougeL_recall"].mean() for run in (*group.before, *group.runs)]
            for name in ("forget", "retain_eval")
        )
        weight = (forget_scores[1] - forget_scores[0] / 2) / (forget_scores[1] - forget_scores[2])
        expected.append((retain_scores[1] + weight * (retain_scores[2] - retain_scores[1])) / retain_scores[0])
    assert [contrast.first.value, contrast.second.value] == pytest.approx(expected)
    assert contrast.difference.value == pytest.approx(expected[0] - expected[1])


def test_what_kept_nothing_before_or_was_not_measured_before_has_no_retention(tmp_path: Path) -> None:
    for stage, score in (("pretrained", 0.0), ("sft", 0.9)):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=score)
        for lr, forget in ((1e-4, 0.65), (1e-3, 0.35)):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.5)
    sft, pretrained = _two_stages(tmp_path)
    assert compare_retention(sft, sft) is not None
    assert compare_retention(sft, pretrained) is None
    unmeasured = sft._replace(before=())
    assert compare_retention(sft, unmeasured) is None
    assert largest_jump(unmeasured) is UNKNOWN
    assert frontier_area(unmeasured) is UNKNOWN


def test_a_curve_at_one_rate_spreads_as_the_mean_there_does(tmp_path: Path) -> None:
    for stage, score in (("pretrained", 0.5), ("sft", 0.3)):
        for seed in (0, 1, 2):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, seed=seed, forget=score, retain=0.9)
    groups = _two_stages(tmp_path)
    sides = [levels for group in groups if (levels := levels_of(group)) is not None]
    forget, retain = sides[1].sides
    sides[1] = sides[1]._replace(sides=(forget._replace(names=tuple(range(30))), retain))  # other subjects
    weights = [side.weights(4000) for side in sides]
    spread = _spread([lambda points: points[0].forget] * 2, sides, weights)
    means = [
        mean_spread(stack(group.runs, "forget", "rougeL_recall"), clusters(group.runs, "forget")) for group in groups
    ]
    assert spread.subjects == pytest.approx(sum(mean.subjects for mean in means), rel=0.1)
    seed_terms = [term for term in spread.seeds if term[0] > 1e-12]  # those of the models before are none
    assert np.array(seed_terms) == pytest.approx(np.array([term for mean in means for term in mean.seeds]))
    # Drawn together, as two stages on the same facts are.
    same = _spread([lambda points: points[0].forget] * 2, [sides[0]] * 2, [weights[0]] * 2)
    assert same.subjects == 0


def test_retention_is_read_between_the_rates_next_to_it_though_another_keeps_more(tmp_path: Path) -> None:
    for stage, cells in (
        ("pretrained", ((1e-4, 0.65, 0.8), (1e-3, 0.35, 0.5))),
        ("sft", ((1e-4, 0.65, 0.7), (1e-3, 0.35, 0.9))),  # the second rate forgets more and retains more
    ):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget, retain in cells:
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=retain)
    sft, pretrained = _two_stages(tmp_path)
    contrast = compare_retention(sft, pretrained)
    assert contrast is not None
    weaker, stronger = (run.sets["retain_eval"].scores["rougeL_recall"].mean() for run in sft.runs)
    assert stronger > contrast.first.value > weaker > contrast.second.value
    alone = sft._replace(runs=sft.runs[1:])
    assert compare_retention(alone, pretrained) is None


def test_retention_is_compared_by_subjects_and_by_the_seeds_of_the_rate_with_fewest(tmp_path: Path) -> None:
    for stage, retain in (("pretrained", 0.0), ("sft", 1.0)):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget in ((1e-4, 0.65), (1e-3, 0.35)):
            for seed in (0, 1, 2):
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=forget, retain=retain)
    sft, pretrained = _two_stages(tmp_path)
    contrast = compare_retention(sft, pretrained)
    assert contrast is not None
    assert (contrast.difference.value, contrast.difference.p_value) == (1, 2**-29)  # 30 subjects
    assert contrast.seeds == 3
    fewer = sft._replace(runs=tuple(run for run in sft.runs if (run.lr, run.seed) != (1e-3, 2)))
    for groups in ((fewer, pretrained), (pretrained, fewer)):
        contrast = compare_retention(*groups)
        assert contrast is not None
        assert contrast.seeds == 2


def _left(group: Group, *shares: float) -> Group:
    """The group with the first facts left at its rates, as many as these shares; all are kept before."""
    facts = np.arange(60)
    runs = tuple(rescored(run, rougeL_recall=facts < 60 * share) for run, share in zip(group.runs, shares, strict=True))
    return group._replace(runs=runs, before=(rescored(group.before[0], rougeL_recall=np.ones(60)),))


def test_where_half_of_the_draws_never_lose_enough_nothing_is_said(tmp_path: Path) -> None:
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        for lr, retain in ((1e-4, 0.9), (1e-3, 0.5)):
            write_cell(tmp_path, forget_set=name, method="NPO", lr=lr, forget=0.5, retain=retain)
    popular, rare = collect([tmp_path]).groups
    surely, barely = _left(popular, 0.7, 0.2), [_left(group, 0.7, 0.49) for group in (popular, rare)]
    assert compare_retention(*barely) is None  # each has a value in about half of the draws, both in a quarter
    assert compare_retention(surely, barely[1]) is not None
    # The same numbers of two sets are of different subjects.
    contrast = compare_retention(surely, _left(rare, 0.7, 0.2))
    assert contrast is not None
    assert contrast.difference.value == 0
    assert contrast.difference.low < 0 < contrast.difference.high


def test_facts_that_two_sets_share_are_drawn_together(tmp_path: Path) -> None:
    for name in ("rare", "popular"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        for lr, forget, retain in ((1e-4, 0.7, 0.53), (1e-3, 0.3, 0.5)):
            write_cell(tmp_path, forget_set=name, method="NPO", lr=lr, forget=forget, retain=retain)
    popular, rare = collect([tmp_path]).groups
    contrast = compare_retention(popular, rare)
    assert contrast is not None
    # Both retain nearly the same facts of one set, whichever are drawn and wherever half of the forget facts is lost.
    assert np.nanstd(contrast.draws) < 0.2 * (contrast.first.high - contrast.first.low)
    assert contrast.facts == 60


@pytest.mark.parametrize("facts", [60, 58])
def test_an_average_over_sets_is_no_narrower_for_a_shared_retain_set(tmp_path: Path, facts: int) -> None:
    for name, size in (("popular", 60), ("rare", facts)):
        for stage in ("pretrained", "sft"):
            write_cell(tmp_path, stage=stage, forget_set=name, forget=1.0, retain=1.0, facts=size)
            for lr in (1e-4, 1e-3):
                write_cell(
                    tmp_path, stage=stage, forget_set=name, method="NPO", lr=lr, facts=size,
                    forget=0.5, retain=0.6 if stage == "sft" else 0.4,
                )  # fmt: skip
    # As much of every fact to forget is left, so that the draws differ in the retain set alone.
    groups = {}
    for group in collect([tmp_path]).groups:
        runs = tuple(
            run._replace(sets={**run.sets, "forget": _even(run.sets["forget"], {1e-4: 0.7, 1e-3: 0.3}[run.lr])})
            for run in group.runs
        )
        groups[group.key.set, group.key.stage] = group._replace(runs=runs)
    contrasts = [compare_retention(groups[name, "sft"], groups[name, "pretrained"]) for name in ("popular", "rare")]
    (one, other) = [contrast for contrast in contrasts if contrast is not None]
    assert one.difference.high - one.difference.low > 0.1
    assert average([one, other])[:3] == pytest.approx(one.difference[:3])


def _even(items: Items, score: float) -> Items:
    return items._replace(scores={"rougeL_recall": np.full(len(items.ids), score)})


def test_largest_jump(tmp_path: Path) -> None:
    write_grid(tmp_path)
    group = next(group for group in collect([tmp_path]).groups if group.key[2:4] == ("pretrained", "rare"))
    means = [np.mean([run.sets["forget"].scores["rougeL_recall"].mean() for run in group.at(lr)]) for lr in group.lrs]
    jump = largest_jump(group)
    assert jump.value == pytest.approx(max(1 - means[0], abs(means[0] - means[1]), abs(means[1] - means[2])))
    assert jump.low < jump.value < jump.high
    assert largest_jump(group._replace(runs=group.runs[:1])) is UNKNOWN


def test_a_fall_to_the_lowest_rate_is_a_jump(tmp_path: Path) -> None:
    # A model that loses all at the lowest rate is not smooth because nothing is left to lose.
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for lr, forget in ((1e-4, 0.2), (1e-3, 0.1)):
        write_cell(tmp_path, method="NPO", lr=lr, forget=forget, retain=0.9)
    (group,) = collect([tmp_path]).groups
    before, low, _ = (run.sets["forget"].scores["rougeL_recall"].mean() for run in (*group.before, *group.runs))
    jump = largest_jump(group)
    assert jump.value == pytest.approx((before - low) / before)
    assert 0.5 < jump.low < jump.value < jump.high


def test_a_jump_up_is_as_large_as_one_down_and_relative_to_before(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=0.8, retain=1.0)
    for lr, forget in ((1e-5, 0.7), (1e-4, 0.1), (1e-3, 0.8)):
        write_cell(tmp_path, method="NPO", lr=lr, forget=forget, retain=0.9)
    (group,) = collect([tmp_path]).groups
    before, low, high = (run.sets["forget"].scores["rougeL_recall"].mean() for run in (*group.before, *group.runs[1:]))
    jump = largest_jump(group)
    assert jump.value == pytest.approx((high - low) / before)
    assert 0 < jump.low < jump.value < jump.high


def test_methods_with_different_rates_draw_the_same_of_the_model_before(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_cell(tmp_path, stage="sft", seed=seed, forget=(0.6, 0.8, 1.0)[seed], retain=1.0)
        for method, rates in (("NPO", (1e-5, 1e-4)), ("GradDiff", (1e-5, 1e-4, 1e-3))):
            for lr in rates:
                write_cell(tmp_path, stage="sft", method=method, lr=lr, seed=seed, forget=0.3, retain=0.9)
    before = []
    for group in collect([tmp_path]).groups:
        levels = levels_of(group)
        assert levels is not None
        drawn = levels.draws(levels.weights(50), np.random.default_rng(0))
        before.append([points[-1].forget for points in drawn])
    assert before[0] == before[1]
    assert len(set(before[0])) > 40


def test_of_a_model_that_knows_nothing_no_share_is_said(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=0.0, retain=1.0)
    for lr, forget in ((1e-5, 0.5), (1e-4, 0.1)):
        write_cell(tmp_path, method="NPO", lr=lr, forget=forget, retain=0.9)
    (group,) = collect([tmp_path]).groups
    assert largest_jump(group) is UNKNOWN
    assert frontier_area(group) is UNKNOWN  # no draw differs: an interval from 0 to 0 would claim certainty
    # The facts of one subject of thirty are known: the draws without it have no share, and are left out.
    single = scored_before(group, rougeL_recall=[[1.0, 1.0, *[0.0] * 58]])
    jump = largest_jump(single)
    assert np.isfinite(jump[:3]).all()


def test_the_area_under_the_frontier_is_that_of_its_means(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for lr, forget, retain in ((1e-5, 0.7, 0.95), (1e-4, 0.3, 0.6), (1e-3, 0.0, 0.1)):
        write_cell(tmp_path, method="NPO", lr=lr, forget=forget, retain=retain)
    (group,) = collect([tmp_path]).groups
    result = frontier_area(group)
    points = [
        tuple(run.sets[name].scores["rougeL_recall"].mean() for name in ("forget", "retain_eval")) for run in group.runs
    ]
    curve = [*sorted(points), (1.0, 1.0)]
    expected = sum((right[0] - left[0]) * (left[1] + right[1]) / 2 for left, right in itertools.pairwise(curve))
    assert result.value == pytest.approx(expected)
    assert result.low < result.value < result.high


def test_jumps_are_compared_over_the_rates_of_both(tmp_path: Path) -> None:
    for stage, forget_by_lr in (("pretrained", {1e-5: 0.9, 1e-4: 0.6, 1e-3: 0.0}), ("sft", {1e-5: 0.9, 1e-4: 0.6})):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        for lr, forget in forget_by_lr.items():
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.9)
    sft, pretrained = _two_stages(tmp_path)
    contrast = compare_jumps(sft, pretrained)
    assert contrast is not None
    assert contrast.difference[:3] == (0, 0, 0)  # only one stage has the third rate, where all is lost
    opposite = compare_jumps(pretrained, sft)
    assert opposite is not None
    assert opposite.difference[:3] == (0, 0, 0)
    one_rate = sft._replace(runs=sft.runs[:1])
    assert compare_jumps(one_rate, pretrained) is None


@pytest.mark.parametrize(("base", "scores"), [(1.0, (1.0, 0.95)), (0.7, (0.69, 0.65))])
def test_jumps_of_what_forgets_nothing_are_not_compared(
    tmp_path: Path, base: float, scores: tuple[float, float]
) -> None:
    for stage, before, forget_scores in (("pretrained", 1.0, (0.9, 0.2)), ("sft", base, scores)):
        write_cell(tmp_path, stage=stage, forget=before, retain=1.0)
        for lr, forget in zip((1e-5, 1e-4), forget_scores, strict=True):
            write_cell(tmp_path, stage=stage, method="NPO", lr=lr, forget=forget, retain=0.9)
    sft, pretrained = _two_stages(tmp_path)
    assert compare_jumps(sft, pretrained) is None
    assert compare_jumps(pretrained, pretrained) is not None


def test_noise_alone_makes_no_jump_certain(tmp_path: Path) -> None:
    # As many facts are answered before as at three rates, but others: the largest step is due to chance.
    write_cell(tmp_path, forget=0.5, retain=1.0, seed=3)
    for seed, lr in enumerate((1e-5, 1e-4, 1e-3)):
        write_cell(tmp_path, method="NPO", lr=lr, seed=seed, forget=0.5, retain=0.9)
    (group,) = collect([tmp_path]).groups
    jump = largest_jump(group)
    assert jump.value > 0
    assert jump.low < 0


def test_what_a_seed_of_the_stage_does_is_in_all_levels_of_its_curve(tmp_path: Path) -> None:
    # After a stage of which each seed gives another model, unlearning takes the same shares from each.
    for seed, base in enumerate((0.45, 0.5, 0.55)):
        write_cell(tmp_path, stage="sft", seed=seed, forget=base, retain=base)
        for lr, left, kept in ((1e-4, 0.7, 0.9), (1e-3, 0.3, 0.5)):
            retain = kept * base
            write_cell(tmp_path, stage="sft", method="NPO", lr=lr, seed=seed, forget=left * base, retain=retain)
    (group,) = collect([tmp_path]).groups
    group = group._replace(
        before=tuple(_flat(run, (0.45, 0.5, 0.55)[run.seed], 1.0) for run in group.before),
        runs=tuple(
            _flat(run, (0.45, 0.5, 0.55)[run.seed] * (0.7 if run.lr == 1e-4 else 0.3), 0.8) for run in group.runs
        ),
    )
    jump = largest_jump(group)
    assert jump[:3] == pytest.approx((0.4, 0.4, 0.4))
    levels = levels_of(group)
    assert levels is not None
    ((*parts,),) = levels.without_each_seed()  # a jackknife over the three seeds of all levels together
    assert [[point.forget for point in points] for points in parts] == pytest.approx(
        np.outer([0.525, 0.5, 0.475], [0.7, 0.3, 1.0])
    )
    # Without one of the seeds at a learning rate, its levels have nothing to be paired by.
    fewer = levels_of(group._replace(runs=group.runs[1:]))
    assert fewer is not None
    assert (levels.paired, fewer.paired) == (True, False)


def _flat(run: Run, forget: float, retain: float) -> Run:
    sets = {"forget": forget, "retain_eval": retain}
    scored = {
        name: items._replace(scores={"rougeL_recall": np.full(len(items.ids), sets[name])})
        for name, items in run.sets.items()
        if name in sets
    }
    return run._replace(sets=scored)
