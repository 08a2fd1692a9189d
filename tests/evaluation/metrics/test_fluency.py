"""Fluency of generations."""

from __future__ import annotations

import math

import pytest

from dual_data.evaluation.metrics.fluency import fluency


def test_figures_by_hand() -> None:
    found = fluency(["a b a b", "?!", "no " * 8, "yes"])
    # bigrams: ab x2, ba x1, (no no) x7; trigrams: aba, bab, (no no no) x6
    entropy_2 = -(0.2 * math.log2(0.2) + 0.1 * math.log2(0.1) + 0.7 * math.log2(0.7))
    entropy_3 = -(2 * 0.125 * math.log2(0.125) + 0.75 * math.log2(0.75))
    assert found.entropy == pytest.approx(entropy_2 / 3 + entropy_3 * 2 / 3)
    assert found.distinct_2 == pytest.approx(3 / 10)
    assert found.empty == 0.25
    assert found.looping == 0.25


def test_nothing_said() -> None:
    assert fluency([""]) == (0, 0, 1, 0)
    with pytest.raises(ValueError, match="no texts"):
        fluency([])
