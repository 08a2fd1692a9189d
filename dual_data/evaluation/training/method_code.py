"""Calls of the code of a method, with the errors that its author has to know of."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.repeatable import is_refused
from dual_data.evaluation.methods.base import Answers, Batch, Constants, Controller, Facts, Loss, Method, Outputs
from dual_data.evaluation.rows.encoding import Encoded, text_ids
from dual_data.evaluation.rows.packing import Rows, Source
from dual_data.evaluation.training.cells import CellData
from dual_data.evaluation.training.optimisation import Optimisation

Returned = TypeVar("Returned")


@contextmanager
def telling(method: Method, part: str, known: str = "") -> Iterator[None]:
    """Raise an error in a part of a method, such as its loss, as UsageError with the method's file and line.

    `known` says what has a name there, for the error of a name that is not known. Errors of a step that is being
    recorded stay as they are: it may only be that it cannot be recorded.
    """
    try:
        yield
    except Exception as error:
        recording = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        if recording or isinstance(error, DualDataError) or is_out_of_memory(error) or is_refused(error):
            raise
        file = file_of(method)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        location = f"{file}: line {lines[-1]}" if lines else file
        names = f" ({known})" if known and isinstance(error, KeyError) else ""
        message = f"{location}: the {part} of {method.name} fails: {type(error).__name__}: {error}{names}"
        raise UsageError(message) from error


def unchanging(method: Method, part: str, call: Callable[[], Returned]) -> Returned:
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


def facts_of(data: CellData, tokenizer: PreTrainedTokenizerBase, train_end: bool) -> Facts:
    """What a method can derive constants from, of the rows that cells train on."""

    def encode(text: str) -> list[int]:
        return list(text_ids(tokenizer, [text])[0])

    return Facts(
        [[*row.answer_ids, *(row.end_ids if train_end else ())] for row in data.forget],
        [len(row.answer_ids) for row in data.forget],
        [item.popularity for item in data.items] or [None] * len(data.forget),
        encode,
        data.items,
    )


def arguments(
    rows: Mapping[str, Rows],
    policy: Mapping[str, Answers],
    reference: Mapping[str, Answers],
    state: Mapping[str, Tensor],
) -> tuple[Batch, Outputs, Outputs]:
    """The arguments of a loss, from rows and outputs by kind.

    Rows of a kind that the method does not have are the forget rows. Outputs of such a kind cannot be read: the loss
    would be that of other rows than it says.
    """
    forget = rows["forget"]
    batch = Batch(forget, rows.get("retain", forget), rows.get("refusal", forget), state)

    def absent(kind: str) -> Answers:
        known = reference if kind in rows else rows
        named = ", ".join(f'"{name}"' for name in Outputs._fields if name in known or name == kind)
        field, example = ("reference", f"frozenset({{{named}}})") if kind in rows else ("kinds", f"({named})")
        remedy = f"name {kind!r} in the {field} of Method, as in {field}={example}"
        return Answers(forget.targets, undeclared=remedy)

    of_policy, of_reference = (
        Outputs(*(answers.get(kind) or absent(kind) for kind in Outputs._fields)) for answers in (policy, reference)
    )
    return batch, of_policy, of_reference


def constants_of(method: Method, options: Mapping[str, Any], facts: Facts) -> Constants:
    """The constants of the forget rows, by label; a number of a whole row is that of each of its labels.

    Raises UsageError with the file of the method if its code fails, or if they are neither one number per row nor one
    number per label of a row.
    """
    if method.constants is None:
        return {}
    with telling(method, "constants function"):
        made = method.bind(method.constants, options)(facts)
        return {
            name: _by_label(name, rows.tolist() if isinstance(rows, Tensor) else list(rows), facts.labels)
            for name, rows in made.items()
        }


def sources_of(
    method: Method,
    rows: Mapping[str, Sequence[Encoded]],
    train_end: bool,
    constants: Constants,
    optimisation: Optimisation,
) -> dict[str, Source]:
    """What training draws from: the method's kinds of `rows` and, for the KL term, every token of the forget rows.

    `constants` are those of the forget rows, by label. Raises UsageError for a KL term of a method without outputs, or
    of one that combines the gradients of its own terms.
    """
    sources = {
        kind: Source(rows[kind], train_end, constants if kind == "forget" else {}, at_label=method.at_layer)
        for kind in method.kinds
    }
    if optimisation.forget_kl:
        if method.at_layer:
            raise UsageError(
                f"{method.name} stops at a layer and has no output distributions, so forget_kl cannot be set"
            )
        if method.gradient is not None:
            raise UsageError(f"{method.name} combines the gradients of its own terms, so forget_kl cannot be set")
        sources["everywhere"] = Source(rows["forget"], train_end, everywhere=True)
    return sources


def _by_label(name: str, rows: Sequence[Any], labels: Sequence[Sequence[int]]) -> list[list[float]]:
    """One number per label, by row. Raises ValueError for values that are no numbers, too few or too many."""
    sizes = [len(row) for row in labels]
    try:
        by_row = [
            [float(value) for value in row] if isinstance(row, Iterable) else [float(row)] * size
            for row, size in zip(rows, sizes, strict=True)
        ]
    except (TypeError, ValueError):
        by_row = []
    if [len(row) for row in by_row] != sizes:
        raise ValueError(
            f"{name} is neither one number per forget row nor one list per forget row with one number per label"
        )
    return by_row


def first_state(method: Method, controllers: Sequence[Controller]) -> list[dict[str, float]]:
    """The state of each cell before the first step. Raises UsageError for what is no state."""
    with telling(method, "controller"):
        return [_numbers(controller.start(), "start") for controller in controllers]


def next_state(
    method: Method, controller: Controller, parts: Mapping[str, Sequence[float]], names: Collection[str]
) -> dict[str, float]:
    """What changes in the state of a cell after an epoch. Raises UsageError for what is no state of these names."""
    with telling(method, "controller", f"parts: {_listed(parts)}"):
        return _numbers(controller.after_epoch(parts), "after_epoch", names)


def _numbers(state: Any, function: str, names: Collection[str] | None = None) -> dict[str, float]:
    """The state that a function of a controller returns. Raises ValueError for other names, and for no numbers."""
    try:
        numbers = {name: float(value) for name, value in state.items()}
    except (AttributeError, TypeError, ValueError):
        numbers = None
    if numbers is None or (names is not None and not numbers.keys() <= set(names)):
        form = 'such as {"alpha": 1.0}' if names is None else f"of the state that `start` gives: {_listed(names)}"
        raise ValueError(f"{function} returns {state!r}; return a dict of numbers by name, {form}")
    return numbers


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def sound_loss(method: Method, loss_of: Callable[..., Loss], batch: Batch, outputs: Sequence[Outputs]) -> Loss:
    """The loss of a batch. Raises UsageError with the file of the method if its code fails, or for what is no loss.

    A loss is one finite number per cell that depends on the policy, the same for the same outputs, and a weighted mean
    of rows, so that the micro-batches of a step add up to it: where the rows have half the weight, it is half as large.
    """
    names = f"state: {_listed(batch.state)}; constants of batch.forget: {_listed(batch.forget.constants)}"
    with telling(method, "loss", names):
        loss = unchanging(method, "loss", lambda: loss_of(batch, *outputs))

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
        of_half = loss_of(Batch(forget, retain, refusal, batch.state), *outputs)
    halves = of_half.differentiated
    if not all(
        torch.allclose(2 * halves[term], value, rtol=1e-3, atol=1e-6) for term, value in loss.differentiated.items()
    ):
        raise fault(
            f"{of} is no weighted mean of its rows, so the micro-batches of a step would not add up: make means with "
            "token_mean, or with row_sum and row_mean, of batch.forget or batch.retain"
        )
    return loss


def noise_of(method: Method, options: Mapping[str, Any]) -> tuple[float, float] | None:
    """Keep and spread of the noise that weights get before the first step; None for most methods.

    Raises UsageError if the code fails or gives anything else than two finite numbers.
    """
    if method.noise is None:
        return None
    with telling(method, "noise function"):
        noise = method.bind(method.noise, options)()
        if not (isinstance(noise, tuple) and len(noise) == 2 and all(map(_is_finite, noise))):
            raise ValueError(f"returns {noise!r}; return two finite numbers, keep and spread")
        return noise


def factor_of(method: Method, options: Mapping[str, Any]) -> float:
    """By what the change that training made to the weights is multiplied at its end; 1 for most methods.

    Raises UsageError if the code fails or gives no finite number.
    """
    if method.factor is None:
        return 1.0
    with telling(method, "factor function"):
        factor = method.bind(method.factor, options)()
        if not _is_finite(factor):
            raise ValueError(f"returns {factor!r}; return a finite number")
        return factor


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def expect_sound_gradient(
    method: Method, combine: Callable[..., Sequence[Tensor]], terms: Collection[str], cells: int
) -> None:
    """Try the gradient function of a method on made-up gradients of its terms, in two buffers.

    Raises UsageError with the file of the method if its code fails or changes from call to call, and for what is no
    gradient of each cell: of another shape, not finite, also where a term has none, or dependent on the other cells.
    """
    random, widths = torch.Generator().manual_seed(0), (5, 4)
    made = {term: [torch.randn(cells, width, generator=random) for width in widths] for term in terms}

    def fault(what: str) -> UsageError:
        return UsageError(f"{file_of(method)}: the gradient function of {method.name} {what}")

    def combined(*, zero: Collection[str], alike: bool = False) -> list[Tensor]:
        """Its result where the gradients of some terms are 0, or every cell has those of the first."""
        given = {
            term: [(g[:1].repeat(cells, 1) if alike else g) * float(term not in zero) for g in gradients]
            for term, gradients in made.items()
        }
        with telling(method, "gradient function", f"terms: {_listed(terms)}"):
            return list(combine(given))

    for zero in ([], *([term] for term in terms), list(terms)):
        gradient = unchanging(method, "gradient function", partial(combined, zero=zero))
        shapes = [list(g.shape) if isinstance(g, Tensor) else type(g).__name__ for g in gradient]
        if shapes != (wanted := [[cells, width] for width in widths]):
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


def file_of(method: Method) -> str:
    """Where the method's loss is written, for messages."""
    code = getattr(method.loss, "__code__", None)
    return code.co_filename if code else method.name
