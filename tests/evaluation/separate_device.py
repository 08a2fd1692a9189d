"""A device without hardware: its tensors are separate from the host's, and every exchange between the two is observed.

It computes on the CPU. As on a GPU, operations on tensors of both devices are refused. Everything is counted for which
the host would wait for a GPU: a number or a tensor that is read back, a tensor of the host that is copied there, or a
size that depends on values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from tests.evaluation.emulated_graphs import INDEXED, READS, chooses

NAME = "apart"
_COPIES = ("_to_copy", "copy_")


class Apart(Tensor):
    """A tensor of the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Apart:
        """Wrap a tensor of the host as one of the device."""
        wrapper: Any = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        wrapper.held = held
        return wrapper  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Shape and dtype; showing values would wait for the device."""
        return f"Apart({tuple(self.shape)}, {self.dtype})"

    def tolist(self) -> Any:
        """Read the values back, which torch does not do for a subclass."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Only in the thread of the backward pass, which has no active watch.
        return _run(func, args, kwargs or {}, Counter())


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Creates tensors of the device, and counts what the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: Counter[str] = Counter()
        """By operation."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self.waits)


def register() -> None:
    """Register the device in torch: once per process, before its first backward pass, which starts its threads."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)


@contextmanager
def separate_device() -> Iterator[Watch]:
    """`torch.device("apart")` can be used inside; `register` must have been called."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(..., device=) copies data of the host
    try:
        with Watch() as watch:
            yield watch
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    name = str(func.overloadpacket).removeprefix("aten.")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    device_tensors = [tensor for tensor in tensors if isinstance(tensor, Apart)]
    target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    if not device_tensors and target != NAME:
        return func(*args, **kwargs)
    is_read_back = target == "cpu" or (name == "copy_" and not isinstance(args[0], Apart))
    if is_read_back or name in READS or chooses(name, args):
        waits[name] += 1
    elif name in _COPIES and len(device_tensors) < len(tensors):
        waits["copy of the host's"] += 1
    # A scalar may come from the host, as on a GPU.
    if (
        device_tensors
        and name not in _COPIES
        and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Apart))
    ):
        if name not in INDEXED or not isinstance(args[0], Apart):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        waits["index of the host"] += 1
    on_host = {**kwargs, **({"device": "cpu"} if target else {})}
    output = func(*tree_map_only(Apart, _held, args), **tree_map_only(Apart, _held, on_host))
    if is_read_back:
        return args[0] if name == "copy_" else output
    output = tree_map_only(Tensor, Apart, output)
    return return_and_correct_aliasing(func, args, kwargs, output) if device_tensors else output  # type: ignore[no-untyped-call]


def _held(tensor: Apart) -> Tensor:
    return tensor.held
