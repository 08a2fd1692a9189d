"""Fluency of generations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dual_data.evaluation.metrics.fluency import fluency


def test_figures_by_hand() -> None:
    figures = fluency(["a b a b", "?!", "no " * 8, "yes"], range(4))
    # bigrams: ab x2, ba x1, (no no) x7; trigrams: aba, bab, (no no no) x6
    entropy_2 = -(0.2 * math.log2(0.2) + 0.1 * math.log2(0.1) + 0.7 * math.log2(0.7))
    entropy_3 = -(2 * 0.125 * math.log2(0.125) + 0.75 * math.log2(0.75))
    assert figures.entropy.value == pytest.approx(entropy_2 / 3 + entropy_3 * 2 / 3)
    assert figures.looping.value == 0.25


def test_the_interval_of_the_entropy_is_around_it_and_as_wide_as_subjects_make_it() -> None:
    # Texts of one subject are equal, so 40 texts of 10 subjects are no more informative than 10.
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(list("abcdefgh"), 12)) for _ in range(10)]
    subjects = list(range(10))
    once, often = fluency(texts, subjects).entropy, fluency(texts * 4, subjects * 4).entropy
    assert once.low < once.value < once.high
    assert often == pytest.approx(once)
    apart = fluency(texts * 4, range(40)).entropy
    assert (often.high - often.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.2)


def test_nothing_said() -> None:
    assert fluency([""], ["s"]) == ((0, 0, 0, None), (0, 0, 0.975, None))  # one text says little
    with pytest.raises(ValueError, match="no texts"):
        fluency([], [])
