"""CUDA graphs on a processor: what is recorded is operations on tensors, and a replay does them at the same places.

As on a GPU, recording executes nothing, and a replay knows nothing that the host did meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = {"_local_scalar_dense", "item", "equal", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero"}
"""The host waits for a number, or for how large a result is."""
WRITES = {"lift_fresh", "randn", "rand", "randint", "randperm", "normal_", "uniform_", "bernoulli_"}
"""Data of the host, or of a generator, whose place a replay would not find again."""

INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


def chooses(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an operation picks by truth values, so that how large its result is hangs on them."""
    masks = args[1] if name in INDEXED else ()
    return any(isinstance(mask, Tensor) and mask.dtype == torch.bool for mask in masks)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations in their order, on the tensors that they were called with."""

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
            name = "nonzero"  # what that is to a GPU
        self.names.add(name)
        schema = func._schema
        written = [
            value
            for place, argument in enumerate(schema.arguments)
            if argument.alias_info is not None
            and argument.alias_info.is_write
            and isinstance(value := args[place] if place < len(args) else kwargs.get(argument.name), Tensor)
        ]
        for tensor in written:
            self._keep(tensor)
        found = func(*args, **kwargs)
        made = [] if any(one.alias_info is not None for one in schema.returns) else _tensors(found)
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in made}
        if made or written:  # a view is where it was
            self._calls.append((func, args, kwargs, made))
        return found

    def undo(self) -> None:
        """Put back what was written: recording is no doing."""
        for tensor, values in self._before.values():
            tensor.copy_(values)

    def replay(self) -> None:
        """Do it all again, in place."""
        with torch.no_grad():
            for func, args, kwargs, made in self._calls:
                for tensor, fresh in zip(made, _tensors(func(*args, **kwargs)), strict=bool(made)):
                    tensor.copy_(fresh)

    def _keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own and storage.data_ptr() not in self._before:
            whole = torch.empty(0, dtype=tensor.dtype).set_(storage)
            self._before[storage.data_ptr()] = (whole, whole.clone())


def refuse(recording: Recording) -> None:
    """Fail where a GPU would not have recorded it."""
    if unable := recording.names & (READS | WRITES):
        raise RuntimeError(f"not permitted when stream is capturing: {', '.join(sorted(unable))}")


def _tensors(found: Any) -> list[Tensor]:
    return [one for one in (found if isinstance(found, tuple | list) else [found]) if isinstance(one, Tensor)]


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""

    recorded = 0
    replayed = 0

    def __init__(self) -> None:
        self.recording = Recording()

    def replay(self) -> None:
        """Do what was recorded."""
        Graph.replayed += 1
        self.recording.replay()

    def pool(self) -> tuple[int, int]:
        """Where a graph has its memory."""
        return (0, 0)


class _Stream:
    def __init__(self, *_: Any) -> None: ...

    def wait_stream(self, _: Any) -> None: ...


_current = [_Stream()]


@contextmanager
def _graph(graph: Graph, stream: _Stream | None = None, **_: Any) -> Iterator[None]:
    Graph.recorded += 1
    before, _current[0] = _current[0], stream or _Stream()
    with graph.recording:
        yield
    graph.recording.undo()
    refuse(graph.recording)
    _current[0] = before  # as torch has it: not after an error


@contextmanager
def _on(stream: _Stream) -> Iterator[None]:
    before, _current[0] = _current[0], stream
    try:
        yield
    finally:
        _current[0] = before


def emulate(monkeypatch: pytest.MonkeyPatch) -> type[Graph]:
    """Let `graphs=True` work without a GPU; the class counts."""
    Graph.recorded = Graph.replayed = 0
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", _graph)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", _on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: _current[0])
    return Graph
