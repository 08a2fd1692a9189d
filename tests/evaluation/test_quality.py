"""Forget quality and model utility."""

from __future__ import annotations

import pytest

from dual_data.evaluation.quality import forget_quality, model_utility
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


def test_model_utility_is_a_harmonic_mean() -> None:
    retain = {"probability": 0.5, "rougeL_recall": 1.0, "truth_ratio_retain": 0.25}
    world: dict[str, float | None] = {"probability": 1.0, "rougeL_recall": 1.0, "truth_ratio_retain": None}
    found = model_utility({"retain": retain, "world": world, "forget": {"probability": 0.0}}, ["retain", "world", "x"])
    assert found == pytest.approx(5 / (2 + 1 + 4 + 1 + 1))
    assert model_utility({"retain": {**retain, "probability": 0.0}}, ["retain"]) == 0
    assert model_utility({}, ["retain"]) is None
