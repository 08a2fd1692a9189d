"""The first loss of a run, with the errors that the author of a method has to know of."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from torch import Tensor

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.repeatable import is_refused
from dual_data.evaluation.methods.base import Loss, Method


def first_loss(method: Method, make: Callable[[], Loss], cells: int) -> Loss:
    """What `make`, the loss of `method`, returns for `cells` cells.

    Raises UsageError with the file of the method if its code fails, or if it does not return one number per cell.
    """
    code = getattr(method.loss, "__code__", None)
    file = code.co_filename if code else method.name
    try:
        loss = make()
    except Exception as error:
        if isinstance(error, DualDataError) or is_out_of_memory(error) or is_refused(error):
            raise
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}: line {lines[-1]}" if lines else file
        raise UsageError(f"{place}: the loss of {method.name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(loss, Loss):
        raise UsageError(
            f"{file}: the loss of {method.name} returns a {type(loss).__name__}; return Loss(value, parts)"
        )
    for name, value in {"value": loss.value, **loss.parts}.items():
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != [cells]:
            raise UsageError(
                f"{file}: `{name}` in the loss of {method.name} is {shape} and not [{cells}], one number per cell; "
                "batch.forget.token_mean(...) makes such a mean of [K, M] values"
            )
    if not loss.value.requires_grad:
        raise UsageError(f"{file}: the loss of {method.name} has no gradient: it must depend on `policy`")
    return loss
