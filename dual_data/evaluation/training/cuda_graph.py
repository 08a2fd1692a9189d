"""Training steps recorded as CUDA graphs and replayed: one launch in place of a launch per kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from dual_data.evaluation.device.memory import is_out_of_memory

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

    from dual_data.evaluation.training.training_run import TrainingRun

WARM_UP = 3
"""Steps taken before one is recorded; they are part of the training."""

_EAGER: WeakKeyDictionary[PreTrainedModel, dict[str, str]] = WeakKeyDictionary()
"""By model, the methods whose steps cannot be recorded, and why, so that each is tried only once."""

_STREAMS: WeakKeyDictionary[PreTrainedModel, torch.cuda.Stream] = WeakKeyDictionary()
"""One stream for all runs of a model. Torch hands out 32 in turn, keeps a cuBLAS workspace for each, and frees it with
any graph recorded there, so a run must not get the stream on which graphs still in use, of decoding, were recorded.
"""


class Replayed:
    """Steps of a run: eager while warming up, then recorded once and replayed."""

    def __init__(self, run: TrainingRun, method: str) -> None:
        self._run = run
        self._method = method
        self._eager = _EAGER.setdefault(run.model, {})
        self._steps_taken = 0
        if run.model not in _STREAMS:
            _STREAMS[run.model] = torch.cuda.Stream(run.device)  # type: ignore[no-untyped-call]
        self._stream = _STREAMS[run.model]
        self._graphs: tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph] | None = None

    def __call__(self) -> None:
        current = torch.cuda.current_stream(self._run.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                if self._steps_taken == WARM_UP:
                    if self._method not in self._eager:
                        self._record()
                    if self._graphs is None:
                        self._run.fall_back("recorded", self._eager[self._method])
                if self._graphs is None:
                    self._run.step()
                else:
                    micro_batch, update = self._graphs
                    for _ in range(self._run.advance()):
                        micro_batch.replay()
                    update.replay()
        finally:  # also after an error: a new try writes to memory that this stream may still be writing
            current.wait_stream(self._stream)
        self._steps_taken += 1

    def _record(self) -> None:
        """Record a step. Recording executes nothing, so no weight changes."""
        micro_batch, update = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        try:
            with recording(micro_batch, pool, self._stream):
                self._run.micro_batch()
            with recording(update, pool, self._stream):
                self._run.update()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self._eager[self._method] = why_not_recorded(error)
        else:
            self._graphs = micro_batch, update


@contextmanager
def recording(
    graph: torch.cuda.CUDAGraph, pool: _POOL_HANDLE, stream: torch.cuda.Stream | None = None
) -> Iterator[None]:
    """Record what is done inside, with its memory in `pool`, on `stream` or the one that torch keeps for recording.

    An error leaves the device as before. Torch alone, before 2.13, would take the recording for still under way (its
    pull requests 180395 and 190348): nothing else could be recorded, and no memory returned.
    """
    try:
        # The outer context restores the stream: torch does not where ending the recording raises an error.
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=pool, stream=stream):
            yield
    except RuntimeError:
        with suppress(RuntimeError):  # by the first call, where torch has ended the use of the pool itself
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
            torch._C._cuda_releasePool(torch.cuda.current_device(), pool)
        raise


def why_not_recorded(error: BaseException) -> str:
    """Name and first line of the error for which a step could not be recorded.

    Ending a recording after an error raises a second one, which says only that there was a first, its context.
    """
    while isinstance(error, RuntimeError) and error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
