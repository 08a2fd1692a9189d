"""Sentences on a training stage before unlearning."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import average
from dual_data.evaluation.report.document import Folded
from dual_data.evaluation.report.findings.popularity import popularity_answer
from dual_data.evaluation.report.findings.section import findings
from dual_data.evaluation.report.findings.stages import control_answer, smoothness_answer, stage_answer
from tests.evaluation.report.findings.comparisons import with_copy
from tests.evaluation.report.made_up import FACTS, LRS, rescored, write_cell, write_grid


def test_a_stage_that_helps_retention(tmp_path: Path) -> None:
    write_grid(tmp_path)
    sentences, compared = stage_answer(collect([tmp_path]))
    assert sentences[0].startswith("d, sft: at equal forgetting, unlearning after this stage keeps more of the ")
    assert "in 2 of 2 comparisons. On average, unlearning after this stage keeps " in sentences[0]
    assert sentences[0].endswith(
        " percentage points more of the retain_eval score than unlearning the pretrained model."
    )
    assert control_answer(collect([tmp_path])) == (
        ["There are no results of a control of sft, so nothing is said about what in it matters."],
        {"sft": [], "sft_long": []},
    )
    assert all(comparison.contrast.difference.value > 0.15 for comparison in compared)
    assert max(comparison.contrast.difference.low for comparison in compared) > 0


def test_smoother_forgetting_is_said_and_linked(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for stage, remaining in (("pretrained", (1.0, 0.9, 0.0)), ("sft", (0.9, 0.5, 0.2))):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr, forget in zip(LRS, remaining, strict=True):
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=forget, retain=0.9)
    (sentence,), (compared,) = smoothness_answer(collect([tmp_path]))
    assert sentence.startswith("d, sft: the largest jump is on average ")
    assert sentence.endswith(
        "percentage points smaller than on the pretrained model. It is smaller in 1 of 1 comparison."
    )
    assert compared.p_value is None  # no test of a largest change is valid
    assert compared.contrast.difference.high < 0
    assert len(compared.runs) == 2 * 3 * 4


def test_jumps_of_one_size_are_neither_smaller_nor_larger(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        for seed in (0, 1):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr in LRS[:2]:
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=0.0, retain=0.9)
    assert smoothness_answer(collect([tmp_path]))[0] == [
        "d, sft: the largest jump is on average neither larger nor smaller (difference 0.0 [0.0, 0.0] percentage "
        "points) than on the pretrained model. It is smaller in none of 1 comparison."
    ]


def test_a_control_is_compared_with_sft_by_the_methods_that_both_have(tmp_path: Path) -> None:
    """What keeps as much as sft does, by the one method after it, is worth as much as sft."""
    write_grid(tmp_path)
    kept = {"pretrained": (0.9, 0.5, 0.0), "sft": (0.9, 0.85, 0.5), "sft_format": (0.85, 0.9, 0.4)}
    for seed in (0, 1, 2):
        for stage, retained in kept.items():
            for forget_set in ("rare", "popular"):
                write_cell(tmp_path, stage=stage, forget_set=forget_set, seed=seed, forget=1.0, retain=1.0)
            for lr, forget, retain in zip(LRS, (0.7, 0.25, 0.0), retained, strict=True):
                write_cell(tmp_path, stage=stage, method="WGA", lr=lr, seed=seed, forget=forget, retain=retain)
                if stage == "sft_format":
                    write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=0.9, retain=0.9)
    (sentence,), of_stages = control_answer(collect([tmp_path]))
    (compared,) = of_stages.pop("sft")
    assert not any(of_stages.values())
    assert sentence.startswith(
        "d, sft_format, which learned the form of the answers on other subjects: at equal forgetting, no difference in "
        "retention is shown in the one comparison. There, unlearning after sft_format keeps "
    )
    assert sentence.endswith("of the retain_eval score than unlearning after sft.")
    assert compared.label == "d, m, sft_format, rare, WGA"
    assert abs(compared.contrast.difference.value) < 0.02
    assert {run.cell["stage"] for run in compared.runs} == {"sft", "sft_format"}


def test_new_facts_are_compared_with_the_same_facts_learned_for_as_long(tmp_path: Path) -> None:
    """Without `sft` too, and apart from its controls: p-values are corrected for those of one stage."""
    for seed in (0, 1, 2):
        for stage, retained in (("sft_new", (0.9, 0.85, 0.5)), ("sft_long", (0.9, 0.5, 0.0))):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr, forget, retain in zip(LRS, (0.7, 0.25, 0.0), retained, strict=True):
                write_cell(tmp_path, stage=stage, method="WGA", lr=lr, seed=seed, forget=forget, retain=retain)
    (sentence,), of_stages = control_answer(collect([tmp_path]))
    assert sentence.startswith(
        "d, sft_new, which learned new facts for as long: at equal forgetting, unlearning after sft_new keeps "
        "more of the retain_eval score in 1 of 1 comparison"
    )
    assert sentence.endswith(" percentage points more of the retain_eval score than unlearning after sft_long.")
    assert {stage: len(compared) for stage, compared in of_stages.items()} == {"sft": 0, "sft_long": 1}
    folded = [block.title for block in findings(collect([tmp_path]), []) if isinstance(block, Folded)]
    assert next(title for title in folded if ", of controls" in title).endswith(", of controls of sft_long (1)")


def test_what_a_control_lacks_is_said_where_it_is_worth_less_than_sft_or_cannot_be_compared(tmp_path: Path) -> None:
    write_grid(tmp_path)
    for stage, remaining in (("sft_retain", (0.7, 0.25, 0.0)), ("sft_new", (0.95, 0.95, 0.95))):
        for seed in (0, 1, 2):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr, forget, retain in zip(LRS, remaining, (0.9, 0.5, 0.0), strict=True):
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=forget, retain=retain)
    less, lacking = control_answer(collect([tmp_path]))[0]
    assert less.startswith("d, sft_retain, which learned all but the facts to forget: at equal forgetting, unlearning ")
    assert "after sft_retain keeps less of the retain_eval score in 1 of 1 comparison" in less
    assert lacking.startswith("Retention cannot be compared at equal forgetting in d, sft_new: no method has ")
    assert lacking.endswith(" on both sides of it in half of the draws or more, after the control and after sft.")


def test_retention_that_cannot_be_compared_is_said(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-5, forget=0.95, retain=0.9)
    sentences, compared = stage_answer(collect([tmp_path]))
    assert compared == []
    assert "cannot be compared at equal forgetting" in sentences[0]


def test_rates_that_few_draws_put_on_both_sides_of_half_of_the_score_are_not_said_to_be_none(tmp_path: Path) -> None:
    """After one rate most is left, after the other one half: of the facts by one stage, by the other the other half."""
    write_grid(tmp_path)
    collection = collect([tmp_path])
    groups, first_half = [], np.arange(FACTS) < FACTS / 2
    for group in collection.groups:
        half = first_half if group.key.stage == "sft" else ~first_half
        left = {LRS[0]: np.arange(FACTS) < 0.8 * FACTS, LRS[1]: half}
        runs = tuple(rescored(run, rougeL_recall=left[run.lr]) for run in group.runs if run.lr in left)
        groups.append(group._replace(runs=runs))
    (sentence,), compared = stage_answer(collection._replace(groups=tuple(groups)))
    assert compared == []
    assert sentence.startswith(
        "Retention cannot be compared at equal forgetting in d, sft: no method has learning rates near 50% of the "
        "forget score that lie on both sides of it in half of the draws or more, after the stage"
    )


def test_a_stage_without_the_pretrained_model_beside_it_is_not_said_to_be_none(tmp_path: Path) -> None:
    write_cell(tmp_path, stage="sft", forget=1.0, retain=1.0)
    write_cell(tmp_path, stage="sft", method="NPO", lr=1e-5, forget=0.2, retain=0.9)
    (sentence,) = stage_answer(collect([tmp_path]))[0]
    assert sentence.startswith("There are no results of one method both after a stage and on the pretrained model, so ")


def test_the_average_over_datasets_is_as_wide_as_the_facts_that_they_share_make_it(tmp_path: Path) -> None:
    write_grid(tmp_path)
    widths = list[float]()
    for collection in (with_copy(collect([tmp_path]), rename) for rename in (False, True)):
        sentences, compared = stage_answer(collection)
        (overall,) = [sentence for sentence in sentences if sentence.startswith("Both datasets, sft: ")]
        assert "on average over 4 comparisons, unlearning after this stage keeps " in overall
        value, low, high = map(float, re.findall(r"-?\d+\.\d", overall))
        assert value == pytest.approx(100 * np.mean([c.contrast.difference.value for c in compared]), abs=0.06)
        own = average([c.contrast for c in compared if c.about[0] == "d"])
        widths += [high - low, 100 * (own.high - own.low)]
    shared, of_one, apart, _ = widths
    assert shared == pytest.approx(of_one, rel=0.15)
    assert 0.5 * shared < apart < 0.8 * shared  # sqrt(1/2), but for the tails of a ratio


def test_the_average_over_datasets_leaves_out_what_is_not_compared_in_either(tmp_path: Path) -> None:
    """Half of the facts of a third set are forgotten, by either stage the other half: few draws lose half on both."""
    write_grid(tmp_path)
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget_set="half", forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, forget_set="half", method="NPO", lr=1e-4, forget=0.5, retain=0.8)
    collection = collect([tmp_path])
    halves = {"pretrained": np.arange(FACTS) < FACTS / 2, "sft": np.arange(FACTS) >= FACTS / 2}
    groups = [
        group._replace(runs=tuple(rescored(run, rougeL_recall=halves[group.key.stage]) for run in group.runs))
        if group.key.set == "half"
        else group
        for group in collection.groups
    ]
    sentences, compared = stage_answer(with_copy(collection._replace(groups=tuple(groups)), rename=True))
    assert [comparison.label for comparison in compared] == [
        f"{data}, m, sft, {name}, NPO" for data in ("d", "copy") for name in ("popular", "rare")
    ]
    (overall,) = [sentence for sentence in sentences if sentence.startswith("Both datasets, sft: ")]
    assert "on average over 4 comparisons, " in overall


def test_of_one_dataset_and_over_presets_there_is_no_overall_average(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    two_presets = [group._replace(key=group.key._replace(preset=name)) for name in "pq" for group in collection.groups]
    for some in (collection, collection._replace(groups=tuple(two_presets))):
        sentences = (*stage_answer(some)[0], *popularity_answer(some)[0])
        assert not any(sentence.startswith("All ") for sentence in sentences)


def test_nothing_is_said_of_jumps_that_no_stage_has(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, forget=0.3, retain=0.9)  # one rate, so no step
    assert smoothness_answer(collect([tmp_path])) == ([], [])
