"""Which engine a model gets, and how often the trial is run."""

from __future__ import annotations

import pytest

from dual_data.evaluation.measuring import open_engine as opening
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny


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
