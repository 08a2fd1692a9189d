"""Trivial baselines, by hand and against rouge_score."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from dual_data.audit.baselines import NAMES, baseline_table, baselines, most_frequent
from dual_data.text.rouge import recall_l

WORDS = ["north", "county", "of", "river", "Alpha", "Beta", "-", "counties", "Łódź", "new york"]
answers = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
sentences = st.lists(st.sampled_from(WORDS), min_size=9, max_size=14).map(" ".join)
rows = st.lists(st.tuples(st.sampled_from(["r", "s"]), answers | sentences), min_size=1, max_size=15)


def frame(relations: list[str], texts: list[str], subjects: list[str] | None = None) -> pl.DataFrame:
    names = subjects or [f"Subject {index}" for index in range(len(texts))]
    questions = [f"What is it of {name}?" for name in names]
    return pl.DataFrame({"question": questions, "answer": texts, "relation": relations, "subject_label": names})


@given(rows)
def test_shuffled_answers_are_the_mean_over_all_pairs_of_rows_of_a_relation(facts: list[tuple[str, str]]) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    relations, texts = map(list, zip(*facts, strict=True))
    total = 0.0
    for relation in set(relations):
        own = [text for text, row_relation in zip(texts, relations, strict=True) if row_relation == relation]
        pairs = [(gold, text) for i, gold in enumerate(own) for j, text in enumerate(own) if i != j]
        total += sum(scorer.score(gold, text)["rougeL"].recall for gold, text in pairs) / max(1, len(own) - 1)
    assert baselines(frame(relations, texts))["shuffled_answers"] == pytest.approx(total / len(texts), abs=1e-9)


@pytest.mark.parametrize("repeated", [0, 100])
def test_shuffled_sentences_are_estimated_from_a_sample_of_pairs(repeated: int) -> None:
    draw = random.Random(1)
    texts = [" ".join(draw.choices([f"w{number}" for number in range(40)], k=20)) for _ in range(300 - repeated)]
    texts += [" ".join(f"w{number}" for number in range(40))] * repeated
    pairs = [(gold, text) for i, gold in enumerate(texts) for j, text in enumerate(texts) if i != j]
    mean = sum(recall_l(gold, text) for gold, text in pairs) / len(pairs)
    table = frame(["r"] * len(texts), texts)
    score = baselines(table)["shuffled_answers"]
    assert score == pytest.approx(mean, abs=0.002)
    assert baselines(table.reverse())["shuffled_answers"] == pytest.approx(score, abs=1e-12)


def test_every_baseline_by_hand() -> None:
    texts = ["France", "France", "Spain", "euro", "peseta", "euro coin"]
    relations = ["country", "country", "country", "currency", "currency", "currency"]
    subjects = ["Paris", "Lyon", "New Spain", "Andorra", "Peseta", "Euro"]
    scores = baselines(frame(relations, texts, subjects))
    assert tuple(scores) == NAMES
    assert scores["subject_copy"] == pytest.approx((0 + 0 + 1 + 0 + 1 + 0.5) / 6)
    assert scores["majority_answer"] == pytest.approx(2 / 6)
    # No currency repeats.
    assert scores["relation_majority"] == pytest.approx((1 + 1 + 0) / 6)
    # France has France and Spain beside it, euro has peseta and euro coin.
    assert scores["shuffled_answers"] == pytest.approx((0.5 + 0.5 + 0 + 0.5 + 0 + 0.25) / 6)


def test_an_answer_of_one_row_is_no_rule() -> None:
    scores = baselines(frame(["r", "s", "s"], ["a", "b", "c"]))
    assert scores["majority_answer"] == scores["relation_majority"] == scores["shuffled_answers"] == 0


def test_the_first_letters_of_the_subject_by_hand() -> None:
    texts = ["it", "slo", "de", "San", "Nový Jičín"]
    subjects = ["Italian", "Šlovak", "German", "San Marino", "Nový"]
    # The last subject is half of its answer, whose words for the score, split at accents, are: nov, ji, n.
    expected = (1 + 1 + 0 + 1 + 0) / 5
    assert baselines(frame(["code"] * 5, texts, subjects))["subject_prefix"] == pytest.approx(expected)


def test_the_first_of_equally_frequent_values_is_taken() -> None:
    assert most_frequent(pl.Series("x", ["b", "a", None, "a", "b"])) == ("a", 0.5)
    assert most_frequent(pl.Series("x", [None], dtype=pl.String)) is None


@pytest.mark.parametrize("texts", [["a b", "a b", "b", "b"], ["b", "b", "a b", "a b"]])
def test_the_rules_take_the_first_of_equally_frequent_answers(texts: list[str]) -> None:
    scores = baselines(frame(["r"] * 4, texts))
    assert (scores["majority_answer"], scores["relation_majority"]) == (1.0, 1.0)  # "b" would score 0.75


def test_what_the_columns_cannot_tell_is_left_out() -> None:
    table = pl.DataFrame({"question": ["Where lies Alphaville?"], "answer": ["Alphaland"]})
    assert set(baselines(table)) == {"majority_answer"}


@given(rows, rows, st.randoms(use_true_random=False))
def test_a_table_of_splits_has_the_baselines_of_each(
    first: list[tuple[str, str]], second: list[tuple[str, str]], shuffler: random.Random
) -> None:
    splits = [
        frame([relation for relation, _ in facts], [text for _, text in facts], [f"{text}s" for _, text in facts])
        for facts in (first, second)
    ]
    both = pl.concat([split.with_columns(split=pl.lit(name)) for name, split in zip("ab", splits, strict=True)])
    mixed = both[shuffler.sample(range(both.height), both.height)]
    row_by_split = {row["split"]: row for row in baseline_table(mixed, "split").iter_rows(named=True)}
    for name, split in zip("ab", splits, strict=True):
        expected = baselines(split)
        assert row_by_split[name]["rows"] == split.height
        assert {rule: row_by_split[name][rule] for rule in NAMES} == pytest.approx(expected, abs=1e-8)
        assert row_by_split[name]["chance"] == pytest.approx(max(expected.values()), abs=1e-8)
