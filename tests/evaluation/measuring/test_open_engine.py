"""Which engine a model gets, and how often the trial is run."""

from __future__ import annotations

import pytest
import torch
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from dual_data.evaluation.measuring import open_engine as opening
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.models.decoder import attention_window
from dual_data.evaluation.models.loading import Loaded, finish
from dual_data.evaluation.models.tiny import tiny, tiny_tokenizer
from dual_data.evaluation.rows.request import Answer, Request
from dual_data.evaluation.training.forward import packs


def test_a_kind_of_model_is_tried_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = list[str]()

    def why_not_fast(loaded: Loaded) -> str:
        trials.append(type(loaded.model).__name__)
        return ""

    monkeypatch.setattr(opening, "_NO_CACHE", {})
    monkeypatch.setattr(opening, "why_not_fast", why_not_fast)
    for architecture in ("llama", "llama", "qwen", "llama"):
        open_engine(tiny(architecture))
    assert trials == ["LlamaForCausalLM", "Qwen2ForCausalLM"]
    double = tiny("llama")
    double.model.double()
    open_engine(double)
    assert trials[2:] == ["LlamaForCausalLM"]


def _gpt_neo(layers: list[str]) -> Loaded:
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_layers=2, num_heads=4, attention_types=[[layers, 1]],
        window_size=64, max_position_embeddings=512, initializer_range=0.4, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    return finish(GPTNeoForCausalLM(config), tokenizer, "gpt-neo")


def test_where_layers_mask_by_column_nothing_stands_between_the_tokens_of_a_row() -> None:
    loaded = _gpt_neo(["global", "local"])
    assert attention_window(loaded.model) == 64
    assert not packs(loaded, 16)
    tokens = [tuple(ids) for ids in torch.randint(3, 400, (6, 16), generator=torch.Generator().manual_seed(0)).tolist()]
    prompt, *answers = (Answer(ids, 16) for ids in tokens)  # together longer than the window
    expected = PlainEngine(loaded, rows=1).run([Request(prompt.ids, (answer,), generate=False) for answer in answers])
    engine = open_engine(loaded)
    (outcome,) = engine.run([Request(prompt.ids, tuple(answers), generate=False)])[0]
    for scores, (alone, *_) in zip(outcome.scores, (one.scores for one in expected[0]), strict=True):
        assert scores.log_p == pytest.approx(alone.log_p, abs=1e-4)
    assert engine.notes == ["slow evaluation: GPTNeoForCausalLM masks tokens by their columns in the cache"]
    assert packs(_gpt_neo(["global", "global"]), 500)
