"""Work counted without a GPU: the real code runs on tensors that have a shape and no content.

Counted are operations, bytes, kernels and the memory in use, at the sizes of the real model. A kernel takes at least
max(operations / rate, bytes / bandwidth) seconds at a machine's two ceilings. The sum over kernels is a lower bound for
a replayed graph, and for eager code, which also waits for one launch per kernel.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.evaluation.ceilings import Ceilings
from dual_data.evaluation.models import norms
from dual_data.evaluation.training import schedule as order
from dual_data.evaluation.training import training_run

H100 = Ceilings(798e12, 3.0e12, 9.8e-6)
"""Measured once on an H100 80GB HBM3 with torch 2.11."""


class Cost(NamedTuple):
    """What a piece of code costs."""

    flops: float
    bytes: float
    """Read and written by all kernels, each operand once per kernel."""
    kernels: int
    seconds: float
    """Sum over kernels of their least time at the ceilings."""
    peak_bytes: int
    """Most memory in use at once, weights included."""
    slowest: list[tuple[str, float]]
    """Kernels by name with their share of the seconds, the longest first."""

    def eager_seconds(self) -> float:
        """The least time where kernels are launched one by one; a launch overlaps with the kernel before it."""
        return max(self.seconds, self.kernels * H100.launch_seconds)


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while it is active. Views cost nothing; memory is that of the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self._known: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Start counting anew; what is alive stays alive."""
        self.flops = self.bytes = self.seconds = 0.0
        self.kernels = 0
        self.peak = self.live
        self._by_name: Counter[str] = Counter()

    def read(self) -> Cost:
        """What was counted since the last reset."""
        slowest = [(name, float(seconds)) for name, seconds in self._by_name.most_common(12)]
        return Cost(self.flops, self.bytes, self.kernels, self.seconds, self.peak, slowest)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in outputs:
            self._own(tensor)
        inputs = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)]
        name = str(func.overloadpacket).removeprefix("aten.").removeprefix("counted.")
        if outputs and not _is_view(func, name):
            if name == "baddbmm":  # copies its first operand, and adds to the copy
                self._count("copy_", 2 * _bytes(args[0]))
            self._count(name, _moved(name, args, inputs, outputs), _flops(name, args, outputs[0]))
        return result

    def _count(self, name: str, size: int, operations: float = 0.0) -> None:
        seconds = max(operations / H100.flops, size / H100.bytes)
        self.flops += operations
        self.bytes += size
        self.seconds += seconds
        self.kernels += 1
        self._by_name[name] += seconds  # type: ignore[assignment]

    def _own(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) in self._known:
            return
        key, size = id(storage), storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._disown, key, size)

    def _disown(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextmanager
def counting() -> Iterator[Meter]:
    """Inside, new tensors have no content, and operations on them are counted."""
    meter = Meter()
    real = order.plan

    def plan(*args: Any, **kwargs: Any) -> order.Plan:
        with unset_fake_temporarily():  # the order of rows needs real tensors
            return real(*args, **kwargs)

    kernel = mock.patch.object(norms, "rms_norm", _rms_norm_kernel)
    with FakeTensorMode(), meter, mock.patch.object(training_run, "plan", plan), kernel:
        yield meter


def counted(meter: Meter, do: Callable[[], object]) -> Cost:
    """The work of `do`."""
    meter.reset()
    do()
    return meter.read()


def _rms_norm_kernel(rows: Tensor, _: object, weight: Tensor, __: float) -> Tensor:
    """One kernel, as on a GPU: on a processor torch splits the norm into several."""
    output: Tensor = torch.ops.counted.rms_norm(rows, weight)[0]
    return output


@torch.library.custom_op("counted::rms_norm", mutates_args=())
def _rms_norm(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Rows divided by their root mean square, and the root mean squares, which the backward pass needs."""
    raise NotImplementedError("counted, and never computed")


@torch.library.custom_op("counted::rms_norm_backward", mutates_args=())
def _rms_norm_backward(gradient: Tensor, rows: Tensor, weight: Tensor, rms: Tensor) -> Tensor:
    raise NotImplementedError("counted, and never computed")


@_rms_norm.register_fake
def _(rows: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(rows), rows.new_empty(rows.shape[:-1], dtype=torch.float32)


@_rms_norm_backward.register_fake
def _(gradient: Tensor, rows: Tensor, weight: Tensor, rms: Tensor) -> Tensor:  # noqa: ARG001
    return torch.empty_like(rows)


def _save_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
    return torch.ops.counted.rms_norm_backward(gradient, *ctx.saved_tensors), None


_rms_norm.register_autograd(_backward, setup_context=_save_for_backward)

_ALIASES = ("detach", "alias", "_unsafe_view", "lift_fresh", "_reshape_alias", "prim.device", "arange")
_UNWRITTEN = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
_FREE = frozenset((*_ALIASES, *_UNWRITTEN))
_FILLED = ("zero_", "fill_", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full")


def _moved(name: str, args: tuple[Any, ...], inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Bytes read and written; gathering and scattering count only the rows that they touch, and what is overwritten is
    not read.
    """
    if name in ("embedding", "index_select", "gather", "index"):
        return 2 * _bytes(outputs[0])
    if name in ("index_copy_", "index_add_"):
        return 2 * _bytes(args[3])
    if name == "copy_":
        return _bytes(args[0]) + _bytes(args[1])
    if name in _FILLED:
        return _bytes(outputs[0])
    return sum(_bytes(tensor) for tensor in (*inputs, *outputs))


def _is_view(func: Any, name: str) -> bool:
    return name in _FREE or bool(getattr(func, "is_view", False))


def _bytes(tensor: Tensor) -> int:
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _flops(name: str, args: tuple[Any, ...], output: Tensor) -> float:
    """Operations of products and attention, a multiplication and an addition being two; nothing else counts."""
    if name in ("mm", "bmm"):
        return 2.0 * output.numel() * int(args[0].shape[-1])
    if name in ("addmm", "baddbmm", "baddbmm_"):
        return 2.0 * output.numel() * int(args[1].shape[-1])
    if name.startswith("_scaled_dot_product"):
        backward = name.endswith("backward")
        query, key = args[1:3] if backward else args[:2]
        return (10.0 if backward else 4.0) * int(query.numel()) * int(key.shape[-2])
    return 0.0
