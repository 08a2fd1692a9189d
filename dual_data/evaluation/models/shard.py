"""A model sharded over the devices of processes that share it (see `dual_data.evaluation.device.sharding`)."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from dual_data.errors import UsageError
from dual_data.evaluation.device.sharding import Ranks
from dual_data.evaluation.models.decoder import decoder_layers
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.norms import fuse_norms

CAN_SHARD = "ignored_params" in inspect.signature(fully_shard).parameters
"""Whether this torch can: 2.7 or newer."""


def shard(loaded: Loaded, ranks: Ranks, device: str) -> Loaded:
    """Move a model from the CPU to the device, with only this process's shard of every layer.

    Every process has the modules outside of the layers (embedding, last norm, head) whole. Raises UsageError for a
    model without a list of layers, and with torch before 2.7.
    """
    if not CAN_SHARD:
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
    outside = set[nn.Parameter]()
    for module in model.modules():
        if id(module) not in inside:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(target)
                outside.add(parameter)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.to(target))
    fully_shard(model.base_model, mesh=mesh, ignored_params=outside)
    return loaded
