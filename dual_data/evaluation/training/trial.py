"""A trial of a method on made-up outputs of a model, so that a mistake shows before a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Batch, Constants, LabelOutputs, Loss, Method, Outputs
from dual_data.evaluation.rows.encoding import Encoded, TrainingRows
from dual_data.evaluation.rows.packing import Rows, pack
from dual_data.evaluation.training.limits import limits_of
from dual_data.evaluation.training.method_code import (
    arguments,
    constants_of,
    factor_of,
    facts_of,
    file_of,
    first_state,
    listed,
    next_state,
    noise_of,
    sources_of,
    telling,
)
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.schedule import plan

Returned = TypeVar("Returned")

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
    data: TrainingRows,
    tokenizer: PreTrainedTokenizerBase,
    optimisation: Optimisation,
) -> None:
    """Run the code of a method: constants and notes of the rows, its loss, gradients and controller.

    The loss is given three cells with the first rows and random outputs over the tokenizer's vocabulary: those of one
    cell are sure of the labels, those of another are not. Raises UsageError as training does for a mistake that shows
    in its first steps, for settings that the method excludes, for code that cannot be repeated, for a gradient that is
    not finite, and where the loss of a cell depends on the others.
    """
    method = method.bound(method.options(chosen))
    facts = facts_of(data, tokenizer)
    with telling(method, "notes function"):
        if method.notes is not None:
            _unchanging(method, "notes function", partial(method.notes, facts))
    constants = _unchanging(method, "constants function", lambda: constants_of(method, facts))
    _unchanging(method, "noise function", lambda: noise_of(method))
    _unchanging(method, "factor function", lambda: factor_of(method))
    state = _unchanging(method, "controller", lambda: _controlled(method))
    rows = _first_rows(method, data, constants, optimisation)

    def made_up(*, alike: bool) -> tuple[dict[str, LabelOutputs], Batch, list[Outputs]]:
        """The outputs of the model that is trained, and the arguments of the loss."""
        seeds = {kind: seed for seed, kind in enumerate(rows)}
        policy, reference = (
            {
                kind: _outputs(method, rows[kind], len(tokenizer), seeds[kind], trained=trained, alike=alike)
                for kind in kinds
            }
            for kinds, trained in ((rows, True), (method.reference, False))
        )
        states = {name: torch.tensor([value] * _CELLS) for name, value in state.items()}
        batch, *outputs = arguments(rows, policy, reference, states)
        return policy, batch, outputs

    policy, batch, outputs = made_up(alike=False)
    loss = _sound_loss(method, batch, outputs)
    limits_of(optimisation, loss.parts, method.name, len(tokenizer))
    _expect_finite_gradient(method, loss, policy)
    _, batch, outputs = made_up(alike=True)
    _expect_own_loss(method, loss, batch, outputs)
    if method.gradient is not None and loss.terms is not None:
        _expect_sound_gradient(method, method.gradient, loss.terms)
    parts = {name: [float(value[0].detach())] for name, value in loss.parts.items()}
    _unchanging(method, "controller", lambda: _controlled(method, parts))


def _unchanging(method: Method, part: str, call: Callable[[], Returned]) -> Returned:
    """What a call of a part of a method returns. Raises UsageError if a second call returns something else, or if it
    draws from torch's own generator, whose state depends on what ran before.
    """
    state = torch.get_rng_state()
    first, second = call(), call()
    fault = ""
    if not torch.equal(torch.get_rng_state(), state):
        fault = "uses torch's shared generator, on which other things depend"
    elif _in_digits(first) != _in_digits(second):
        fault = "changes from call to call"
    if fault:
        raise UsageError(
            f"{file_of(method)}: the {part} of {method.name} {fault}, so no run could be repeated: make random numbers "
            "constants of the rows, from a hash of their ids, or draw them with a torch.Generator of its own, from a "
            "seed that is an option"
        )
    return first


def _in_digits(value: Any) -> str:
    """A text of a value with all digits of its numbers; that of a tensor has four of each."""
    if isinstance(value, Tensor):
        return repr(value.tolist())
    if isinstance(value, dict):
        return repr({name: _in_digits(part) for name, part in value.items()})
    return repr([_in_digits(part) for part in value]) if isinstance(value, tuple | list) else str(value)


def _controlled(method: Method, parts: Mapping[str, Sequence[float]] | None = None) -> dict[str, float]:
    """The state before the first step, or what of it changes after an epoch with these parts."""
    if method.controller is None:
        return {}
    with telling(method, "controller"):
        controller = method.controller()
    (state,) = first_state(method, [controller])
    return state if parts is None else next_state(method, controller, parts, state)


def _first_rows(
    method: Method, data: TrainingRows, constants: Constants, optimisation: Optimisation
) -> dict[str, Rows]:
    """The first rows of each kind as one micro-batch of all cells, with the first tokens of their answers.

    A row has a token more than the one before, and the constants of these tokens and of the end of its turn.
    """

    def first(rows: Sequence[Encoded]) -> list[Encoded]:
        return [row._replace(answer_ids=row.answer_ids[:number]) for number, row in enumerate(rows[:_ROWS], 1)]

    few = data._replace(forget=first(data.forget), retain=first(data.retain), refusal=first(data.refusal))
    shortened = {
        name: [
            [*values[: len(row.answer_ids)], *values[len(whole.answer_ids) :]]
            for values, row, whole in zip(by_row, few.forget, data.forget, strict=False)
        ]
        for name, by_row in constants.items()
    }
    sources = sources_of(method, few, shortened, optimisation)
    one_batch = optimisation.model_copy(update={"epochs": 1, "batch": _ROWS, "micro_batch": 0})
    ((micro_batch, *_), *_), *_ = plan({kind: source.sizes() for kind, source in sources.items()}, one_batch, seed=0)
    _, rows = pack([micro_batch], sources, cells=_CELLS).at(torch.zeros(1, dtype=torch.long))
    return rows


def _outputs(method: Method, labels: Rows, vocabulary: int, seed: int, *, trained: bool, alike: bool) -> LabelOutputs:
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
        return LabelOutputs(labels.targets, hidden=made(torch.randn(*shape, _WIDTH, generator=random)))
    # Made when read, as those of a whole vocabulary take long; of a reference, most methods read `log_p` alone.
    gold = None if trained else made(-torch.rand(shape, generator=random))
    return LabelOutputs(labels.targets, logits=logits, gold=gold)


def _sound_loss(method: Method, batch: Batch, outputs: Sequence[Outputs]) -> Loss:
    """The loss of a batch. Raises UsageError with the file of the method if its code fails, or for what is no loss.

    A loss is one finite number per cell that depends on the policy, the same for the same outputs, and a weighted mean
    of rows, so that the micro-batches of a step add up to it: where the rows have half the weight, it is half as large.
    """
    names = f"state: {listed(batch.state)}; constants of batch.forget: {listed(batch.forget.constants)}"
    with telling(method, "loss", names):
        loss = _unchanging(method, "loss", lambda: method.loss(batch, *outputs))

    def fault(what: str) -> UsageError:
        return UsageError(f"{file_of(method)}: {what}")

    of = f"the loss of {method.name}"
    if not isinstance(loss, Loss):
        raise fault(f"{of} returns a {type(loss).__name__}; return Loss(value, parts)")
    if not isinstance(loss.parts, dict):
        raise fault(f"the parts in {of} are a {type(loss.parts).__name__}; give a dict by name, which may be empty")
    if method.gradient is None and loss.terms is not None:
        raise fault(f"{of} has terms: name a `gradient` in Method, which combines their gradients, or leave them out")
    if method.gradient is not None and not (isinstance(loss.terms, dict) and loss.terms):
        raise fault(f"{of} has no terms for its gradient function: return Loss(value, parts, terms), a dict by name")
    cells = len(batch.forget.share)
    for name, value in [("value", loss.value), *loss.parts.items(), *(loss.terms or {}).items()]:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != [cells]:
            raise fault(
                f"`{name}` in {of} is {shape} and not [{cells}], one number per cell; "
                "batch.forget.token_mean(...) makes such a mean of [K, M] values"
            )
    for term, value in loss.differentiated.items():
        of_term = f"`{term}` in {of}" if term else of
        if not value.requires_grad:
            raise fault(f"{of_term} has no gradient: it must depend on `policy`")
        if not bool(value.isfinite().all()):
            raise fault(
                f"{of_term} is {value.tolist()} on made-up outputs that are finite: "
                "look for a division by 0, or a logarithm or a root of what is not positive"
            )
    forget, retain, refusal = (
        rows._replace(weight=rows.weight / 2, share=rows.share / 2)
        for rows in (batch.forget, batch.retain, batch.refusal)
    )
    with torch.no_grad():
        of_half = method.loss(Batch(forget, retain, refusal, batch.state), *outputs)
    halves = of_half.differentiated
    if not all(
        torch.allclose(2 * halves[term], value, rtol=1e-3, atol=1e-6) for term, value in loss.differentiated.items()
    ):
        raise fault(
            f"{of} is no weighted mean of its rows, so the micro-batches of a step would not add up: make means with "
            "token_mean, or with row_sum and row_mean, of batch.forget or batch.retain"
        )
    return loss


def _expect_finite_gradient(method: Method, loss: Loss, policy: Mapping[str, LabelOutputs]) -> None:
    with telling(method, "gradient of the loss"):
        for value in loss.differentiated.values():
            value.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
    gradients = [(answers.hidden if method.at_layer else answers.logits).grad for answers in policy.values()]
    if not all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None):
        raise UsageError(
            f"{file_of(method)}: the gradient of the loss of {method.name} is not finite on made-up outputs that are: "
            "look for a root of 0, or for a part without effect, such as one of torch.where, that is not finite"
        )


def _expect_own_loss(method: Method, loss: Loss, batch: Batch, outputs: Sequence[Outputs]) -> None:
    """Raise UsageError where the loss of the first cell is another where every cell has its outputs."""
    with telling(method, "loss"):
        differentiated = method.loss(batch, *outputs).differentiated
    if not all(
        torch.allclose(differentiated[term][0], value[0], rtol=1e-5, atol=1e-6)
        for term, value in loss.differentiated.items()
    ):
        raise UsageError(
            f"{file_of(method)}: the loss of {method.name} for one cell depends on the others, so it would change with "
            "the number of cells that are trained together: keep the first dimension of tensors, K, as in "
            "`.amax(1, keepdim=True)` in place of `.max()`"
        )


def _expect_sound_gradient(method: Method, combine: Callable[..., Sequence[Tensor]], terms: Collection[str]) -> None:
    """Try the gradient function of a method on made-up gradients of its terms, in two buffers.

    Raises UsageError with the file of the method if its code fails or changes from call to call, and for what is no
    gradient of each cell: of another shape, not finite, also where a term has none, or dependent on the other cells.
    """
    random, widths = torch.Generator().manual_seed(0), (5, 4)
    made = {term: [torch.randn(_CELLS, width, generator=random) for width in widths] for term in terms}

    def fault(what: str) -> UsageError:
        return UsageError(f"{file_of(method)}: the gradient function of {method.name} {what}")

    def combined(*, zero: Collection[str], alike: bool = False) -> list[Tensor]:
        """Its result where the gradients of some terms are 0, or every cell has those of the first."""
        given = {
            term: [(g[:1].repeat(_CELLS, 1) if alike else g) * float(term not in zero) for g in gradients]
            for term, gradients in made.items()
        }
        with telling(method, "gradient function", f"terms: {listed(terms)}"):
            return list(combine(given))

    for zero in ([], *([term] for term in terms), list(terms)):
        gradient = _unchanging(method, "gradient function", partial(combined, zero=zero))
        shapes = [list(g.shape) if isinstance(g, Tensor) else type(g).__name__ for g in gradient]
        if shapes != (wanted := [[_CELLS, width] for width in widths]):
            raise fault(f"returns {shapes} and not {wanted}, a tensor for each buffer, shaped as those of every term")
        if not all(bool(g.isfinite().all()) for g in gradient):
            where = f"where that of {' and '.join(zero)} is 0" if zero else "for gradients that are"
            raise fault(f"is not finite {where}: look for a division by a length, and keep it from 0 with clamp_min")
        alike = combined(zero=zero, alike=True)
        if not all(
            torch.allclose(g[0], same[0], rtol=1e-5, atol=1e-6) for g, same in zip(gradient, alike, strict=True)
        ):
            raise fault(
                "gives a cell what depends on the others: keep the first dimension of tensors, K, as `inner` does"
            )
