"""Calls of the code of a method with its options, and the errors that its author has to know of."""

from __future__ import annotations

import math
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.repeatable import is_refused
from dual_data.evaluation.methods.base import Batch, Constants, Controller, Facts, LabelOutputs, Method, Outputs
from dual_data.evaluation.rows.encoding import TrainingRows, text_ids
from dual_data.evaluation.rows.packing import Rows, Source
from dual_data.evaluation.training.optimisation import Optimisation


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


def facts_of(data: TrainingRows, tokenizer: PreTrainedTokenizerBase) -> Facts:
    """What a method can derive constants from, of the rows that cells train on."""
    return Facts(
        [[*row.answer_ids, *row.end_ids] for row in data.forget],
        [len(row.answer_ids) for row in data.forget],
        [item.popularity for item in data.items] or [None] * len(data.forget),
        lambda text: list(text_ids(tokenizer, [text])[0]),
        data.items,
    )


def arguments(
    rows: Mapping[str, Rows],
    policy: Mapping[str, LabelOutputs],
    reference: Mapping[str, LabelOutputs],
    state: Mapping[str, Tensor],
) -> tuple[Batch, Outputs, Outputs]:
    """The arguments of a loss, from rows and outputs by kind.

    Rows of a kind that the method does not have are the forget rows. Outputs of such a kind cannot be read: the loss
    would be that of other rows than it says.
    """
    forget = rows["forget"]
    batch = Batch(forget, rows.get("retain", forget), rows.get("refusal", forget), state)

    def absent(kind: str) -> LabelOutputs:
        known = reference if kind in rows else rows
        named = ", ".join(f'"{name}"' for name in Outputs._fields if name in known or name == kind)
        field, example = ("reference", f"frozenset({{{named}}})") if kind in rows else ("kinds", f"({named})")
        remedy = f"name {kind!r} in the {field} of Method, as in {field}={example}"
        return LabelOutputs(forget.targets, undeclared=remedy)

    of_policy, of_reference = (
        Outputs(*(answers.get(kind) or absent(kind) for kind in Outputs._fields)) for answers in (policy, reference)
    )
    return batch, of_policy, of_reference


def constants_of(method: Method, facts: Facts) -> Constants:
    """The constants of the forget rows, by label; a number of a whole row is that of each of its labels.

    Raises UsageError with the file of the method if its code fails, or if they are neither one number per row nor one
    number per label of a row.
    """
    if method.constants is None:
        return {}
    with telling(method, "constants function"):
        made = method.constants(facts)
        return {
            name: _by_label(name, rows.tolist() if isinstance(rows, Tensor) else list(rows), facts.labels)
            for name, rows in made.items()
        }


def sources_of(
    method: Method, data: TrainingRows, constants: Constants, optimisation: Optimisation
) -> dict[str, Source]:
    """What training draws from: the method's kinds of rows and, for the KL term, every token of the forget rows.

    `constants` are those of the forget rows, by label. Raises UsageError for a KL term of a method without outputs, or
    of one that combines the gradients of its own terms.
    """
    sources = {
        kind: Source(data.by_kind[kind], constants if kind == "forget" else {}, at_label=method.at_layer)
        for kind in method.kinds
    }
    if optimisation.forget_kl:
        if method.at_layer:
            raise UsageError(
                f"{method.name} stops at a layer and has no output distributions, so forget_kl cannot be set"
            )
        if method.gradient is not None:
            raise UsageError(f"{method.name} combines the gradients of its own terms, so forget_kl cannot be set")
        sources["everywhere"] = Source(data.forget, everywhere=True)
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
    with telling(method, "controller", f"parts: {listed(parts)}"):
        return _numbers(controller.after_epoch(parts), "after_epoch", names)


def _numbers(state: Any, function: str, names: Collection[str] | None = None) -> dict[str, float]:
    """The state that a function of a controller returns. Raises ValueError for other names, and for no numbers."""
    try:
        numbers = {name: float(value) for name, value in state.items()}
    except (AttributeError, TypeError, ValueError):
        numbers = None
    if numbers is None or (names is not None and not numbers.keys() <= set(names)):
        form = 'such as {"alpha": 1.0}' if names is None else f"of the state that `start` gives: {listed(names)}"
        raise ValueError(f"{function} returns {state!r}; return a dict of numbers by name, {form}")
    return numbers


def listed(names: Iterable[str]) -> str:
    """Names in a message."""
    return ", ".join(names) or "none"


def noise_of(method: Method) -> tuple[float, float] | None:
    """Keep and spread of the noise that weights get before the first step; None for most methods.

    Raises UsageError if the code fails or gives anything else than two finite numbers.
    """
    if method.noise is None:
        return None
    with telling(method, "noise function"):
        noise = method.noise()
        if not (isinstance(noise, tuple) and len(noise) == 2 and all(map(_is_finite, noise))):
            raise ValueError(f"returns {noise!r}; return two finite numbers, keep and spread")
        return noise


def factor_of(method: Method) -> float:
    """By what the change that training made to the weights is multiplied at its end; 1 for most methods.

    Raises UsageError if the code fails or gives no finite number.
    """
    if method.factor is None:
        return 1.0
    with telling(method, "factor function"):
        factor = method.factor()
        if not _is_finite(factor):
            raise ValueError(f"returns {factor!r}; return a finite number")
        return factor


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def file_of(method: Method) -> str:
    """Where the method's loss is written, for messages."""
    code = getattr(getattr(method.loss, "func", method.loss), "__code__", None)  # of what has its options bound
    return code.co_filename if code else method.name
