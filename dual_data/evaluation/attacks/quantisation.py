"""The quantisation attack: does rounding the weights bring forgotten facts back? (Zhang et al. 2025, arXiv 2410.16454)

Simulated round-to-nearest: adapters are merged, then every linear layer of the decoder is rounded to int8 or int4 with
one scale per group of 128 inputs. The small weight changes of unlearning may be lost in rounding.
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
    """A weight [out, in], rounded to the nearest of 2^bits - 1 symmetric levels per group, in its own dtype.

    scale = max |w| / (2^(bits-1) - 1); w -> scale * round(w / scale). The last group may be smaller.
    """
    levels = 2 ** (bits - 1) - 1
    outputs, inputs = weight.shape
    padded = nn.functional.pad(weight.float(), (0, -inputs % _GROUP)).view(outputs, -1, _GROUP)
    scale = padded.abs().amax(2, keepdim=True) / levels
    rounded = torch.round(padded / scale.clamp_min(torch.finfo(torch.float32).tiny)) * scale
    result: Tensor = rounded.view(outputs, -1)[:, :inputs].to(weight.dtype)
    return result


@contextmanager
def quantised(
    loaded: Loaded,
    bits: int,
    adapters: Adapters | None = None,
    cell: int | None = 0,
    stage: Adapters | None = None,
) -> Iterator[None]:
    """Inside, the model has the rounded weights of the base with adapter `cell` merged; the adapters are off.

    `cell` is None for the control: the same layers are rounded without merging it. `stage` is the adapter of a stacked
    stage and is merged in both cases. The head and the embeddings keep their precision unless `adapters` are on the
    head. Afterwards every weight is restored bit for bit; inside, the linear layers are in memory twice.
    """
    active = [(adapter, k) for adapter, k in ((stage, 0), (adapters, cell)) if adapter is not None]
    deltas = [(adapter.spec.scaling, adapter.weights(k)) for adapter, k in active if k is not None]
    originals: list[tuple[nn.Linear, nn.Parameter]] = []
    head = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    # By the targets, not by what is merged: else the control would keep the head that the unlearned model has rounded.
    head_too = adapters is not None and any(slot.linear is head for slot in adapters.slots)
    with torch.no_grad(), ExitStack() as off:
        for adapter, _ in active:
            off.enter_context(adapter.disabled())
        try:
            for name, layer in loaded.model.named_modules():
                if not isinstance(layer, nn.Linear):
                    continue
                layer_deltas = [(scaling, *weights[name]) for scaling, weights in deltas if name in weights]
                is_rounded = head_too or layer is not head
                if not (is_rounded or layer_deltas):
                    continue
                weight = layer.weight.detach()
                merged = weight.float()
                for scaling, a, b in layer_deltas:
                    merged = merged + scaling * (b.float() @ a.float())
                merged = merged.to(weight.dtype)
                # A tied head shares its tensor with the embedding, so it temporarily gets a tensor of its own.
                originals.append((layer, cast("nn.Parameter", layer.weight)))
                new_weight = round_to_nearest(merged, bits) if is_rounded else merged
                layer.weight = nn.Parameter(new_weight, requires_grad=False)
            yield
        finally:
            for layer, original in reversed(originals):
                layer.weight = original
