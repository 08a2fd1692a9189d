"""CUDA graphs emulated on a CPU: operations on tensors are recorded, and a replay repeats them on the same tensors.

As on a GPU, recording has no effect, and a replay does not repeat what the host did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"_local_scalar_dense", "item", "equal", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero"}
"""Operations in which the host waits for a number or for the size of a result."""
WRITES = {"lift_fresh", "randn", "rand", "randint", "randperm", "normal_", "uniform_", "bernoulli_"}
"""Operations that read data of the host or a generator, which a replay would not repeat correctly."""

INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


def chooses(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation selects by a boolean mask, so that the size of its result depends on values."""
    indices = args[1] if name in INDEXED else ()
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations in order, with the tensors with which they were called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(func.overloadpacket).removeprefix("aten.")
        if chooses(name, args):
            name = "nonzero"  # to which a GPU turns it
        self.names.add(name)
        schema = func._schema
        written = [
            value
            for position, argument in enumerate(schema.arguments)
            if argument.alias_info is not None
            and argument.alias_info.is_write
            and isinstance(value := args[position] if position < len(args) else kwargs.get(argument.name), Tensor)
        ]
        for tensor in written:
            self._keep(tensor)
        output = func(*args, **kwargs)
        new_tensors = [] if any(returned.alias_info is not None for returned in schema.returns) else _tensors(output)
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in new_tensors}
        if new_tensors or written:  # a view needs no replay
            self._calls.append((func, args, kwargs, new_tensors))
        return output

    def undo(self) -> None:
        """Restore what was written, since recording has no effect."""
        for tensor, values in self._before.values():
            tensor.copy_(values)

    def replay(self) -> None:
        """Repeat all operations in place."""
        with torch.no_grad():
            for func, args, kwargs, targets in self._calls:
                for tensor, source in zip(targets, _tensors(func(*args, **kwargs)), strict=bool(targets)):
                    tensor.copy_(source)

    def _keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own and storage.data_ptr() not in self._before:
            whole = torch.empty(0, dtype=tensor.dtype).set_(storage)
            self._before[storage.data_ptr()] = (whole, whole.clone())


def refuse(recording: Recording) -> None:
    """Raise RuntimeError where a GPU could not have recorded this."""
    if unable := recording.names & (READS | WRITES):
        raise RuntimeError(f"not permitted when stream is capturing: {', '.join(sorted(unable))}")


def _tensors(output: Any) -> list[Tensor]:
    return [value for value in (output if isinstance(output, tuple | list) else [output]) if isinstance(value, Tensor)]


_POOL = (0, 1)
_left: list[str] = []
"""What a failed recording leaves in torch 2.11: its pool is in use, and nothing is recorded until that is undone."""


def _undo(what: str, *_: Any) -> None:
    if what not in _left:
        raise RuntimeError(f"the pool is not {what}")
    _left.remove(what)


class Graph:
    """Replaces `torch.cuda.CUDAGraph`."""

    recorded = 0
    replayed = 0

    def __init__(self) -> None:
        self.recording = Recording()

    def replay(self) -> None:
        """Repeat what was recorded."""
        Graph.replayed += 1
        self.recording.replay()

    def pool(self) -> tuple[int, int]:
        """Id of the graph's memory pool."""
        return _POOL


class _Stream:
    def __init__(self, *_: Any) -> None: ...

    def wait_stream(self, _: Any) -> None: ...


_current = [_Stream()]


@contextmanager
def _graph(graph: Graph, stream: _Stream | None = None, **_: Any) -> Iterator[None]:
    assert not _left, "captures_underway.empty() INTERNAL ASSERT FAILED"
    Graph.recorded += 1
    before, _current[0] = _current[0], stream or _Stream()
    try:
        with graph.recording:
            yield
        graph.recording.undo()
        refuse(graph.recording)
    except RuntimeError:  # ending the recording then raises an error of its own, and the pool stays in use
        _left.extend(["recorded into", "referred to"])
        raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904
    _current[0] = before  # as in torch, not after an error


@contextmanager
def _on(stream: _Stream) -> Iterator[None]:
    before, _current[0] = _current[0], stream
    try:
        yield
    finally:
        _current[0] = before


def emulate(monkeypatch: pytest.MonkeyPatch) -> type[Graph]:
    """Make `graphs=True` work without a GPU. Returns the class, which counts graphs and replays."""
    Graph.recorded = Graph.replayed = 0
    _left.clear()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", _graph)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", _on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: _current[0])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: _POOL)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", partial(_undo, "recorded into"), raising=False)
    monkeypatch.setattr(torch._C, "_cuda_releasePool", partial(_undo, "referred to"), raising=False)
    return Graph
