"""Forget quality and model utility."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dual_data.evaluation.report.quality import Kept, forget_quality, model_utility
from tests.evaluation.items import item


def test_forget_quality() -> None:
    never = [item(i, truth_ratio=i / 50) for i in range(50)]
    same = forget_quality(never, never)
    assert same is not None
    assert (same.p_value, same.distance, same.facts) == (1, 0, 50)
    other = forget_quality([item(i, truth_ratio=5.0) for i in range(50)], never)
    assert other is not None
    assert other.p_value < 1e-9
    assert other.distance == 1
    assert forget_quality([item(0, truth_ratio=None)], never) is None
    lost = item(0, truth_ratio=None, probability=None)
    assert forget_quality([lost, *never[1:]], never) is None  # what is left of a model that diverged is no sample
    assert forget_quality(never, [lost, *never[1:]]) is None
    assert forget_quality([item(0, truth_ratio=None), *never[1:]], never) is not None


def _kept(probability: float, recall: float, truth_ratio: float, facts: int = 4) -> Kept:
    return Kept(range(facts), *([value] * facts for value in (probability, recall, truth_ratio)))


def test_model_utility_is_a_harmonic_mean() -> None:
    retain, world = _kept(0.5, 1.0, 0.75), _kept(1.0, 1.0, math.nan)
    found = model_utility([retain, world])
    assert found is not None
    assert found.value == found.low == found.high == pytest.approx(5 / (2 + 1 + 4 + 1 + 1))
    nothing = model_utility([_kept(0.0, 1.0, 0.75)])
    assert nothing is not None
    assert nothing.value == 0
    assert model_utility([]) is None
    worse_than_chance = model_utility([_kept(0.5, 0.5, 3.0)])
    assert worse_than_chance is not None
    assert worse_than_chance.value == 0


def test_the_interval_of_model_utility_is_over_subjects_and_seeds() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.uniform(0.2, 1.0, (1, 30)), 4, axis=1)
    subjects = [index // 4 for index in range(120)]
    ratios = np.full((1, 120), np.nan)
    alone = model_utility([Kept(range(120), values, values, ratios)])
    clustered = model_utility([Kept(subjects, values, values, ratios)])
    seeds = np.concatenate([values * 0.5, values, values])
    several = model_utility([Kept(subjects, seeds, seeds, np.full((3, 120), np.nan))])
    assert alone is not None
    assert clustered is not None
    assert several is not None
    assert clustered.value == alone.value == pytest.approx(values.mean())
    widths = [found.high - found.low for found in (alone, clustered, several)]
    assert widths[0] * 1.5 < widths[1] < widths[2]


def test_seeds_are_drawn_once_for_all_that_they_have_measured() -> None:
    table = np.repeat([[0.3], [0.5], [0.7]], 50, axis=1)
    found = model_utility([Kept(range(50), table, table, 1 - table) for _ in range(4)])
    assert found is not None
    # All scores of a seed are alike, so it is their mean: of three seeds by Student's distribution, cut at 0 and 1.
    assert found.value == pytest.approx(0.5)
    assert found[1:3] == pytest.approx((0.5 - 4.303 * 0.2 / 3**0.5, 0.5 + 4.303 * 0.2 / 3**0.5), abs=0.04)
