"""Outputs of the reference for the training rows, computed once, since the reference never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dual_data.evaluation.device.memory import half_of, if_it_fits
from dual_data.evaluation.methods.base import LabelOutputs
from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.rows.packing import Rows, Source, one_pass
from dual_data.evaluation.training.forward import hidden_at, layer_hidden
from dual_data.evaluation.training.optimiser import Trainable

_ROWS = 64
"""Most rows of a pass."""


class ReferenceFigures(NamedTuple):
    """Outputs at all labels of one source, in its order."""

    log_p: Tensor | None
    """[labels] float32 log-probabilities; None where the method stops at a layer."""
    hidden: Tensor
    """[labels, H] input of the head, or the output of the method's layer; in the model's type."""

    def outputs(self, rows: Rows, head: Callable[[Tensor], Tensor]) -> LabelOutputs:
        """Outputs at the labels of `rows`; `head` is that of the reference."""
        index = rows.token.flatten()
        hidden = self.hidden.index_select(0, index).view(*rows.token.shape, -1)
        if self.log_p is None:
            return LabelOutputs(rows.targets, hidden=hidden.float())
        gold = self.log_p.index_select(0, index).view_as(rows.real)
        return LabelOutputs(rows.targets, logits=lambda: head(hidden), gold=gold)


@torch.no_grad()
def reference_figures(
    model: PreTrainedModel, source: Source, trainable: Trainable, *, layer: int | None, plain: bool
) -> ReferenceFigures:
    """Run the reference on all rows of `source`, up to `layer` where given.

    Where memory runs out, it continues with half as many rows per pass, which changes no result. Raises OutOfMemory
    where one row does not fit.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(source.rows)), key=lambda index: len(source.tokens(index)))
    starts = source.starts()
    total = starts[-1]
    width = int(model.config.get_text_config().hidden_size)
    hidden = torch.zeros(total, width, dtype=next(model.parameters()).dtype, device=device)
    log_p = torch.zeros(total, device=device) if layer is None else None

    def fill(chosen: list[int]) -> int:
        """One pass; returns its number of rows."""
        layout, rows = one_pass(source, chosen, plain=plain, device=device)
        with trainable.disabled():
            states = layer_hidden(model, layout, layer) if layer is not None else None
            states_at_labels = hidden_at(model, layout, [rows], states)[0][0]
            labels = [label for index in chosen for label in range(starts[index], starts[index + 1])]
            indices = torch.tensor(labels, device=device)
            hidden[indices] = states_at_labels[: len(labels)].to(hidden.dtype)
            if log_p is not None:
                logits = head(model, states_at_labels[: len(labels)])
                gold = rows.targets[0, : len(labels), None]
                log_p[indices] = logits.gather(1, gold)[:, 0] - logits.logsumexp(1)
        return len(chosen)

    done, most = 0, _ROWS
    while done < len(order):
        chosen = order[done : done + most]
        filled = if_it_fits(fill, chosen)
        if filled is None:
            most = half_of(len(chosen), "the reference: ")
        else:
            done += filled
    return ReferenceFigures(log_p, hidden)


class References:
    """The outputs of one reference, computed once for all runs that have this object, as cells of one base may."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], ReferenceFigures] = {}

    def figures(
        self, model: PreTrainedModel, source: Source, trainable: Trainable, *, layer: int | None, plain: bool
    ) -> ReferenceFigures:
        """Those of :func:`reference_figures`, whichever cells were trained when they were computed."""
        key = (tuple(source.rows), source.at_label, source.everywhere, layer, plain)
        if key not in self._known:
            self._known[key] = reference_figures(model, source, trainable, layer=layer, plain=plain)
        return self._known[key]
