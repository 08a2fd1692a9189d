"""One base for several processes, each with a part of every layer (FSDP: Zhao et al. 2023, arXiv 2304.11277).

For a model that fits no single device. Each process, one a device, gathers a layer's weights while it computes the
layer and drops them again; it trains and measures cells of its own, whose adapters it holds whole, so no gradient
travels. To gather takes all processes: they go through the same passes in the same order. What decides about passes is
decided once, by the first of them or by all together; of cells that go together each process has as many as the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.devices import settle
from dual_data.evaluation.models.loading import Loaded, decoder_layers
from dual_data.evaluation.models.norms import fuse_norms

Value = TypeVar("Value")


class Ranks(NamedTuple):
    """A process among those that share one base."""

    rank: int = 0
    size: int = 1
    meeting: Path = Path()
    """A file by which the processes find each other; it does not exist before."""

    @property
    def first(self) -> bool:
        """Whether this process decides, and writes what is not of one cell."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether nothing is shared."""
        return self.size == 1

    def agree(self, value: Value) -> Value:
        """What the first process has for a value."""
        if self.alone:
            return value
        held: list[Any] = [value]
        dist.broadcast_object_list(held, src=0)
        found: Value = held[0]
        return found

    def wait(self) -> None:
        """Go on when all are here."""
        if not self.alone:
            dist.barrier()

    def share(self, things: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """This process's part of things; and that part filled up with others', so that all have as many."""
        each = -(-len(things) // self.size)
        own = list(things[self.rank * each : (self.rank + 1) * each])
        return own, own + list(things[-1:]) * (each - len(own))


ALONE = Ranks()


@contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[None]:
    """Be one of the processes inside."""
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
    """Whether this process shares a base with others, and must not take a pass that they do not take."""
    return dist.is_initialized()


def can_record(device: torch.device) -> bool:
    """Whether passes there may be recorded as CUDA graphs: not those that gather the layers of a shared base."""
    return device.type == "cuda" and not is_sharing()


class OutOfStep(Exception):
    """Memory ran out in one of several processes that share a base: the others wait for it, so all must end."""


def stay_in_step() -> None:
    """Call it where memory ran out, before anything smaller is tried. Raises OutOfStep where a base is shared."""
    if is_sharing():
        raise OutOfStep(
            "out of memory, and processes that share a base can try nothing smaller by themselves: use fewer cells at "
            "once (--cells-at-once), fewer rows (--rows), a smaller `micro`, or more devices"
        )


def anywhere(value: bool) -> bool:
    """Whether it is so in any of the processes."""
    if not is_sharing():
        return value
    found = torch.tensor([int(value)])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def shard(loaded: Loaded, ranks: Ranks, device: str) -> Loaded:
    """A model that was loaded on the processor, on the device with this process's part of every layer.

    What stands outside of the layers (embedding, last norm, head) every process has whole. Raises UsageError where the
    layers cannot be told, and before torch 2.7.
    """
    if "ignored_params" not in inspect.signature(fully_shard).parameters:
        raise UsageError(f"--shard needs torch 2.7 or newer, and {torch.__version__} is installed")
    model: Any = loaded.model
    layers = decoder_layers(model)
    target = torch.device(device)
    if target.type == "cuda":
        fuse_norms(model)
    mesh = init_device_mesh(target.type, (ranks.size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    inside = {id(module) for layer in layers for module in layer.modules()}
    whole = set[nn.Parameter]()
    for module in model.modules():
        if id(module) not in inside:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(target)
                whole.add(parameter)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(target))
    fully_shard(model.base_model, mesh=mesh, ignored_params=whole)
    return loaded


def held(weight: Tensor) -> Tensor:
    """What this process holds of a layer's weight: some of its rows where it is sharded, to be written in place."""
    return weight.to_local() if isinstance(weight, DTensor) else weight


def rows_held(weight: Tensor) -> slice:
    """Which rows of a weight that is."""
    if not isinstance(weight, DTensor):
        return slice(None)
    mesh = weight.device_mesh
    start = mesh.get_local_rank() * -(-weight.shape[0] // mesh.size())
    return slice(start, start + weight.to_local().shape[0])


def refuse_if_shared(model: PreTrainedModel, why: str) -> None:
    """Raise DualDataError where the slow engine would be needed, whose generation ends in each process by itself."""
    if is_sharing():
        raise DualDataError(f"{type(model).__name__} cannot be measured on several devices at once (--shard): {why}")
