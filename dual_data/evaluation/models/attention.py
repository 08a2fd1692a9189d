"""Attention of grouped heads without copies of keys and values.

Several query heads share a head of keys and values (Ainslie et al. 2023, arXiv 2305.13245). Under a mask, the attention
of transformers copies keys and values for each of them: four times the cache, written and read again, a layer. Here the
heads of a group stand behind each other as if they were more query tokens, and the shared head is read where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "dual_data_grouped"


@contextmanager
def grouped(model: PreTrainedModel) -> Iterator[None]:
    """Models that use torch's attention group heads inside; others are left alone.

    Every pass inside has a mask of its own: [rows, 1, tokens, columns], to be added to the scores.
    """
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa":
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers to add to the scores, from what is allowed: made once a pass and not once a layer."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Query [rows, heads, tokens, size]; key, value [rows, shared heads, columns, size]; as transformers calls it."""
    rows, heads, tokens, size = query.shape
    group = heads // key.shape[1]
    # Gradients that are added in one order take one block of a GPU a head: more heads then beat fewer copies.
    apart = group == 1 or torch.are_deterministic_algorithms_enabled()
    if apart or attention_mask is None or attention_mask.shape[1] != 1 or others.get("position_bias") is not None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return found
    folded = query.reshape(rows, key.shape[1], group * tokens, size)
    # The mask of a token holds for every head of its group; of one token it is spread without a copy.
    mask = attention_mask.expand(-1, -1, group, -1) if tokens == 1 else attention_mask.repeat(1, 1, group, 1)
    output = scaled_dot_product_attention(folded, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    # Each of torch's kernels lays its output out in an order of its own, so no view joins the heads.
    ordered = output.view(rows, -1, group, tokens, size).permute(0, 3, 1, 2, 4)
    return ordered.reshape(rows, tokens, heads, size), None


AttentionInterface.register(NAME, attend)
