"""A trial of a method on made-up outputs of a model, so that a mistake shows before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from dual_data.evaluation.methods.base import Answers, Method
from dual_data.evaluation.rows.encoding import Encoded
from dual_data.evaluation.rows.packing import Rows, pack
from dual_data.evaluation.training.cells import CellData
from dual_data.evaluation.training.limits import limits_of
from dual_data.evaluation.training.method_code import (
    arguments,
    constants_of,
    facts_of,
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

    The loss is given three cells with the first rows and random outputs over the tokenizer's vocabulary. Raises
    UsageError as training does for a mistake that shows in its first steps, for settings that the method excludes, and
    for code that cannot be repeated.
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
    random = torch.Generator().manual_seed(0)
    policy, reference = (
        {kind: _outputs(method, rows[kind], len(tokenizer), random, trained=trained) for kind in kinds}
        for kinds, trained in ((rows, True), (sorted(method.reference), False))
    )
    batch, *outputs = arguments(rows, policy, reference, states)
    loss = sound_loss(method, method.bind(method.loss, options), batch, outputs)
    limits_of(optimisation, loss.parts, method.name, len(tokenizer))
    with telling(method, "gradient of the loss"):
        loss.value.sum().backward()  # type: ignore[no-untyped-call]
    parts = {name: [float(value[0].detach())] for name, value in loss.parts.items()}
    unchanging(method, "controller", lambda: controlled(parts))


def _shortened(rows: Sequence[Encoded]) -> list[Encoded]:
    """The first rows with the first tokens of their answers, a token more in each."""
    return [row._replace(answer_ids=row.answer_ids[:number]) for number, row in enumerate(rows[:_ROWS], 1)]


def _outputs(method: Method, labels: Rows, vocabulary: int, random: torch.Generator, *, trained: bool) -> Answers:
    """Random outputs at the labels of one kind of rows."""
    shape = labels.targets.shape
    if method.at_layer:
        return Answers(labels.targets, hidden=torch.randn(*shape, _WIDTH, generator=random, requires_grad=trained))
    # Made when read, as those of a whole vocabulary take long; of a reference, most methods read `log_p` alone.
    return Answers(
        labels.targets,
        logits=lambda: torch.rand(*shape, vocabulary, generator=random, requires_grad=trained),
        gold=None if trained else -torch.rand(shape, generator=random),
    )
