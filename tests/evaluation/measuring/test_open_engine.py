"""Which engine a model gets, and how often that is tried."""

from __future__ import annotations

import pytest

from dual_data.evaluation.measuring import open_engine as opening
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny


def test_a_kind_of_model_is_tried_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = list[str]()

    def why_not_fast(loaded: Loaded) -> str:
        tried.append(type(loaded.model).__name__)
        return ""

    monkeypatch.setattr(opening, "_NO_CACHE", {})
    monkeypatch.setattr(opening, "why_not_fast", why_not_fast)
    for architecture in ("llama", "llama", "qwen", "llama"):
        open_engine(tiny(architecture))
    assert tried == ["LlamaForCausalLM", "Qwen2ForCausalLM"]
    double = tiny("llama")
    double.model.double()
    open_engine(double)
    assert tried[2:] == ["LlamaForCausalLM"]
