"""Membership scores."""

from __future__ import annotations

import math
import zlib

import pytest

from dual_data.evaluation.metrics import membership
from dual_data.evaluation.metrics.likelihood import TokenScores

SCORES = TokenScores(
    5,
    (-1.0, -5.0, -2.0, -4.0, -3.0, -99.0),
    (1,) * 6,
    (True,) * 6,
    (-2.0, -2.0, -2.0, -2.0, -2.0, 0.0),
    (0.5, 1.0, 2.0, 4.0, 0.0, 1.0),
)


def test_scores_follow_the_formulas() -> None:
    assert membership.ATTACKS["loss"](SCORES, "") == -3.0
    assert membership.zlib_ratio(SCORES, "Zürich") == -3.0 / len(zlib.compress("Zürich".encode()))
    assert membership.min_k(SCORES, 0.2) == -5.0
    assert membership.min_k(SCORES, 0.4) == -4.5
    assert membership.min_k(SCORES, 0.01) == -5.0  # at least one token
    # (log p - mean) / deviation: 2, -3, 0, -0.5 and -1 / 1e-6 where the distribution is certain
    assert membership.min_k_plus_plus(SCORES, 0.2) == pytest.approx(-1e6)
    assert membership.min_k_plus_plus(SCORES, 0.4) == pytest.approx((-1e6 - 3) / 2)


def test_every_attack_is_finite() -> None:
    assert all(math.isfinite(attack(SCORES, "text")) for attack in membership.ATTACKS.values())
