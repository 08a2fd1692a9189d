"""Out of memory: whether an error says so, half as many rows to try next, or what did not fit."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.device.sharding import stay_in_step

Value = TypeVar("Value")
Arguments = ParamSpec("Arguments")

_MESSAGES = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",
)
"""Messages of torch's errors that are no OutOfMemoryError: of the host, and of libraries with their own allocator."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _MESSAGES):
        return True
    # Ending the recording of a graph after an error raises a second error, whose context is the first.
    first = error.__context__ if isinstance(error, RuntimeError) else None
    return first is not None and is_out_of_memory(first)


def if_it_fits(do: Callable[Arguments, Value], *arguments: Arguments.args, **named: Arguments.kwargs) -> Value | None:
    """What `do` returns, which is never None; None where memory ran out.

    By then the error is gone, which holds the tensors of `do`.
    """
    try:
        return do(*arguments, **named)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


class OutOfMemory(DualDataError):
    """Something does not fit in memory, and was not or cannot be tried in smaller pieces."""


@contextmanager
def enough_memory(doing: str) -> Iterator[None]:
    """Turns running out of memory inside into OutOfMemory, with what it was `doing`: for work with no smaller retry."""
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors that fill the memory
    release()
    stay_in_step()
    raise OutOfMemory(
        f"out of memory {doing}: use a narrower dtype, a smaller model, fewer cells at once (--cells-at-once) or fewer "
        "rows (--rows)"
    )


def release() -> None:
    """Return unreferenced memory to the device."""
    gc.collect()
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # after the device failed
            torch.cuda.empty_cache()


def half_of(rows: int, of: str = "") -> int:
    """Half as many rows, after a pass of `rows` without gradients did not fit. Raises OutOfMemory for a single row.

    The message begins with `of`.
    """
    stay_in_step()
    if rows == 1:
        raise OutOfMemory(
            f"{of}out of memory with a single row: use a smaller model, bfloat16, or fewer cells at once "
            "(--cells-at-once)"
        )
    release()
    return rows // 2
