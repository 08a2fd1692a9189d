"""Grouped heads give the same outputs and gradients as copies of keys and values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dual_data.errors import DualDataError
from dual_data.evaluation.models import attention
from dual_data.evaluation.models.attention import NAME, additive, attend, grouped
from dual_data.evaluation.models.decoder import last_hidden
from dual_data.evaluation.models.tiny import tiny


class _Layer(torch.nn.Module):
    num_key_value_groups = 3
    is_causal = True


def _laid_out(*order: int) -> Any:
    """Torch's attention with another memory layout of its output, which differs between kernels."""

    def attention(*args: Any, **options: Any) -> torch.Tensor:
        output = scaled_dot_product_attention(*args, **options)
        return output.permute(order).contiguous().permute([order.index(dimension) for dimension in range(4)])

    return attention


# Heads before tokens, as on a CPU; tokens before heads, as in a GPU's memory-efficient kernel; heads before rows.
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 3)])
@pytest.mark.parametrize("tokens", [1, 5])
def test_grouped_heads_give_what_copies_give_and_the_same_gradients(
    tokens: int, order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "scaled_dot_product_attention", _laid_out(*order))
    torch.manual_seed(0)
    allowed = torch.rand(2, 1, tokens, 7) > 0.4
    allowed[..., 0] = True
    mask = additive(allowed, torch.float64)
    results = []
    for function in (attend, sdpa_attention_forward):
        torch.manual_seed(1)
        shapes = ((2, 6, tokens, 8), (2, 2, 7, 8), (2, 2, 7, 8))
        inputs: Any = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
        query, key, value = inputs
        output: Any = function(_Layer(), query, key, value, mask, scaling=0.3)[0]
        output.square().sum().backward()
        results.append([output, *(tensor.grad for tensor in inputs)])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_heads_are_copied_where_gradients_are_added_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[int] = []

    def copied(*args: Any, **options: Any) -> Any:
        heads.append(args[1].shape[1])
        return sdpa_attention_forward(*args, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", copied)
    loaded = tiny("llama")
    ids, mask = torch.arange(3, 9)[None], torch.ones(1, 1, 6, 6, dtype=torch.bool).tril()
    folded = last_hidden(loaded.model, ids, mask)
    assert heads == []
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.allclose(last_hidden(loaded.model, ids, mask), folded, atol=1e-5)
    finally:
        torch.use_deterministic_algorithms(False)
    assert heads == [loaded.model.config.num_attention_heads] * loaded.info.layers


def test_a_model_attends_its_own_way_outside_and_after_an_error() -> None:
    model: Any = tiny("llama").model
    config = model.config
    assert config._attn_implementation == "sdpa"
    with grouped(model):
        assert config._attn_implementation == NAME
    with pytest.raises(ZeroDivisionError), grouped(model):
        raise ZeroDivisionError
    assert config._attn_implementation == "sdpa"


def test_a_model_without_torchs_attention_is_left_alone() -> None:
    model: Any = tiny("llama").model
    model.set_attn_implementation("eager")
    ids = torch.tensor([[5, 6, 7]])
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()
    with grouped(model):
        assert model.config._attn_implementation == "eager"
    with torch.no_grad():
        assert torch.allclose(last_hidden(model, ids, mask), last_hidden(model, ids), atol=1e-5)


def test_a_cap_on_the_scores_is_never_ignored() -> None:
    tensor = torch.ones(1, 2, 3, 4)
    with pytest.raises(DualDataError, match="_Layer caps its scores, which torch's attention cannot"):
        attend(_Layer(), tensor, tensor, tensor, torch.zeros(1, 1, 3, 3), softcap=50.0)
