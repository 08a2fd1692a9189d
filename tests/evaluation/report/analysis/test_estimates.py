"""Estimates of scores whose values do not show the ends of their scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.estimates import estimate
from dual_data.evaluation.report.numbers import shown, shown_rank
from tests.evaluation.report.made_up import FACTS, rescored, write_cell


@pytest.mark.parametrize(
    ("score", "means", "low", "high"),
    [
        ("kl", (0.1, 0.9), 0, 5.6),
        ("change_mean_log_probability", (-0.1, -0.9), -5.6, 4.6),
        ("mean_log_probability", (-0.1, -0.9), -5.6, 0),
        ("probability", (0.1, 0.9), 0, 1),
    ],
)
def test_an_interval_ends_only_where_the_scale_of_the_score_does(
    tmp_path: Path, score: str, means: tuple[float, float], low: float, high: float
) -> None:
    for seed in range(2):
        write_cell(tmp_path, seed=seed, forget=1.0, retain=1.0)
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
    (group,) = collect([tmp_path]).groups
    runs = [rescored(run, **{score: np.full(FACTS, mean)}) for run, mean in zip(group.runs, means, strict=True)]
    # Two seeds tell little: their t has one degree of freedom, and its interval is 10 times as wide as they are apart.
    assert estimate(runs, "forget", score)[:3] == pytest.approx((np.mean(means), low, high), abs=0.5)


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.0004, 0.00001, 0.002), "0.0004 [1e-05, 0.002]"),
        ((6.1e-10, 0.0, 1.26e-9), "6.1e-10 [0, 1.3e-09]"),
        ((0.0005, 0.0, 0.002), "0.001 [0.000, 0.002]"),
        ((0.0, 0.0, 0.0), "0.000 [0.000, 0.000]"),
        ((float("nan"),) * 3, "-"),
    ],
)
def test_a_small_value_is_told_from_zero_where_that_is_asked(ends: tuple[float, float, float], text: str) -> None:
    assert shown(Interval(*ends), small=True) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((43298.0, 20.5, 50000.0), "43298 [20.5, 50000]"),
        ((10.0, 9.96, 10.04), "10 [10, 10]"),
        ((1.0, 1.0, 1.0), "1 [1, 1]"),
    ],
)
def test_a_whole_rank_is_shown_without_decimals(ends: tuple[float, float, float], text: str) -> None:
    assert shown_rank(Interval(*ends)) == text
