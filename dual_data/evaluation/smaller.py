"""Out of memory: try again with half the rows a forward pass, and say so."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.order import Optimisation


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the device or the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


class _Attempt:
    def __init__(self, optimisation: Optimisation) -> None:
        self._optimisation = optimisation
        self.failed = False

    def __enter__(self) -> Optimisation:
        return self._optimisation

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        self.failed = error is not None and is_out_of_memory(error)
        return self.failed


def halving(optimisation: Optimisation, notes: list[str]) -> Iterator[_Attempt]:
    """Attempts with ever smaller micro-batches until one does not run out of memory; notes say what was halved.

        for attempt in halving(optimisation, notes):
            with attempt as how:
                ...

    The loss does not depend on the size of micro-batches. Raises DualDataError where one row is too many.
    """
    while True:
        attempt = _Attempt(optimisation)
        yield attempt
        if not attempt.failed:
            return
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        rows = optimisation.micro or optimisation.batch
        if rows == 1:
            raise DualDataError(
                "out of memory with a single row a forward pass: use a narrower dtype, a smaller model, "
                "or fewer cells at once (--cells-at-once)"
            )
        optimisation = optimisation._replace(micro=rows // 2)
        notes.append(f"out of memory: forward passes of {rows // 2} rows in place of {rows}")
