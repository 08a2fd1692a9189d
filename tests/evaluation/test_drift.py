"""What a model drifted from its base, KL and hidden cosine, against float64 on one unpadded row at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.models.tiny import ARCHITECTURES
from dual_data.evaluation.rows.request import request_of
from tests.evaluation.training.oracle import peft_twin, problem


def seen(twin: Any, ids: list[int], start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [count, vocabulary] at the positions that predict an answer, and the mean there of what the
    decoder layers put out (the tiny models have fewer than four, so of all)."""
    found: list[torch.Tensor] = []

    def take(_: object, __: object, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(take) for layer in twin.base_model.model.model.layers]
    with torch.no_grad():
        logits = twin(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    where = slice(start - 1, start - 1 + count)
    states = torch.stack([layer.reshape(len(ids), -1)[where] for layer in found])
    return logits[where].double().log_softmax(-1), states.mean((0, 1))


@pytest.mark.parametrize("engine", [FastEngine, PlainEngine])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kl_and_cosine_equal_the_formula(architecture: str, engine: type[FastEngine] | type[PlainEngine]) -> None:
    given = problem(architecture)
    twin: Any = peft_twin(given, architecture)
    requests = [request_of(row)._replace(generate=False) for row in given.forget]
    base = Reference()
    with given.adapters.disabled():
        engine(given.loaded, given.adapters, rows=3, max_new_tokens=1).run(requests, keep=base)
    outcomes = engine(given.loaded, given.adapters, rows=3, max_new_tokens=1).run(requests, reference=base)[0]
    for row, outcome in zip(given.forget, outcomes, strict=True):
        ids, start, count = [*row.prompt_ids, *row.answer_ids], len(row.prompt_ids), len(row.answer_ids)
        policy, state = seen(twin, ids, start, count)
        with twin.disable_adapter():
            reference, other = seen(twin, ids, start, count)
        kl = (reference.exp() * (reference - policy)).sum(-1)
        scores = outcome.scores[0]
        assert scores.kl[:count] == pytest.approx(kl.tolist(), rel=1e-4, abs=1e-6)
        assert scores.cosine == pytest.approx(float(state @ other / (state.norm() * other.norm())), abs=1e-5)
        assert scores.cosine is not None
        assert scores.cosine < 0.999
