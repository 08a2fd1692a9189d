"""ROUGE: equal to rouge_score to the last bit, and useful in every script."""

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from dual_data.text.rouge import longest_common_subsequence, recall_l, rouge, rouge_best, share_a_word

SCORER = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
WORDS = st.sampled_from(
    [
        "the",
        "city",
        "of",
        "running",
        "runs",
        "Indus",
        "River",
        "rivers",
        "São",
        "12",
        "a_b",
        "İzmir,",
        ".",
        "\n",
    ]
)
TEXTS = st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=12).map(" ".join))


@given(TEXTS, TEXTS)
@settings(max_examples=400)
@example("Brasília", "Brasilia")
@example("Straße", "STRASSE")
def test_equals_rouge_score_exactly(gold: str, text: str) -> None:
    reference = SCORER.score(gold, text)
    scores = rouge(gold, text)
    assert scores.rouge1_recall == reference["rouge1"].recall
    assert scores.rougeL_recall == reference["rougeL"].recall == recall_l(gold, text)
    assert scores.rougeL_f1 == reference["rougeL"].fmeasure
    assert scores.rouge1_f1 == reference["rouge1"].fmeasure


@given(st.lists(st.sampled_from("abc"), max_size=80), st.lists(st.sampled_from("abc"), max_size=80))
def test_bit_parallel_subsequence_equals_the_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            best = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else best
    assert longest_common_subsequence(first, second) == table[-1][-1]


@given(
    st.text(st.characters(max_codepoint=127), max_size=30),
    st.text(st.characters(max_codepoint=127), max_size=30),
)
def test_unicode_variant_equals_the_plain_one_on_ascii(gold: str, text: str) -> None:
    assert rouge(gold, text, unicode=True) == rouge(gold, text)


@pytest.mark.parametrize(
    ("gold", "text"),
    [("Brasília", "Brasilia"), ("Москва", "Это Москва."), ("東京", "首都は東京です"), ("Łódź", "Lodz")],
)
def test_unicode_variant_sees_what_the_plain_one_misses(gold: str, text: str) -> None:
    assert recall_l(gold, text) < 1
    assert rouge(gold, text, unicode=True).rougeL_recall == 1


def test_best_answer_counts() -> None:
    best = rouge_best(["New York City", "NYC"], "It is NYC.")
    assert best.rougeL_recall == 1
    assert rouge_best([], "anything") == (0, 0, 0, 0)


def test_many_pairs_are_scored_fast() -> None:
    golds = [f"city number {i % 997} of river {i % 89}" for i in range(100_000)]
    texts = [f"The city of river {i % 83}, number {i % 991}, and nothing else." for i in range(100_000)]
    started = time.perf_counter()
    assert sum(map(recall_l, golds, texts)) > 0
    assert time.perf_counter() - started < 20  # about a second here; rouge_score takes minutes


STEMMED = st.text("abdeginsty", min_size=1, max_size=9) | st.sampled_from(
    ["sky", "skies", "dying", "die", "lie", "lying", "ties", "tying", "news", "innings", "inning", "succeed"]
)


@given(st.lists(STEMMED, max_size=4).map(" ".join), st.lists(STEMMED, max_size=4).map(" ".join))
def test_words_are_shared_where_the_recall_is_above_zero(gold: str, text: str) -> None:
    assert share_a_word([gold], [text]) == [recall_l(gold, text) > 0]
