"""Random numbers that depend on a key alone: drawn on the host, so that no device and no other draw changes them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dual_data.ids import digest


def generator(key: str) -> torch.Generator:
    """A generator on the host whose seed is a hash of the key."""
    return torch.Generator().manual_seed(int(digest(key, 15), 16))


def uniform(key: str, *shape: int) -> Tensor:
    """Values between -1 and 1 in float32."""
    return torch.rand(shape, generator=generator(key)) * 2 - 1


def xavier(fan_in: int, fan_out: int) -> float:
    """The largest value in a matrix as Glorot and Bengio 2010 initialise it uniformly."""
    return math.sqrt(6.0 / (fan_in + fan_out))
