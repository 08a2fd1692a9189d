"""Grouped-query attention without copies of keys and values.

Several query heads share one head of keys and values (Ainslie et al. 2023, arXiv 2305.13245). With a mask, attention in
transformers copies keys and values for each query head: in every layer, four times the cache is written and read again.
Here the heads of a group are laid out one after another like more query tokens, and the shared head is read in place.
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

from dual_data.errors import DualDataError

NAME = "dual_data_grouped"


@contextmanager
def grouped(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a model that uses torch's attention groups its heads; other models are unchanged.

    Every forward pass inside must be given a mask [rows, 1, tokens, columns] that is added to the scores.
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
    """Additive mask from a boolean one: made once per pass, not once per layer."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Query [rows, heads, tokens, size]; key, value [rows, shared heads, columns, size]; called by transformers."""
    if options.get("softcap") is not None:
        raise DualDataError(
            f"{type(module).__name__} caps its scores, which torch's attention cannot: load it as eager"
        )
    rows, heads, tokens, size = query.shape
    group = heads // key.shape[1]
    # Deterministic gradients use one block of a GPU per head: more heads are then faster than fewer copies.
    ungrouped = group == 1 or torch.are_deterministic_algorithms_enabled()
    if ungrouped or attention_mask is None or attention_mask.shape[1] != 1 or options.get("position_bias") is not None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return result
    folded = query.reshape(rows, key.shape[1], group * tokens, size)
    # All heads of a group share the mask of a token; for a single token it is expanded without a copy.
    mask = attention_mask.expand(-1, -1, group, -1) if tokens == 1 else attention_mask.repeat(1, 1, group, 1)
    output = scaled_dot_product_attention(folded, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    # Torch's kernels differ in the memory layout of their output, so the heads cannot be joined by a view.
    by_token = output.view(rows, -1, group, tokens, size).permute(0, 3, 1, 2, 4)
    return by_token.reshape(rows, tokens, heads, size), None


AttentionInterface.register(NAME, attend)
