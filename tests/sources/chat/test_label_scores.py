"""Expected values over one-token labels."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.sources.chat.label_scores import (
    distribution,
    label_log_probabilities,
    label_of_text,
    label_schema,
    of_samples,
)

DIGITS = tuple("123456789")
LETTERS = tuple("ABCDEFGHI")
VALUES = tuple(range(1, 10))


def token(text: str, /, **top: float) -> list[Any]:
    """One generated token with alternatives: `p7` is the probability of "7", `s7` that of " 7"."""
    names = {"p": "", "s": " ", "x": "word"}
    listed = [[names[name[0]] + name[1:], math.log(p)] for name, p in top.items()]
    return [text, {str(t): p for t, p in listed}.get(text, -20.0), listed]


def read(*tokens: list[Any]) -> list[float | None] | None:
    scores = label_log_probabilities(list(tokens), DIGITS)
    return scores and [None if p is None else round(math.exp(p), 6) for p in scores]


def test_the_score_is_the_mean_over_the_labels_alone() -> None:
    result = distribution([math.log(0.3), math.log(0.1), None], (1, 2, 3))
    assert result is not None
    assert result.score == pytest.approx(1.25)
    assert result.mass == pytest.approx(0.4)
    assert result.spread == pytest.approx(math.sqrt(0.75 * 0.25))
    assert result.entropy == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert result.argmax == 1


@pytest.mark.parametrize("bad", [[None, None], [math.nan, None], [0.2, 0.2], [5.0, None], [-math.inf, -math.inf]])
def test_what_is_no_probability_gives_no_score(bad: list[float | None]) -> None:
    assert distribution(bad, (1, 2)) is None


@pytest.mark.parametrize("impossible", [None, math.nan, -math.inf])
def test_a_label_that_is_impossible_takes_nothing_from_the_others(impossible: float | None) -> None:
    # Of 0.04 on the scale, a quarter is 2 and the rest is 3.
    result = distribution([impossible, math.log(0.01), math.log(0.03)], (1, 2, 3))
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert result == pytest.approx((2.75, math.sqrt(0.25 * 0.75**2 + 0.75 * 0.25**2), entropy, 3, 0.04))


@pytest.mark.parametrize(("second", "mass"), [(0.49, 0.99), (0.51, 1.0), (0.53, None)])
def test_probabilities_may_add_up_to_a_little_more_than_one(second: float, mass: float | None) -> None:
    result = distribution([math.log(0.5), math.log(second)], (1, 2))
    assert (result and result.mass) == (mass and pytest.approx(mass))


def test_of_labels_that_are_equally_probable_the_lowest_is_named() -> None:
    result = distribution([math.log(0.2), math.log(0.4), math.log(0.4)], (1, 2, 3))
    assert result is not None
    assert result.argmax == 2


def test_a_sure_judge_has_no_entropy() -> None:
    result = distribution([0.0, None], (1, 2))
    assert result == (1.0, 0.0, 0.0, 1, 1.0)


@given(st.lists(st.floats(-50, 0) | st.none() | st.just(math.nan), min_size=2, max_size=9))
def test_a_score_lies_on_the_scale(log_probabilities: list[float | None]) -> None:
    values = VALUES[: len(log_probabilities)]
    result = distribution(log_probabilities, values)
    if result is not None:
        assert values[0] - 1e-9 <= result.score <= values[-1] + 1e-9
        assert 0 <= result.spread <= (values[-1] - values[0]) / 2 + 1e-9
        assert 0 <= result.entropy <= math.log(len(values)) + 1e-9
        assert 0 < result.mass <= 1
        assert result.argmax in values


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=30))
def test_samples_give_their_mean_and_deviation(samples: list[int]) -> None:
    result = of_samples(samples, VALUES)
    mean = sum(samples) / len(samples)
    assert result is not None
    assert result.score == pytest.approx(mean)
    assert result.spread == pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in samples) / len(samples)), abs=1e-6)
    assert samples.count(result.argmax) == max(map(samples.count, samples))
    assert of_samples([], VALUES) is None


def test_the_label_is_the_first_token_with_space_variants_merged() -> None:
    assert read(token("7", p7=0.5, s7=0.2, p8=0.1)) == [None] * 6 + [0.7, 0.1, None]


def test_a_token_that_is_listed_twice_counts_once() -> None:
    seven = token("7", p7=0.5, p8=0.1)
    seven[2].append(["7", math.log(0.5)])
    assert read(seven) == [None] * 6 + [0.5, 0.1, None]


def test_tokens_without_a_text_tell_nothing() -> None:
    """A log that another program wrote may have them."""
    assert read([None, -0.1, [["7", -0.1]]]) is None


@pytest.mark.parametrize("before", ["Score", " ", "\n", '"', "**", "The answer is", "Rating:"])
def test_a_label_behind_a_preface_is_found(before: str) -> None:
    first = [before, -0.1, [[before, -0.1], ["1", -3.0]]]
    assert read(first, token("7", p7=0.9, p6=0.1)) == [None] * 5 + [0.1, 0.9, None, None]


def test_a_structured_answer_has_no_preface() -> None:
    """It is read as text; here the mass of the labels at its first token shows that it is no label."""
    first = ['{"label": "', -0.1, [['{"label": "', -0.1], ["1", -3.0]]]
    assert read(first, token("7", p7=0.9, p6=0.1)) == [0.049787, *[None] * 8]


@pytest.mark.parametrize(("space", "line"), [(" ", "\n"), ("\u2581", "\n"), ("\u0120", "\u010a")])
def test_marks_of_space_are_read_as_space(space: str, line: str) -> None:
    """Servers may leave them undecoded: SentencePiece's, then those of byte-level tokenizers."""
    seven = [f"{space}7", math.log(0.9), [[f"{space}7", math.log(0.9)], ["6", math.log(0.1)]]]
    around = [f"{space}Score", ":", f"{space}because", f"{line}Because"]
    score, colon, because, new_line = ([text, -0.1, [[text, -0.1]]] for text in around)
    expected = [None] * 5 + [0.1, 0.9, None, None]
    assert read(score, colon, seven) == expected
    assert read(seven, because) == expected
    letter = ["A", math.log(0.8), [["A", math.log(0.8)]]]
    scores = label_log_probabilities([letter, new_line], LETTERS)
    assert scores is not None
    assert scores[0] == pytest.approx(math.log(0.8))
    assert label_log_probabilities([letter, because], LETTERS) is None, "a sentence"


