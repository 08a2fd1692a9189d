"""Root-mean-square norms (Zhang and Sennrich 2019, arXiv 1910.07467) by torch's single kernel for them.

Models compute such a norm with six kernels on float32 copies and keep several copies for the backward pass: that is a
sixth of the least time of a training step of an 8B model, and an eighth of a decoding step's. The single kernel also
computes in float32, but rounds once, where the models round before they multiply by the weight as well.
"""

from __future__ import annotations

import inspect
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

_EPSILONS = ("variance_epsilon", "eps", "epsilon")
_SCALES = (1.0, 1e-3)
"""Scales of the trial rows: the second is near the epsilon of a norm, so that it shows where that is added."""


@torch.no_grad()
def fuse_norms(model: nn.Module) -> int:
    """Use the kernel for every norm of the model whose output it reproduces in a trial. Returns their number.

    Norms that scale by 1 + weight, take a gate, or do anything else are left unchanged.
    """
    fusible = [norm for norm in norms_of(model) if _is_same(norm)]
    for norm in fusible:
        fuse(norm)
    return len(fusible)


def norms_of(model: nn.Module) -> list[nn.Module]:
    """The modules that look like such norms by name, weight and arguments."""
    return [
        module
        for module in model.modules()
        if "RMSNorm" in type(module).__name__
        and isinstance(weight := getattr(module, "weight", None), Tensor)
        and weight.dim() == 1
        and any(isinstance(getattr(module, name, None), float) for name in _EPSILONS)
        and len(inspect.signature(module.forward).parameters) == 1
    ]


def fuse(norm: nn.Module) -> None:
    """Compute one norm by the kernel."""
    norm.forward = MethodType(_forward, norm)


def _forward(norm: nn.Module, hidden: Tensor) -> Tensor:
    weight = norm.weight
    assert isinstance(weight, Tensor)
    return rms_norm(hidden, weight.shape, weight, _epsilon(norm))


def _epsilon(norm: nn.Module) -> float:
    return next(value for name in _EPSILONS if isinstance(value := getattr(norm, name, None), float))


def _is_same(norm: nn.Module) -> bool:
    weight = norm.weight
    assert isinstance(weight, Tensor)
    noise = torch.randn(len(_SCALES), weight.numel(), generator=torch.Generator().manual_seed(0))
    rows = (noise * torch.tensor(_SCALES)[:, None]).to(weight.device, weight.dtype)
    theirs, ours = norm(rows), _forward(norm, rows)
    if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
        return False
    # Allows two roundings of half a unit in the last place, with a margin.
    tolerance = 2 * torch.finfo(weight.dtype).eps
    return bool(((theirs - ours).float().norm(dim=1) <= tolerance * theirs.float().norm(dim=1)).all())
