"""The forward pass of a packed batch: hidden states at the labels, up to the layer that a method needs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.sharding import is_sharing
from dual_data.evaluation.models.decoder import attention_window, decoder_layers, last_hidden, masks_by_column
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.trial_text import plain_text, trial_key
from dual_data.evaluation.rows.encoding import Encoded
from dual_data.evaluation.rows.packing import Layout, Rows, Source, one_pass


class _Reached(Exception):
    """Ends a forward pass at the requested layer."""


def hidden_at(
    model: PreTrainedModel, layout: Layout, kinds: Sequence[Rows], states: Tensor | None = None
) -> list[Tensor]:
    """Hidden states [K, M, H] at the labels of each kind, from `states` [K * bins, S, H] or, if None, the last ones."""
    if states is None:
        states = _run(model, layout)
    cells = kinds[0].label_positions.shape[0]
    flat = states.reshape(-1, states.shape[-1])
    first = torch.arange(cells, device=flat.device)[:, None] * (flat.shape[0] // cells)
    label_positions = torch.cat([rows.label_positions for rows in kinds], dim=1)
    picked = flat.index_select(0, (label_positions + first).flatten()).view(*label_positions.shape, -1)
    return list(torch.split(picked, [rows.label_positions.shape[1] for rows in kinds], dim=1))


def layer_hidden(model: PreTrainedModel, layout: Layout, layer: int) -> Tensor:
    """Output [K * bins, S, H] of decoder layer `layer`; the layers after it are not run."""
    outputs: list[Tensor] = []

    def stop(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output if isinstance(output, Tensor) else output[0])
        if not is_sharing():  # there, FSDP must see the layer end to drop its weights
            raise _Reached

    handle = decoder_layers(model)[layer].register_forward_hook(stop)
    try:
        _run(model, layout)
    except _Reached:
        pass
    finally:
        handle.remove()
    return outputs[0]


def _run(model: PreTrainedModel, layout: Layout) -> Tensor:
    return last_hidden(model, layout.ids, layout.mask(), None if layout.plain else layout.positions)


_PACKS: dict[str, bool] = {}
"""Whether rows can be packed, by the trial key of a model."""


@torch.no_grad()
def packs(loaded: Loaded, longest: int) -> bool:
    """Whether rows of up to `longest` tokens can be packed for a model, determined by a trial; adapters must be off.

    Sliding attention over fewer tokens than a row has, and layers other than attention, need the plain layout.
    """
    model = loaded.model
    if masks_by_column(model) or longest > attention_window(model):
        return False
    key = trial_key(model)
    if key not in _PACKS:
        # Four rows with texts of their own: a row that repeats another's tokens changes little where it sees them, in a
        # narrow type not more than rounding does.
        ids = plain_text(loaded, 46)
        rows = [Encoded(ids[:4] + ids[n : n + 5], ids[n + 5 : n + 10 - n // 10]) for n in (4, 14, 24, 34)]
        source, states = Source(rows), []
        for plain in (False, True):
            layout, labels = one_pass(source, range(4), plain=plain, device=model.device)
            try:
                states.append(hidden_at(model, layout, [labels])[0][labels.real > 0].float())
            except (TypeError, ValueError, RuntimeError, IndexError) as error:
                if plain or is_out_of_memory(error):
                    raise
                break
        tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
        _PACKS[key] = len(states) == 2 and bool((states[0] - states[1]).norm() <= tolerance * states[1].norm())
    return _PACKS[key]
