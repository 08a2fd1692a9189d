"""Fluency of generations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dual_data.evaluation.metrics.fluency import fluency


def test_figures_by_hand() -> None:
    figures = fluency(["a b c b", "?!", "no " * 8, "yes"], range(4))
    # bigrams: ab, bc, cb, (no no) x7; trigrams: abc, bcb, (no no no) x6
    entropy_2 = -(3 * 0.1 * math.log2(0.1) + 0.7 * math.log2(0.7))
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


def test_the_interval_of_looping_is_as_wide_as_subjects_make_it() -> None:
    texts = ["no " * 8, "one two three four five six seven eight"] * 5
    once, often = fluency(texts, range(10)).looping, fluency(texts * 4, [*range(10)] * 4).looping
    assert often == pytest.approx(once)
    apart = fluency(texts * 4, range(40)).looping
    assert (often.high - often.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.2)


def test_nothing_said() -> None:
    assert fluency([""], ["s"]) == ((0, 0, 0, None), (0, 0, 0.975, None))  # one text says little
    with pytest.raises(ValueError, match="no items"):
        fluency([], [])


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("a a a a a b c d", 1),
        ("a a a a b c d e", 0),  # half, and no more
        ("a b a b a b a b", 0),
        ("a b c d e f g h i", 0),
        ("a a a a a a a", 0),  # seven words may be an answer
        ("the the the the the city of Łódź", 1),
    ],
)
def test_a_text_loops_where_one_word_is_most_of_eight_or_more(text: str, loops: int) -> None:
    assert fluency([text], ["s"]).looping.value == loops


def test_texts_too_short_for_an_ngram_each_take_nothing_from_those_that_there_are() -> None:
    # Two bigrams and one trigram, of one text in four: the mean is over n-grams and not over texts.
    result = fluency(["a b c", "", "", ""], range(4))
    assert result.entropy.value == pytest.approx(1 / 3)  # one bit of two bigrams, none of one trigram
