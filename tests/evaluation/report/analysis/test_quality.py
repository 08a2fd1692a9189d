"""Forget quality and model utility."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dual_data.bootstrap import UNKNOWN
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import examined
from dual_data.evaluation.report.analysis.quality import RetainScores, forget_quality, model_utility
from dual_data.evaluation.report.findings.section import _INTERVALS
from dual_data.evaluation.results import cell_path
from tests.evaluation.items import item
from tests.evaluation.report.made_up import write_cell


def test_forget_quality() -> None:
    never_seen = [item(i, truth_ratio=i / 50) for i in range(50)]
    quality = forget_quality(never_seen, never_seen)
    assert quality is not None
    assert (quality.p_value, quality.distance) == (1, 0)
    different = forget_quality([item(i, truth_ratio=5.0) for i in range(50)], never_seen)
    assert different is not None
    assert different.p_value < 1e-9
    assert different.distance == 1
    assert forget_quality([item(0, truth_ratio=None)], never_seen) is None
    diverged = item(0, truth_ratio=None, probability=None)
    # The remaining items of a model that diverged are no sample.
    assert forget_quality([diverged, *never_seen[1:]], never_seen) is None
    assert forget_quality(never_seen, [diverged, *never_seen[1:]]) is None
    assert forget_quality([item(0, truth_ratio=None), *never_seen[1:]], never_seen) is not None


def _scores(probability: float, recall: float, truth_ratio: float, facts: int = 4) -> RetainScores:
    return RetainScores(range(facts), *(np.full((1, facts), value) for value in (probability, recall, truth_ratio)))


def test_model_utility_is_a_harmonic_mean() -> None:
    retain, world = _scores(0.5, 1.0, 0.75), _scores(1.0, 1.0, math.nan)
    utility = model_utility([retain, world])
    assert utility.value == utility.low == utility.high == pytest.approx(5 / (2 + 1 + 4 + 1 + 1))
    nothing = model_utility([_scores(0.0, 1.0, 0.75)])
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    assert "Differences have no such end, nor have model utility" in " ".join(_INTERVALS)
    assert model_utility([]) is UNKNOWN
    worse_than_chance = model_utility([_scores(0.5, 0.5, 3.0)])
    assert worse_than_chance.value == 0
    # An item whose wrong answers are likelier than the right one counts as 0, not below it.
    ratios = np.array([[0.0, 3.0]] * 2)
    half = model_utility([RetainScores(range(2), np.full((2, 2), 0.5), np.full((2, 2), 0.5), ratios)])
    assert half.value == pytest.approx(0.5)


def test_the_probability_of_general_facts_is_that_among_their_options(tmp_path: Path) -> None:
    # As in TOFU; facts like the trained ones have their plain probability.
    names = "retain_eval", "world_facts"
    for cell in (
        write_cell(tmp_path, forget=1.0, retain=1.0, more=names[1:]),
        write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=1.0, more=names[1:]),
    ):
        result = json.loads(cell_path(tmp_path, cell).read_text())
        for rows in result["items"].values():
            for row in rows:
                row["scores"] |= {"probability": 0.4, "normalised_probability": 0.8, "truth_ratio": None}
        cell_path(tmp_path, cell).write_text(json.dumps(result))
    (figures,) = examined(collect([tmp_path]))
    assert figures.model_utility.value == pytest.approx(4 / (1 / 0.4 + 1 / 0.8 + 1 + 1))


def test_a_draw_without_a_fact_that_has_a_score_leaves_the_score_out() -> None:
    ratios = np.array([[0.2, *[math.nan] * 59]])  # only one fact has wrong answers to compare with
    utility = model_utility([RetainScores(range(60), np.full((1, 60), 0.8), np.full((1, 60), 0.9), ratios)])
    assert utility.low == pytest.approx(3 / (1 / 0.8 + 1 / 0.9 + 1 / 0.8))
    assert utility.high == pytest.approx(2 / (1 / 0.8 + 1 / 0.9))


def test_the_interval_of_model_utility_is_over_subjects_and_seeds() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.uniform(0.2, 1.0, (1, 30)), 4, axis=1)
    subjects = [index // 4 for index in range(120)]
    ratios = np.full((1, 120), np.nan)
    unclustered = model_utility([RetainScores(range(120), values, values, ratios)])
    clustered = model_utility([RetainScores(subjects, values, values, ratios)])
    seeds = np.concatenate([values * 0.5, values, values])
    several_seeds = model_utility([RetainScores(subjects, seeds, seeds, np.full((3, 120), np.nan))])
    assert clustered.value == unclustered.value == pytest.approx(values.mean())
    widths = [interval.high - interval.low for interval in (unclustered, clustered, several_seeds)]
    assert widths[0] * 1.5 < widths[1] < widths[2]


def test_seeds_are_drawn_once_for_all_that_they_have_measured() -> None:
    table = np.repeat([[0.3], [0.5], [0.7]], 50, axis=1)
    utility = model_utility([RetainScores(range(50), table, table, 1 - table) for _ in range(4)])
    # All scores of a seed are equal, so this is the mean of three seeds: Student's t distribution, clipped at 0 and 1.
    assert utility.value == pytest.approx(0.5)
    assert utility[1:3] == pytest.approx((0.5 - 4.303 * 0.2 / 3**0.5, 0.5 + 4.303 * 0.2 / 3**0.5), abs=0.04)


def test_an_item_that_was_not_asked_for_a_score_counts_for_nothing_in_it() -> None:
    ratios, halves = np.tile([[0.75, math.nan, 0.25, math.nan]], 30), np.full((1, 120), 0.5)
    utility = model_utility([RetainScores(range(120), halves, halves, ratios)])
    assert utility.value == pytest.approx(0.5)  # the mean of 1 - 0.75 and 1 - 0.25
    assert 0.45 < utility.low < 0.5 < utility.high < 0.55
    assert forget_quality([item(0)], [item(0, truth_ratio=None)]) is None


def test_utility_ends_at_one_whatever_the_seeds_differ_in() -> None:
    table = np.repeat([[0.8], [0.9], [1.0]], 20, axis=1)
    utility = model_utility([RetainScores(range(20), table, table, 1 - table)])
    assert utility.low < 0.8  # of three seeds, Student's distribution goes beyond all of them
    assert utility.high == 1
