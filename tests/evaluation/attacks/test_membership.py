"""Membership inference on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from dual_data.evaluation.attacks.membership import membership_aucs, over_unlearned
from dual_data.evaluation.statistics import Interval
from tests.evaluation.items import item


def test_aucs() -> None:
    random = np.random.default_rng(0)
    forget = [item(i, popularity=i, member_loss=float(random.normal(1.0))) for i in range(120)]
    holdout = [item(1000 + i, popularity=i, member_loss=float(random.normal(0.0))) for i in range(150)]
    aucs = membership_aucs(forget, holdout)
    assert aucs["loss"].low < 0.76 < aucs["loss"].high
    assert aucs["zlib"].value == 0.5  # all the same
    assert "reference_ratio" in aucs
    reversed_sides = membership_aucs(holdout, forget)
    assert reversed_sides["loss"].value < 0.35


def test_no_reference_ratio_without_a_base() -> None:
    rows = [item(i, change_mean_log_probability=None) for i in range(4)]
    assert "reference_ratio" not in membership_aucs(rows, rows)
    with pytest.raises(ValueError, match="held-out"):
        membership_aucs(rows, [])


def test_over_unlearned_is_below_a_model_that_never_saw_the_facts() -> None:
    low, high = Interval(0.3, 0.2, 0.39), Interval(0.4, 0.3, 0.5)
    assert over_unlearned({"loss": low}, {"loss": high})
    assert not over_unlearned({"loss": high}, {"loss": low})
    assert not over_unlearned({"loss": high}, {"loss": Interval(0.45, 0.45, 0.45)})  # its interval reaches it
    assert not over_unlearned({"loss": high, "reference_ratio": low}, {"loss": high, "reference_ratio": high})
    assert not over_unlearned({"loss": low}, {})
    assert not over_unlearned({}, {"loss": high})
