"""One base sharded over several processes (FSDP: Zhao et al. 2023, arXiv 2304.11277).

For a model that fits no single device. There is one process per device. Each gathers a layer's weights to compute the
layer and drops them again; it trains and measures its own cells, whose adapters it holds whole, so no gradients are
exchanged. Gathering takes all processes, so all make the same passes in the same order. Whatever determines the passes
is decided once, by the first process or by all together, and each process has the same number of cells at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from dual_data.errors import DualDataError
from dual_data.evaluation.device.devices import settle

Value = TypeVar("Value")


class Ranks(NamedTuple):
    """One of the processes that share a base."""

    rank: int = 0
    size: int = 1
    meeting: Path = Path()
    """A file through which the processes find each other; it must not exist before."""

    @property
    def first(self) -> bool:
        """Whether this process decides for all, and writes what does not belong to one cell."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether no base is shared."""
        return self.size == 1

    def agree(self, value: Value) -> Value:
        """The value that the first process has."""
        if self.alone:
            return value
        objects: list[Any] = [value]
        dist.broadcast_object_list(objects, src=0)
        agreed: Value = objects[0]
        return agreed

    def wait(self) -> None:
        """Wait until all processes are here."""
        if not self.alone:
            dist.barrier()

    def share(self, things: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """This process's share of `things`, and the share filled up with the last thing to equal length for all."""
        count = -(-len(things) // self.size)
        own = list(things[self.rank * count : (self.rank + 1) * count])
        return own, own + list(things[-1:]) * (count - len(own))


ALONE = Ranks()


@contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[None]:
    """Inside, this process is one of those that share a base."""
    if ranks.alone:
        yield
        return
    settle(device)
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, init_method=f"file://{ranks.meeting}", rank=ranks.rank, world_size=ranks.size)
    try:
        yield
    finally:
        dist.destroy_process_group()


def is_sharing() -> bool:
    """Whether this process shares a base with others, and must not make a pass that they do not make."""
    return dist.is_initialized()


def can_record(device: torch.device) -> bool:
    """Whether passes on `device` can be recorded as CUDA graphs; those that gather layers of a shared base cannot."""
    return device.type == "cuda" and not is_sharing()


class OutOfStep(Exception):
    """Memory ran out in one of several processes that share a base. The others wait for it, so all must end."""


def stay_in_step() -> None:
    """To be called where memory ran out, before anything smaller is tried. Raises OutOfStep where a base is shared."""
    if is_sharing():
        raise OutOfStep(
            "out of memory, and processes that share a base can try nothing smaller by themselves: use fewer cells at "
            "once (--cells-at-once), fewer rows (--rows), a smaller `micro_batch`, or more devices"
        )


def anywhere(value: bool) -> bool:
    """Whether `value` is true in any of the processes."""
    if not is_sharing():
        return value
    flag = torch.tensor([int(value)])
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def held(weight: Tensor) -> Tensor:
    """This process's part of a weight: some of its rows where it is sharded. It can be written in place."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def rows_held(weight: Tensor) -> slice:
    """Which rows of a weight `held` gives."""
    if not isinstance(weight, DTensor):
        return slice(None)
    mesh = weight.device_mesh
    start = mesh.get_local_rank() * -(-weight.shape[0] // mesh.size())
    return slice(start, start + weight.to_local().shape[0])


def refuse_if_shared(model: PreTrainedModel, why: str) -> None:
    """Raise DualDataError where a base is shared: the plain engine, needed because of `why`, would be out of step."""
    if is_sharing():
        raise DualDataError(f"{type(model).__name__} cannot be measured on several devices at once (--shard): {why}")
