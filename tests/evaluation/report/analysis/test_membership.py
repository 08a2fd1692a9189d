"""Membership inference on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.membership import membership_aucs, over_unlearned
from tests.evaluation.items import item


def test_aucs() -> None:
    random = np.random.default_rng(0)
    forget = [
        item(i, member_loss=float(random.normal(1.0)), change_mean_log_probability=float(random.normal(-1.0)))
        for i in range(120)
    ]
    holdout = [
        item(1000 + i, member_loss=float(random.normal()), change_mean_log_probability=float(random.normal()))
        for i in range(150)
    ]
    aucs = membership_aucs(forget, holdout)
    assert aucs["loss"].low < 0.76 < aucs["loss"].high
    assert aucs["zlib"].value == 0.5  # all the same
    assert aucs["reference_ratio"].low < 0.24 < aucs["reference_ratio"].high
    reversed_sides = membership_aucs(holdout, forget)
    assert reversed_sides["loss"].value < 0.35


def test_facts_of_one_subject_do_not_count_as_many() -> None:
    random = np.random.default_rng(0)
    sides = [
        [item(first + i, member_loss=float(random.normal(mean))) for i in range(40)]
        for first, mean in ((0, 1), (100, 0))
    ]
    fourfold = [[row | {"id": f"{row['id']}-{copy}"} for row in side for copy in range(4)] for side in sides]
    once, often = (membership_aucs(*rows)["loss"] for rows in (sides, fourfold))
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.2)


def test_no_reference_ratio_without_a_base() -> None:
    rows = [item(i, change_mean_log_probability=None) for i in range(4)]
    assert "reference_ratio" not in membership_aucs(rows, rows)


def test_over_unlearned_is_below_a_model_that_never_saw_the_facts() -> None:
    low, high = Interval(0.3, 0.2, 0.39), Interval(0.4, 0.3, 0.5)
    assert over_unlearned({"loss": low}, {"loss": high})
    assert not over_unlearned({"loss": high}, {"loss": low})
    assert not over_unlearned({"loss": high}, {"loss": Interval(0.45, 0.45, 0.45)})  # its interval reaches it
    assert not over_unlearned({"loss": high, "reference_ratio": low}, {"loss": high, "reference_ratio": high})
    assert not over_unlearned({"loss": low}, {})
    assert not over_unlearned({}, {"loss": high})
