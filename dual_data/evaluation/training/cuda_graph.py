"""Training steps recorded as CUDA graphs and replayed: a replay launches once what a step launches kernel by kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import torch
from transformers import PreTrainedModel

from dual_data.evaluation.device.memory import is_out_of_memory

if TYPE_CHECKING:
    from dual_data.evaluation.training.train import TrainingRun

WARM_UP = 3
"""Steps taken before one is recorded; they count."""

_EAGER: WeakSet[PreTrainedModel] = WeakSet()
"""Models that do what cannot be recorded, found by trying; a failed try keeps memory, so there is one."""

_STREAMS: WeakKeyDictionary[PreTrainedModel, torch.cuda.Stream] = WeakKeyDictionary()
"""One for all runs of a model. Torch has 32 that it hands out in turn, keeps memory for cuBLAS for each, and lets go of
that with any graph recorded there: a run must not get the stream on which live graphs, of decoding, were recorded.
"""


class Replayed:
    """Steps of a run: eager while warming up, then recorded once and replayed."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._taken = 0
        if run.model not in _STREAMS:
            _STREAMS[run.model] = torch.cuda.Stream(run.device)  # type: ignore[no-untyped-call]
        self._stream = _STREAMS[run.model]
        self._graphs: tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph] | None = None

    def __call__(self) -> None:
        current = torch.cuda.current_stream(self._run.device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                if self._taken == WARM_UP:
                    if self._run.model not in _EAGER:
                        self._record()
                    if self._graphs is None:
                        self._run.note("recorded", 0.0)
                if self._graphs is None:
                    self._run.step()
                else:
                    micro, update = self._graphs
                    for _ in range(self._run.advance()):
                        micro.replay()
                    update.replay()
        finally:  # after an error too: who tries again writes where this stream may be writing
            current.wait_stream(self._stream)
        self._taken += 1

    def _record(self) -> None:
        """Work recorded is not executed, so recording changes no weight."""
        micro, update = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(micro, stream=self._stream):
                self._run.micro()
            with torch.cuda.graph(update, pool=micro.pool(), stream=self._stream):
                self._run.update()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            _EAGER.add(self._run.model)
        else:
            self._graphs = micro, update
