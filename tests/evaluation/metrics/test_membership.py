"""Membership scores."""

from __future__ import annotations

import math
import zlib

import pytest

from dual_data.evaluation.metrics import membership
from dual_data.evaluation.rows.request import TokenScores

SCORES = TokenScores(
    5,
    (-1.0, -5.0, -2.0, -4.0, -3.0, -99.0),
    (1,) * 6,
    (True,) * 6,
    (-2.0, -2.0, -2.0, -2.0, -2.0, 0.0),
    (0.5, 1.0, 2.0, 4.0, 0.0, 1.0),
)


def test_scores_follow_the_formulas() -> None:
    assert membership.MEMBERSHIP_ATTACKS["loss"](SCORES, "") == -3.0
    assert membership.MEMBERSHIP_ATTACKS["zlib"](SCORES, "Zürich") == -3.0 / len(zlib.compress("Zürich".encode()))
    assert membership.min_k(SCORES, 0.2) == -5.0
    assert membership.min_k(SCORES, 0.4) == -4.5
    assert membership.min_k(SCORES, 0.39) == -5.0  # 1.95 tokens are one
    assert membership.min_k(SCORES, 0.01) == -5.0  # at least one token
    # (log p - mean) / deviation: 2, -3, 0, -0.5 and -1 / 1e-6 where the distribution is certain
    assert membership.min_k_plus_plus(SCORES, 0.2) == pytest.approx(-1e6)
    assert membership.min_k_plus_plus(SCORES, 0.4) == pytest.approx((-1e6 - 3) / 2)


def test_every_attack_is_finite() -> None:
    assert all(math.isfinite(attack(SCORES, "text")) for attack in membership.MEMBERSHIP_ATTACKS.values())


def test_the_names_of_the_attacks_say_which_share_of_the_tokens_they_look_at() -> None:
    # The k-th lowest of twenty scores k^2 below zero, so that no two shares have the same mean.
    log_p = tuple(-float(token * token) for token in range(20))
    scores = TokenScores(20, log_p, (1,) * 20, (True,) * 20, (0.0,) * 20, (1.0,) * 20)
    for name, tokens in (("min_k_20", 4), ("min_k_40", 8), ("min_k_plus_plus_20", 4), ("min_k_plus_plus_40", 8)):
        assert membership.MEMBERSHIP_ATTACKS[name](scores, "") == pytest.approx(sum(sorted(log_p)[:tokens]) / tokens)
