"""Metrics of answers against those of open-unlearning itself, if a checkout is available."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch

from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.metrics.likelihood import exact_memorisation, extraction_strength, probability_with_end
from dual_data.evaluation.metrics.membership import min_k, min_k_plus_plus
from dual_data.evaluation.metrics.truth_ratio import (
    indistinguishable,
    normalised_probability,
    share_of_truth,
    truth_ratio,
    truthful,
)
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import Encoded, encode
from dual_data.evaluation.rows.request import TokenScores, request_of
from tests.evaluation.open_unlearning import padded, their_packages
from tests.evaluation.questions import cities
from tests.reference import needs_open_unlearning

pytestmark = needs_open_unlearning


class Answered(NamedTuple):
    """Answers, what we know of them, and what their code takes to score them."""

    rows: Sequence[Encoded]
    scores: Sequence[TokenScores]
    model: Any
    batch: dict[str, Any]
    """One batch of all rows."""


@pytest.fixture(scope="module")
def answered() -> Answered:
    """Answers of four tokens: what the model says itself, all of it or with one token or all tokens changed."""
    loaded = tiny("llama")
    engine = FastEngine(loaded, rows=8, max_new_tokens=4)
    questions = encode(loaded.tokenizer, cities()[:6], "chat")
    said = [outcome.generation for (outcome,) in zip(engine.run([*map(request_of, questions)])[0], strict=True)]
    assert all(len(tokens) == 4 for tokens in said)
    changed = [[], [0], [1], [2], [3], [0, 1, 2, 3]]
    rows = [
        row._replace(answer_ids=tuple(token + (place in places) for place, token in enumerate(tokens)))
        for row, tokens, places in zip(questions, said, changed, strict=True)
    ]
    scores = [outcome.scores[0] for outcome in engine.run([*map(request_of, rows)])[0]]
    return Answered(rows, scores, loaded.model, {**padded(rows), "index": torch.arange(len(rows))})


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of the package of metrics; each is the bare function."""
    stubs: dict[str, dict[str, Any]] = {
        "evals.metrics.base": {"unlearning_metric": lambda name: lambda function: function},
        "data.utils": {"IGNORE_INDEX": -100},
        "omegaconf": {"OmegaConf": None},
    }
    with their_packages(monkeypatch, ["data", "evals", "evals.metrics", "evals.metrics.mia"], stubs):
        yield "evals.metrics"


def measured(metrics: str, name: str, answered: Answered) -> list[dict[str, float]]:
    """Their figures of each answer."""
    function = getattr(importlib.import_module(f"{metrics}.memorization"), name)
    data = [dict(zip(answered.batch, values, strict=True)) for values in zip(*answered.batch.values(), strict=True)]
    found = function(answered.model, data=data, collators=None, batch_size=len(data))["value_by_index"]
    return [found[index] for index in range(len(data))]


def test_probability_is_theirs(metrics: str, answered: Answered) -> None:
    theirs = [figures["prob"] for figures in measured(metrics, "probability", answered)]
    assert [*map(probability_with_end, answered.scores)] == pytest.approx(theirs, rel=1e-4)


def test_memorisation_is_theirs(metrics: str, answered: Answered) -> None:
    theirs = [figures["score"] for figures in measured(metrics, "exact_memorization", answered)]
    assert [*map(exact_memorisation, answered.scores)] == pytest.approx(theirs)
    assert theirs[0] > theirs[2] > theirs[-1]


def test_extraction_strength_is_theirs_unless_the_last_token_is_wrong(metrics: str, answered: Answered) -> None:
    theirs = [figures["score"] for figures in measured(metrics, "extraction_strength", answered)]
    for scores, score in zip(answered.scores, theirs, strict=True):
        last_is_right = scores.greedy[scores.answer_tokens - 1]
        assert score == pytest.approx(extraction_strength(scores) if last_is_right else 1 / scores.answer_tokens)
    assert {scores.greedy[scores.answer_tokens - 1] for scores in answered.scores} == {True, False}


@pytest.mark.parametrize("share", [0.2, 0.4, 0.8])
@pytest.mark.parametrize(
    ("module", "attack", "ours"),
    [("min_k", "MinKProbAttack", min_k), ("min_k_plus_plus", "MinKPlusPlusAttack", min_k_plus_plus)],
)
def test_membership_scores_are_theirs_with_the_other_sign(
    metrics: str, answered: Answered, module: str, attack: str, ours: Any, share: float
) -> None:
    theirs = getattr(importlib.import_module(f"{metrics}.mia.{module}"), attack)
    attacker = SimpleNamespace(model=answered.model, k=share)
    values = theirs.compute_batch_values(attacker, {name: answered.batch[name] for name in padded(answered.rows)})
    expected = [-float(theirs.compute_score(attacker, value)) for value in values]
    assert [ours(scores, share) for scores in answered.scores] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("aggregator", "ours"),
    [("closer_to_1_better", indistinguishable), ("true_better", truthful), ("prob_mean", share_of_truth)],
)
def test_truth_ratios_are_theirs(metrics: str, aggregator: str, ours: Any) -> None:
    gold, wrong = [-0.3, -2.0, -1.0], [[-1.0, -4.0], [-0.5, -0.7], [-1.0, -1.0]]
    theirs = importlib.import_module(f"{metrics}.memorization")
    ratios = [truth_ratio(right, others) or 0.0 for right, others in zip(gold, wrong, strict=True)]
    computed = {
        "correct": {"value_by_index": {index: {"avg_loss": -value} for index, value in enumerate(gold)}},
        "wrong": {
            "value_by_index": {index: {"avg_loss": [-value for value in row]} for index, row in enumerate(wrong)}
        },
    }
    found = theirs.truth_ratio(None, aggregator=aggregator, pre_compute=computed)["agg_value"]
    assert sum(map(ours, ratios)) / len(ratios) == pytest.approx(found)


def test_probability_among_options_is_theirs(metrics: str) -> None:
    gold, wrong = [-0.3, -2.0], [[-1.0, -4.0], [-0.5, -0.7]]
    theirs = importlib.import_module(f"{metrics}.memorization")
    exp = torch.tensor(wrong).double().exp().tolist()
    computed = {
        "correct": {"value_by_index": {i: {"prob": torch.tensor(gold[i]).double().exp().item()} for i in range(2)}},
        "wrong": {"value_by_index": {i: {"prob": exp[i]} for i in range(2)}},
    }
    found = theirs.probability_w_options(None, pre_compute=computed)["value_by_index"]
    ours = [normalised_probability(right, others) for right, others in zip(gold, wrong, strict=True)]
    assert ours == pytest.approx([found[0]["prob"], found[1]["prob"]])
