"""Drift of a model from its base, as KL and hidden cosine, against float64 on one unpadded row at a time."""

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


def outputs_at(twin: Any, ids: list[int], start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [count, vocabulary] at the positions that predict an answer, and the mean there over the
    outputs of the decoder layers (of all, since the tiny models have fewer than four)."""
    outputs: list[torch.Tensor] = []

    def take(_: object, __: object, output: Any) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(take) for layer in twin.base_model.model.model.layers]
    with torch.no_grad():
        logits = twin(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    positions = slice(start - 1, start - 1 + count)
    states = torch.stack([layer.reshape(len(ids), -1)[positions] for layer in outputs])
    return logits[positions].double().log_softmax(-1), states.mean((0, 1))


@pytest.mark.parametrize("engine", [FastEngine, PlainEngine])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kl_and_cosine_equal_the_formula(architecture: str, engine: type[FastEngine] | type[PlainEngine]) -> None:
    setup = problem(architecture)
    twin: Any = peft_twin(setup, architecture)
    requests = [request_of(row)._replace(generate=False) for row in setup.forget]
    base = Reference()
    with setup.adapters.disabled():
        engine(setup.loaded, setup.adapters, rows=3, max_new_tokens=1).run(requests, keep=base)
    outcomes = engine(setup.loaded, setup.adapters, rows=3, max_new_tokens=1).run(requests, reference=base)[0]
    for row, outcome in zip(setup.forget, outcomes, strict=True):
        ids, start, count = [*row.prompt_ids, *row.answer_ids], len(row.prompt_ids), len(row.answer_ids)
        policy, state = outputs_at(twin, ids, start, count)
        with twin.disable_adapter():
            reference, reference_state = outputs_at(twin, ids, start, count)
        kl = (reference.exp() * (reference - policy)).sum(-1)
        scores = outcome.scores[0]
        assert scores.kl[:count] == pytest.approx(kl.tolist(), rel=1e-4, abs=1e-6)
        assert scores.cosine == pytest.approx(
            float(state @ reference_state / (state.norm() * reference_state.norm())), abs=1e-5
        )
        assert scores.cosine is not None
        assert scores.cosine < 0.999
