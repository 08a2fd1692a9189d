"""The forward pass of a packed batch: hidden states at the labels, and no further than a method needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dual_data.errors import UsageError
from dual_data.evaluation.models import last_hidden
from dual_data.evaluation.packing import Layout, Rows


class _Reached(Exception):
    """Ends a forward pass at the layer that was wanted."""


def hidden_at(
    model: PreTrainedModel, layout: Layout, kinds: Sequence[Rows], states: Tensor | None = None
) -> list[Tensor]:
    """Hidden states [K, M, H] at the labels of each kind; of `states` [K * bins, S, H] where given, else the last."""
    if states is None:
        states = last_hidden(model, layout.ids, layout.mask(), layout.positions)
    cells = kinds[0].spots.shape[0]
    flat = states.reshape(-1, states.shape[-1])
    first = torch.arange(cells, device=flat.device)[:, None] * (flat.shape[0] // cells)
    spots = torch.cat([rows.spots for rows in kinds], dim=1)
    picked = flat.index_select(0, (spots + first).flatten()).view(*spots.shape, -1)
    return list(torch.split(picked, [rows.spots.shape[1] for rows in kinds], dim=1))


def layer_hidden(model: PreTrainedModel, layout: Layout, layer: int) -> Tensor:
    """Output [K * bins, S, H] of decoder layer `layer`; the layers behind it are not run."""
    found: list[Tensor] = []

    def stop(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        found.append(output if isinstance(output, Tensor) else output[0])
        raise _Reached

    handle = decoder_layers(model)[layer].register_forward_hook(stop)
    try:
        last_hidden(model, layout.ids, layout.mask(), layout.positions)
    except _Reached:
        pass
    finally:
        handle.remove()
    return found[0]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers. Raises UsageError where there is no such list."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UsageError(f"{type(model).__name__} keeps its layers in an unknown place, so RMU cannot stop at one")
    return layers
