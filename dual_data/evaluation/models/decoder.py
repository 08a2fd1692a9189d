"""The parts of a causal language model: its layers, hidden states and head, and what its attention spans."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dual_data.errors import UsageError
from dual_data.evaluation.models.attention import additive, grouped


def last_hidden(
    model: PreTrainedModel,
    ids: Tensor,
    mask: Tensor | None = None,
    positions: Tensor | None = None,
    cache: object | None = None,
) -> Tensor:
    """Final hidden states [rows, tokens, width], after the last norm, as the head takes them.

    Without a mask the attention is causal over whole rows, which is right for rows padded on the right. A mask is
    [rows, 1, tokens, columns], true where a token may attend; the columns are those of `cache` where given, else the
    tokens.
    """
    cache_arguments = {"use_cache": False} if cache is None else cached(model, cache)
    if mask is None:
        output = model.base_model(input_ids=ids, position_ids=positions, **cache_arguments)
    else:
        scores_mask = additive(mask, next(model.parameters()).dtype)
        with grouped(model):
            output = model.base_model(
                input_ids=ids, attention_mask=scores_mask, position_ids=positions, **cache_arguments
            )
    hidden = output.last_hidden_state
    assert isinstance(hidden, Tensor)
    return hidden


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers. Raises UsageError for a model without a list of them."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UsageError(
            f"{type(model).__name__} keeps its layers in an unknown place, so RMU cannot stop at a layer and several "
            "devices cannot share the model"
        )
    return layers


def attention_window(model: PreTrainedModel) -> float:
    """How many tokens the attention of every layer spans; infinite without sliding attention."""
    config = model.config.get_text_config()
    if masks_by_column(model):
        return int(config.window_size)
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding"]
    return window if window and any("sliding" in kind for kind in kinds) else math.inf


def masks_by_column(model: PreTrainedModel) -> bool:
    """Whether layers mask by the distance between columns, whatever mask they are given, as GPT-Neo's local ones do.

    Tokens of other rows in between would then hide some, so every row must be laid out alone.
    """
    return "local" in getattr(model.config.get_text_config(), "attention_layers", ())


def cached(model: PreTrainedModel, cache: object) -> dict[str, Any]:
    """The arguments that pass a key-value cache to the decoder; transformers 5.24 renamed one."""
    parameters = inspect.signature(model.base_model.forward).parameters
    return {"cache" if "cache" in parameters else "past_key_values": cache, "use_cache": True}


def head(model: PreTrainedModel, hidden: Tensor, *, output: nn.Module | None = None) -> Tensor:
    """Logits in float32 of hidden states [..., width].

    Includes the scalings and the soft cap that some architectures apply after the head; `check_head` has compared the
    result with the model's own logits. `output` replaces the model's output module, for example by an earlier copy.
    """
    if output is None:
        output = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    logits: Tensor = output(hidden)
    config = model.config.get_text_config()
    logits = logits.float()
    if (scale := getattr(config, "logit_scale", None)) is not None:
        logits = logits * scale
    if (scale := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / scale
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Raise UsageError where body and head, called separately, do not give the model's own logits."""
    if model.base_model is model:
        raise UsageError(
            f"{type(model).__name__} keeps its body in an unknown place, so it cannot be called without its head; use "
            "a Llama, Qwen, Gemma, Mistral or similar model"
        )
    device = next(model.parameters()).device
    ids = torch.arange(1, 9, device=device)[None] % model.config.get_text_config().vocab_size
    expected = model(input_ids=ids, use_cache=False).logits.float()
    if not expected.isfinite().all():
        raise UsageError(
            f"{type(model).__name__} gives logits that are no finite numbers before it is trained: its checkpoint is "
            f"damaged, or {model.dtype} is too narrow for it"
        )
    logits = head(model, last_hidden(model, ids))
    if expected.shape != logits.shape or not torch.allclose(
        expected, logits, rtol=1e-3, atol=1e-2 * expected.abs().max().item()
    ):
        raise UsageError(
            f"{type(model).__name__} changes its logits in a way that is not known here, so answer-only "
            "logits would be wrong; use a Llama, Qwen, Gemma, Mistral or similar model, or add the change to "
            "dual_data.evaluation.models.decoder.head"
        )


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a model by their full names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
