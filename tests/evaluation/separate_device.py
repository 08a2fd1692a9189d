"""A device without hardware: its tensors are kept apart from the host's, and every exchange between the two is seen.

It computes on the processor. What a GPU refuses is refused, an operation on tensors of both places; and what makes the
host wait for a GPU is counted: a number or a tensor that is read back, or a size that depends on values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.evaluation.emulated_graphs import INDEXED, READS, chooses

NAME = "apart"
_COPIES = ("_to_copy", "copy_")


class Apart(Tensor):
    """A tensor of the device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Apart:
        """Take a tensor of the host for one of the device."""
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        """Shape and type; values would be a wait."""
        return f"Apart({tuple(self.shape)}, {self.dtype})"

    def tolist(self) -> Any:
        """Read back, which torch does not do for a subclass by itself."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {}, Counter())  # in the backward pass's own thread, where no watch is on


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Puts on the device what is made there, and counts what the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: Counter[str] = Counter()
        """By operation."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self.waits)


def register() -> None:
    """Let torch know the device: once a process, and before its first backward pass, which makes a thread a device."""
    _setup_privateuseone_for_python_backend(NAME)


@contextmanager
def separate_device() -> Iterator[Watch]:
    """`torch.device("apart")` can be used inside; `register` must have been called."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(..., device=) sends what the host has made
    try:
        with Watch() as watch:
            yield watch
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    name = str(func.overloadpacket).removeprefix("aten.")
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    here = [one for one in tensors if isinstance(one, Apart)]
    to = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
    if not here and to != NAME:
        return func(*args, **kwargs)
    back = to == "cpu" or (name == "copy_" and not isinstance(args[0], Apart))
    if back or name in READS or chooses(name, args):
        waits[name] += 1
    # A number may come from the host, as a GPU has it.
    if here and name not in _COPIES and any(one.dim() for one in tensors if not isinstance(one, Apart)):
        if name not in INDEXED or not isinstance(args[0], Apart):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        waits["index of the host"] += 1
    on_host = {**kwargs, **({"device": "cpu"} if to else {})}
    found = func(*tree_map_only(Apart, _held, args), **tree_map_only(Apart, _held, on_host))
    if back:
        return args[0] if name == "copy_" else found
    found = tree_map_only(Tensor, Apart, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if here else found  # type: ignore[no-untyped-call]


def _held(tensor: Apart) -> Tensor:
    return tensor.held
