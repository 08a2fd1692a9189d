"""A trial of a method on made-up outputs of a model, so that a mistake shows before a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dual_data.evaluation.methods.base import Answers, Batch, Method, Outputs
from dual_data.evaluation.rows.encoding import Encoded
from dual_data.evaluation.rows.packing import Rows, pack
from dual_data.evaluation.training.cells import CellData
from dual_data.evaluation.training.limits import limits_of
from dual_data.evaluation.training.method_code import (
    MethodFault,
    arguments,
    constants_of,
    facts_of,
    file_of,
    first_state,
    next_state,
    sound_loss,
    sources_of,
    telling,
    unchanging,
)
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.schedule import plan

_CELLS = 3
"""More than rows: else a number for each row would pass for one for each cell."""
_ROWS = 2
"""Rows of each kind, with one and two tokens of their answers: the vocabulary may have 250,000 tokens."""
_WIDTH = 16
"""Width of hidden states."""


def try_method(
    method: Method,
    chosen: Mapping[str, Any],
    data: CellData,
    tokenizer: PreTrainedTokenizerBase,
    optimisation: Optimisation,
    *,
    train_end: bool,
) -> None:
    """Run the code of a method: constants and notes of the rows, its loss, gradient and controller.

    The loss is given three cells with the first rows and random outputs over the tokenizer's vocabulary: those of one
    cell are sure of the labels, those of another are not. Raises UsageError as training does for a mistake that shows
    in its first steps, for settings that the method excludes, for code that cannot be repeated, for a gradient that is
    not finite, and where the loss of a cell depends on the others.
    """
    options = method.options(chosen)
    facts = facts_of(data, tokenizer, train_end)
    with telling(method, "notes function"):
        if (notes := method.notes) is not None:
            unchanging(method, "notes function", lambda: method.bind(notes, options)(facts))
    constants = {
        name: [
            # Those of the labels that `_shortened` keeps.
            [*values[: min(number, size)], *values[size:]]
            for number, (values, size) in enumerate(zip(by_row[:_ROWS], facts.answer_tokens, strict=False), 1)
        ]
        for name, by_row in unchanging(
            method, "constants function", lambda: constants_of(method, options, facts)
        ).items()
    }

    def controlled(parts: Mapping[str, Sequence[float]] | None = None) -> dict[str, float]:
        """The state before the first step, or what of it changes after an epoch with these parts."""
        if method.controller is None:
            return {}
        with telling(method, "controller"):
            controller = method.bind(method.controller, options)()
        (state,) = first_state(method, [controller])
        return state if parts is None else next_state(method, controller, parts, state)

    state = unchanging(method, "controller", controlled)
    states = {name: torch.tensor([value] * _CELLS) for name, value in state.items()}
    rows_by_kind = {kind: _shortened(rows) for kind, rows in data.by_kind.items()}
    sources = sources_of(method, rows_by_kind, train_end, constants, optimisation)
    one_batch = optimisation.model_copy(update={"epochs": 1, "batch": _ROWS, "micro_batch": 0})
    ((micro_batch, *_), *_), *_ = plan({kind: source.sizes() for kind, source in sources.items()}, one_batch, seed=0)
    _, rows = pack([micro_batch], sources, cells=_CELLS).at(torch.zeros(1, dtype=torch.long))

    leaves = list[Tensor]()

    def tried(sureness: Sequence[float], others: int) -> tuple[Batch, list[Outputs]]:
        """The arguments of the loss, with outputs of all cells but the first that are drawn from the seed `others`."""
        random = torch.Generator().manual_seed(0), torch.Generator().manual_seed(others)
        policy = {
            kind: _outputs(method, labels, len(tokenizer), random, sureness, leaves) for kind, labels in rows.items()
        }
        reference = {kind: _outputs(method, rows[kind], len(tokenizer), random) for kind in sorted(method.reference)}
        batch, *outputs = arguments(rows, policy, reference, states)
        return batch, outputs

    bound = method.bind(method.loss, options)
    batch, outputs = tried((1.0, 2.0, 0.0), 1)
    loss = sound_loss(method, bound, batch, outputs)
    limits_of(optimisation, loss.parts, method.name, len(tokenizer))
    with telling(method, "gradient of the loss"):
        loss.value.sum().backward()  # type: ignore[no-untyped-call]
    if not all(bool(leaf.grad.isfinite().all()) for leaf in leaves if leaf.grad is not None):
        raise MethodFault(
            f"{file_of(method)}: the gradient of the loss of {method.name} is not finite on made-up outputs that are: "
            "look for a root of 0, or for a part without effect, such as one of torch.where, that is not finite"
        )
    batch, outputs = tried((1.0, 0.0, 0.0), 2)
    with telling(method, "loss"):
        beside_others = bound(batch, *outputs).value[0]
    if not torch.allclose(beside_others, loss.value[0], rtol=1e-5, atol=1e-6):
        raise MethodFault(
            f"{file_of(method)}: the loss of {method.name} for one cell depends on the others, so it would change with "
            "the number of cells that are trained together: keep the first dimension of tensors, K, as in "
            "`.amax(1, keepdim=True)` in place of `.max()`"
        )
    parts = {name: [float(value[0].detach())] for name, value in loss.parts.items()}
    unchanging(method, "controller", lambda: controlled(parts))


def _shortened(rows: Sequence[Encoded]) -> list[Encoded]:
    """The first rows with the first tokens of their answers, a token more in each."""
    return [row._replace(answer_ids=row.answer_ids[:number]) for number, row in enumerate(rows[:_ROWS], 1)]


def _outputs(
    method: Method,
    labels: Rows,
    vocabulary: int,
    random: tuple[torch.Generator, torch.Generator],
    sureness: Sequence[float] = (),
    leaves: list[Tensor] | None = None,
) -> Answers:
    """Random outputs at the labels of one kind of rows, of the first cell and of the others from a generator each.

    Those of the policy go to `leaves`; its logits of the labels are higher by `sureness` times log(vocabulary), by
    cell: their probability is near 1 / vocabulary at 0, a half at 1 and 1 at 2.
    """

    def drawn(draw: Callable[..., Tensor], *sizes: int) -> Tensor:
        shape = *labels.targets.shape[1:], *sizes
        return torch.cat(
            [draw(cells, *shape, generator=made) for cells, made in zip((1, _CELLS - 1), random, strict=True)]
        )

    def leaf(tensor: Tensor) -> Tensor:
        if leaves is None:
            return tensor
        leaves.append(tensor.requires_grad_())
        return tensor

    def logits() -> Tensor:
        tensor = drawn(torch.rand, vocabulary)
        if sureness:
            more = torch.tensor(sureness)[:, None, None] * math.log(vocabulary)
            tensor.scatter_add_(2, labels.targets[:, :, None], more.expand(*labels.targets.shape, 1))
        return leaf(tensor)

    if method.at_layer:
        return Answers(labels.targets, hidden=leaf(drawn(torch.randn, _WIDTH)))
    # Made when read, as those of a whole vocabulary take long; of a reference, most methods read `log_p` alone.
    return Answers(labels.targets, logits=logits, gold=-drawn(torch.rand) if leaves is None else None)
