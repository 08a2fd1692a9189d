"""Hidden states at the answer positions, averaged over the last decoder layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.rows.request import Answer

LAST_LAYERS = 4
"""Number of last decoder layers over which the mean hidden state is taken; all where there are fewer."""


@contextmanager
def last_layers(model: PreTrainedModel, *, wanted: bool) -> Iterator[list[Tensor]]:
    """Outputs [rows, tokens, width] of the last decoder layers in the pass inside, before the final norm.

    The list stays empty where they are not wanted or the model has no list of layers.
    """
    outputs: list[Tensor] = []
    layers = getattr(model.base_model, "layers", None)
    if not wanted or layers is None:
        yield outputs
        return

    def take(_: object, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [layer.register_forward_hook(take) for layer in layers[-LAST_LAYERS:]]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def mean_of_layers(layers: Sequence[Tensor]) -> Tensor:
    """Mean over layers in float32."""
    return torch.stack([layer.float() for layer in layers]).mean(0)


def mean_of_answers(states: Tensor, answers: Sequence[Answer]) -> Tensor:
    """Mean [cells, rows, width] of states [cells, rows, tokens, width] over each row's answer, which comes first."""
    sizes = torch.tensor([answer.answer_tokens for answer in answers], device=states.device)
    is_answer = (torch.arange(states.shape[2], device=states.device)[None] < sizes[:, None]).float()
    return torch.einsum("crtw,rt->crw", states, is_answer) / sizes[:, None].float()
