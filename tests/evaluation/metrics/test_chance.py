"""Trivial baselines and chance correction."""

from __future__ import annotations

import pytest

from dual_data.evaluation.metrics.chance import Row, baselines, chance_corrected

ROWS = [
    Row("Goa", "country", "India"),
    Row("Pune", "country", "India"),
    Row("Lyon", "country", "France"),
    Row("Lyon", "district", "Lyon district"),
]


def test_baselines_by_hand() -> None:
    found = baselines(ROWS)
    assert found.subject_copy == pytest.approx(0.5 / 4)
    assert found.majority == pytest.approx(2 / 4)
    assert found.relation_majority == pytest.approx(3 / 4)
    # country: golds India, India, France against a draw of the same three: 2/3, 2/3, 1/3; district: always itself
    assert found.shuffled == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1) / 4)
    assert found.best == found.relation_majority
    with pytest.raises(ValueError, match="empty"):
        baselines([])


def test_chance_correction() -> None:
    assert chance_corrected(0.5, 0.5) == 0
    assert chance_corrected(1.0, 0.5) == 1
    assert chance_corrected(0.25, 0.5) == -0.5
    assert chance_corrected(1.0, 1.0) is None