def test_a_number_in_a_sentence_is_no_label() -> None:
    first = [" There", -0.5, [[" There", -0.5], ["3", math.log(0.05)]]]
    rest = [" are", -0.1, [[" are", -0.1]]], token("7", p7=0.9)
    assert read(first, *rest) == [None, None, 0.05, *[None] * 6]
    quote = ['"', -0.1, [['"', -0.1], ["8", -3.0]]]
    assert read(quote, first, *rest) == [None, None, 0.05, *[None] * 6]


@pytest.mark.parametrize("after", [["0"], [".", "5"], ["0", "0"], ["th"]])
def test_a_label_that_goes_on_is_no_label(after: list[str]) -> None:
    rest = [[text, -0.1, [[text, -0.1]]] for text in after]
    assert read(token("1", p1=0.9, p2=0.1), *rest) is None


@pytest.mark.parametrize("after", [[".", "\n"], ["\n", "5"], [" because"], ["/", "9"]])
def test_what_may_follow_a_label(after: list[str]) -> None:
    rest = [[text, -0.1, [[text, -0.1]]] for text in after]
    assert read(token("1", p1=0.8), *rest) == [0.8, *[None] * 8]


@pytest.mark.parametrize(
    "tokens",
    [
        None,
        [],
        [["7", -0.1, []]],
        [["7", None, [["7", None]]]],
        [["7", -0.1, [["7", 0.0], ["8", 0.0]]]],
        [[" ", -0.1, [[" ", -0.1]]]],
    ],
)
def test_no_log_probabilities_no_reading(tokens: list[Any] | None) -> None:
    assert label_log_probabilities(tokens, DIGITS) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("7", "7"),
        (" 7\n", "7"),
        ("**7**", "7"),
        ("Score: 7", "7"),
        ("7/9", "7"),
        ("7 out of 9.", "7"),
        ("７", "7"),
        ("7 because it is famous", "7"),
        ('{"label": "7"}', "7"),
        ('{ "label":"7" }', "7"),
        ('\n{"label": "7"}', "7"),
        ('{"label": 7}', "7"),
        ('{"label": "0"}', None),
        ('{"label": "7", "more": 1}', None),
        ('{"label": "7"', None),
        ("[7]", None),
        ("10", None),
        ("7.5", None),
        ("7-8", None),
        ("7 or 8", None),
        ("between 6 and 8", None),
        ("famous since 1889", None),
        ("7, famous since 1889", None),
        ("-7", None),
        ("0", None),
        ("seven", None),
        ("", None),
    ],
)
def test_a_written_answer(text: str, label: str | None) -> None:
    assert label_of_text(text, DIGITS) == label


@given(st.text(max_size=40))
def test_any_text_gives_a_label_or_none(text: str) -> None:
    assert label_of_text(text, DIGITS) in (*DIGITS, None)
    assert label_of_text(text, LETTERS) in (*LETTERS, None)


def test_letters_are_labels_too() -> None:
    assert label_of_text("Answer: B", LETTERS) == "B"
    assert label_of_text("A or B", LETTERS) is None
    assert label_of_text("A. Or B.", LETTERS) is None
    assert label_schema(LETTERS)["properties"]["label"]["enum"] == list(LETTERS)
    assert json.loads(json.dumps(label_schema(LETTERS)))["additionalProperties"] is False


def read_letter(*texts: str) -> list[float | None] | None:
    """What is read of these tokens; the one that is a letter has a probability of 0.95."""
    likely = math.log(0.95)
    tokens = [[text, likely, [[text, likely]]] for text in texts]
    scores = label_log_probabilities(tokens, LETTERS)
    return scores and [None if p is None else round(math.exp(p), 6) for p in scores]


@pytest.mark.parametrize(
    "words",
    [
        ["A", " widely", " known"],
        ["I", " cannot", " rate"],
        ["I", "'m", " not"],
        ["I", "\u2019m", " not"],
        [" I", " am"],
        ["A", ".k", ".a"],
        ["A", ",", " because"],
        ["A", " ", "fact"],
        ["A", "/I"],
    ],
)
def test_a_letter_that_a_sentence_begins_with_is_no_label(words: list[str]) -> None:
    assert read_letter(*words) is None
    assert label_of_text("".join(words), LETTERS) is None


@pytest.mark.parametrize(
    "words",
    [
        ["A"],
        [" A"],
        ["A", "\n", "Because"],
        ["A", " \n"],
        ["A", ".", " It"],
        ["A", ".\n"],
        ["A", ":", " widely"],
        ["A", ")", " widely"],
        ["**", "A", "**"],
        ['"', "A", '"'],
        ["(", "A", ")."],
        ["Score", ": ", "A"],
        ["A", "<|im_end|>"],
        ["A", "</s>"],
    ],
)
def test_what_closes_a_letter(words: list[str]) -> None:
    assert read_letter(*words) == [0.95, *[None] * 8]
    assert label_of_text("".join(words), LETTERS) == "A"
