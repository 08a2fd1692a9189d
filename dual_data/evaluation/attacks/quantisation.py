"""The quantisation attack: does rounding the weights bring forgotten facts back? (Zhang et al. 2025, arXiv 2410.16454)

Simulated round-to-nearest: adapters are merged, then every linear layer of the decoder is rounded to int8 or int4 with
one scale per group of 128 inputs, or to the 4-bit NormalFloat that bitsandbytes loads models in. The small weight
changes of unlearning may be lost in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import NormalDist
from typing import cast

import torch
from torch import Tensor, nn

from dual_data.evaluation.models.decoder import linear_layers
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.training.lora import Adapters

_TINY = torch.finfo(torch.float32).tiny
"""Instead of the scale of zeros."""


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """A weight [out, in], rounded to the nearest of 2^bits - 1 symmetric levels per group of 128, in its own dtype.

    scale = max |w| / (2^(bits-1) - 1); w -> scale * round(w / scale)
    """

    def rounded(group: Tensor, largest: Tensor) -> Tensor:
        scale: Tensor = (largest / (2 ** (bits - 1) - 1)).clamp_min(_TINY)
        return torch.round(group / scale) * scale

    return _by_group(weight, 128, rounded)


def round_to_normal_float(weight: Tensor) -> Tensor:
    """A weight [out, in], rounded to the nearest of the 16 levels of nf4 per group of 64, in its own dtype.

    scale = max |w|; w -> scale * level. The levels are quantiles of a normal distribution, scaled to [-1, 1], with 0
    among them (Dettmers et al. 2023, arXiv 2305.14314); scales are not rounded.
    """
    levels = torch.tensor(_normal_float_levels(), device=weight.device)
    between = (levels[1:] + levels[:-1]) / 2

    def rounded(group: Tensor, largest: Tensor) -> Tensor:
        return levels[torch.bucketize(group / largest.clamp_min(_TINY), between, out_int32=True)] * largest

    return _by_group(weight, 64, rounded)


ROUNDERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "int8": partial(round_to_nearest, bits=8),
    "int4": partial(round_to_nearest, bits=4),
    "nf4": round_to_normal_float,
}
"""By name of the number format, from the most precise, what rounds a weight to it."""


def _by_group(weight: Tensor, size: int, rounded: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The weight with `rounded` applied to groups of `size` inputs (the last may be smaller) and each one's max |w|."""
    outputs, inputs = weight.shape
    groups = nn.functional.pad(weight.float(), (0, -inputs % size)).view(outputs, -1, size)
    result = rounded(groups, groups.abs().amax(2, keepdim=True))
    return result.view(outputs, -1)[:, :inputs].to(weight.dtype)


def _normal_float_levels() -> list[float]:
    """Seven negative levels, 0 and eight positive ones: equally spaced in probability from the middle to `end`."""
    end = 1.0 - (1 / 30 + 1 / 32) / 2
    negative, positive = (
        [NormalDist().inv_cdf(end + (0.5 - end) * step / count) for step in range(count)] for count in (7, 8)
    )
    return [value / positive[0] for value in (*(-value for value in negative), 0.0, *reversed(positive))]


@contextmanager
def quantised(
    loaded: Loaded,
    number_format: str,
    adapters: Adapters | None = None,
    k: int | None = 0,
    stage: Adapters | None = None,
) -> Iterator[None]:
    """Inside, the model has the weights of the base with adapter `k` merged, rounded; the adapters are off.

    `k` is None for the control: the same layers are rounded without merging it. `stage` is the adapter of a stacked
    stage and is merged in both cases. The head and the embeddings keep their precision unless `adapters` are on the
    head. Afterwards every weight is restored bit for bit; inside, the linear layers are in memory twice.
    """
    active = [(adapter, index) for adapter, index in ((stage, 0), (adapters, k)) if adapter is not None]
    deltas = [(adapter.spec.scaling, adapter.weights(index)) for adapter, index in active if index is not None]
    originals: list[tuple[nn.Linear, nn.Parameter]] = []
    head = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    # By the targets, not by what is merged: else the control would keep the head that the unlearned model has rounded.
    head_too = adapters is not None and any(slot.linear is head for slot in adapters.slots)
    with torch.no_grad(), ExitStack() as off:
        for adapter, _ in active:
            off.enter_context(adapter.disabled())
        try:
            for name, layer in linear_layers(loaded.model).items():
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
                new_weight = ROUNDERS[number_format](merged) if is_rounded else merged
                layer.weight = nn.Parameter(new_weight, requires_grad=False)
            yield
        finally:
            for layer, original in reversed(originals):
                layer.weight = original
