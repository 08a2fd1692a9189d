"""Membership inference on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from dual_data.evaluation.attacks.membership import matched_by_popularity, membership_aucs
from tests.evaluation.items import item


def test_aucs() -> None:
    random = np.random.default_rng(0)
    forget = [item(i, popularity=i, member_loss=float(random.normal(1.0))) for i in range(120)]
    holdout = [item(1000 + i, popularity=i, member_loss=float(random.normal(0.0))) for i in range(150)]
    found = membership_aucs(forget, holdout)
    assert found["loss"].low < 0.76 < found["loss"].high
    assert found["zlib"].value == 0.5  # all the same
    assert "reference_ratio" in found
    reversed_sides = membership_aucs(holdout, forget)
    assert reversed_sides["loss"].value < 0.35  # over-unlearned facts betray themselves below one half


def test_no_reference_ratio_without_a_base() -> None:
    rows = [item(i, change_mean_log_probability=None) for i in range(4)]
    assert "reference_ratio" not in membership_aucs(rows, rows)
    with pytest.raises(ValueError, match="held-out"):
        membership_aucs(rows, [])


def test_matching_pairs_like_popularity() -> None:
    forget = [item(i, popularity=100.0 + i) for i in range(3)]
    holdout = [item(10 + i, popularity=float(50 * i)) for i in range(6)]
    left, right = matched_by_popularity(forget, holdout)
    assert left == forget
    assert sorted(row["popularity"] for row in right) == [50.0, 100.0, 150.0]
    more, fewer = matched_by_popularity(holdout, forget)
    assert (len(more), fewer) == (3, forget)
    unknown = [item(20 + i) for i in range(5)]
    assert matched_by_popularity(forget, unknown) == (forget, unknown)  # the first rows are no sample
