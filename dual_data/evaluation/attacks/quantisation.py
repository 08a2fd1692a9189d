"""The quantisation attack: does rounding the weights bring forgotten facts back? (Zhang et al. 2025, arXiv 2410.16454)

Simulated round-to-nearest: adapters are merged, then every linear layer of the decoder is rounded to int8 or int4 with
one scale for each group of 128 inputs. The small changes that unlearning made may round away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.training.lora import Adapters

_GROUP = 128
"""Inputs that share a scale."""


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """A weight [out, in] rounded to the nearest of 2^bits - 1 symmetric levels a group, in its own type.

    scale = max |w| / (2^(bits-1) - 1); w -> scale * round(w / scale). The last group may be smaller. Raises ValueError
    for fewer than 2 bits.
    """
    if bits < 2:
        raise ValueError(f"{bits} bits have no symmetric levels; use 2 or more")
    levels = 2 ** (bits - 1) - 1
    outputs, inputs = weight.shape
    padded = nn.functional.pad(weight.float(), (0, -inputs % _GROUP)).view(outputs, -1, _GROUP)
    scale = padded.abs().amax(2, keepdim=True) / levels
    rounded = torch.round(padded / scale.clamp_min(torch.finfo(torch.float32).tiny)) * scale
    found: Tensor = rounded.view(outputs, -1)[:, :inputs].to(weight.dtype)
    return found


@contextmanager
def quantised(
    loaded: Loaded,
    bits: int,
    adapters: Adapters | None = None,
    cell: int | None = 0,
    stage: Adapters | None = None,
) -> Iterator[None]:
    """Inside, the model has the rounded weights of the base with adapter `cell` merged; the adapters are off.

    `cell` is None for the control: the same layers are rounded, with nothing merged. `stage` is an adapter that the
    base wears beside its weights, and is merged for both. The head and the embeddings keep their precision unless
    `adapters` are on the head. Afterwards every weight is back as it was, bit for bit; meanwhile the linear layers are
    held twice.
    """
    worn = [(one, k) for one, k in ((stage, 0), (adapters, cell)) if one is not None]
    deltas = [(one.spec.scaling, one.weights(k)) for one, k in worn if k is not None]
    kept: list[tuple[nn.Linear, nn.Parameter]] = []
    head = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    # By the targets and not by what is merged: else the control would keep a head that the unlearned model loses.
    head_too = adapters is not None and any(slot.linear is head for slot in adapters.slots)
    with torch.no_grad(), ExitStack() as off:
        for one, _ in worn:
            off.enter_context(one.disabled())
        try:
            for name, layer in loaded.model.named_modules():
                if not isinstance(layer, nn.Linear):
                    continue
                here = [(scaling, *weights[name]) for scaling, weights in deltas if name in weights]
                rounds = head_too or layer is not head
                if not (rounds or here):
                    continue
                weight = layer.weight.detach()
                merged = weight.float()
                for scaling, a, b in here:
                    merged = merged + scaling * (b.float() @ a.float())
                merged = merged.to(weight.dtype)
                # A tied head shares its tensor with the embedding: it gets a tensor of its own for the time being.
                kept.append((layer, cast("nn.Parameter", layer.weight)))
                found = round_to_nearest(merged, bits) if rounds else merged
                layer.weight = nn.Parameter(found, requires_grad=False)
            yield
        finally:
            for layer, original in reversed(kept):
                layer.weight = original
