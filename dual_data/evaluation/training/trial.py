"""A trial of a method on made-up outputs of a model, so that a mistake shows before a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Answers, Batch, Method, Outputs
from dual_data.evaluation.rows.encoding import Encoded
from dual_data.evaluation.rows.packing import Rows, pack
from dual_data.evaluation.training.cells import CellData
from dual_data.evaluation.training.limits import limits_of
from dual_data.evaluation.training.method_code import (
    arguments,
    constants_of,
    expect_sound_gradient,
    factor_of,
    facts_of,
    file_of,
    first_state,
    next_state,
    noise_of,
    sound_loss,
    sources_of,
    telling,
    unchanging,
)
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.schedule import plan

_CELLS = 3
"""More than rows: else a number for each row would pass for one for each cell."""
_SURENESS = (1.0, 2.0, 0.0)
"""By how many times log(vocabulary) the logits of the labels are higher, by cell: a loss with a margin may be 0 for
outputs that are all alike."""
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
    """Run the code of a method: constants and notes of the rows, its loss, gradients and controller.

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

    unchanging(method, "noise function", lambda: noise_of(method, options))
    unchanging(method, "factor function", lambda: factor_of(method, options))
    state = unchanging(method, "controller", controlled)
    states = {name: torch.tensor([value] * _CELLS) for name, value in state.items()}
    rows_by_kind = {kind: _shortened(rows) for kind, rows in data.by_kind.items()}
    sources = sources_of(method, rows_by_kind, train_end, constants, optimisation)
    one_batch = optimisation.model_copy(update={"epochs": 1, "batch": _ROWS, "micro_batch": 0})
    ((micro_batch, *_), *_), *_ = plan({kind: source.sizes() for kind, source in sources.items()}, one_batch, seed=0)
    _, rows = pack([micro_batch], sources, cells=_CELLS).at(torch.zeros(1, dtype=torch.long))

    def made_up(*, alike: bool) -> tuple[dict[str, Answers], Batch, list[Outputs]]:
        """The outputs of the model that is trained, and the arguments of the loss."""
        seeds = {kind: seed for seed, kind in enumerate(rows)}
        policy, reference = (
            {
                kind: _outputs(method, rows[kind], len(tokenizer), seeds[kind], trained=trained, alike=alike)
                for kind in kinds
            }
            for kinds, trained in ((rows, True), (sorted(method.reference), False))
        )
        batch, *outputs = arguments(rows, policy, reference, states)
        return policy, batch, outputs

    bound = method.bind(method.loss, options)
    policy, batch, outputs = made_up(alike=False)
    loss = sound_loss(method, bound, batch, outputs)
    limits_of(optimisation, loss.parts, method.name, len(tokenizer))
    with telling(method, "gradient of the loss"):
        for value in loss.differentiated.values():
            value.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    gradients = [(answers.hidden if method.at_layer else answers.logits).grad for answers in policy.values()]
    if not all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None):
        raise UsageError(
            f"{file_of(method)}: the gradient of the loss of {method.name} is not finite on made-up outputs that are: "
            "look for a root of 0, or for a part without effect, such as one of torch.where, that is not finite"
        )
    _, batch, outputs = made_up(alike=True)
    with telling(method, "loss"):
        beside_its_like = bound(batch, *outputs).differentiated
    if not all(
        torch.allclose(beside_its_like[term][0], value[0], rtol=1e-5, atol=1e-6)
        for term, value in loss.differentiated.items()
    ):
        raise UsageError(
            f"{file_of(method)}: the loss of {method.name} for one cell depends on the others, so it would change with "
            "the number of cells that are trained together: keep the first dimension of tensors, K, as in "
            "`.amax(1, keepdim=True)` in place of `.max()`"
        )
    if method.gradient is not None and loss.terms is not None:
        expect_sound_gradient(method, method.bind(method.gradient, options), loss.terms, _CELLS)
    parts = {name: [float(value[0].detach())] for name, value in loss.parts.items()}
    unchanging(method, "controller", lambda: controlled(parts))


def _shortened(rows: Sequence[Encoded]) -> list[Encoded]:
    """The first rows with the first tokens of their answers, a token more in each."""
    return [row._replace(answer_ids=row.answer_ids[:number]) for number, row in enumerate(rows[:_ROWS], 1)]


def _outputs(method: Method, labels: Rows, vocabulary: int, seed: int, *, trained: bool, alike: bool) -> Answers:
    """Random outputs at the labels of one kind of rows; with `alike`, those of the first cell in every cell.

    A model that is trained gives the labels a probability near a half in the first cell, near 1 in the second, and near
    1 / vocabulary in the third.
    """
    random, shape = torch.Generator().manual_seed(seed), labels.targets.shape

    def made(tensor: Tensor) -> Tensor:
        return (tensor[:1].repeat(_CELLS, *[1] * (tensor.dim() - 1)) if alike else tensor).requires_grad_(trained)

    def logits() -> Tensor:
        tensor = torch.rand(*shape, vocabulary, generator=random)
        if trained:
            more = torch.tensor(_SURENESS)[:, None, None] * math.log(vocabulary)
            tensor.scatter_add_(2, labels.targets[:, :, None], more.expand(*shape, 1))
        return made(tensor)

    if method.at_layer:
        return Answers(labels.targets, hidden=made(torch.randn(*shape, _WIDTH, generator=random)))
    # Made when read, as those of a whole vocabulary take long; of a reference, most methods read `log_p` alone.
    gold = None if trained else made(-torch.rand(shape, generator=random))
    return Answers(labels.targets, logits=logits, gold=gold)
