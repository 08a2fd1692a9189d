"""The ceilings of a machine: how fast it multiplies and how fast it moves memory. Measured, not read off a sheet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.evaluation.clock import is_gpu, wait


class Ceilings(NamedTuple):
    """Rates that no code can exceed."""

    flops: float
    """Operations a second of a large product of bfloat16 matrices (float32 on a CPU)."""
    bytes: float
    """Bytes a second, read and written, of a large copy within the device's memory."""
    launch_seconds: float
    """Host time of one small operation: the least time of a small kernel without graphs."""
    link: float | None = None
    """Bytes a second from pinned memory of the host to a GPU, in a large copy."""


def ceilings(device: str) -> Ceilings:
    """Measure the rates: the best of five means over repeats."""
    on_gpu = is_gpu(device)
    size = 8192 if on_gpu else 1024
    dtype = torch.bfloat16 if on_gpu else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    c = torch.empty_like(a)
    product = _best(lambda: torch.mm(a, b, out=c), device)
    source = torch.empty((1 << 31) if on_gpu else (1 << 26), dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    copy = _best(lambda: target.copy_(source), device)
    small = torch.zeros(8, device=device)
    launch = _best(lambda: small.add_(1.0), device, repeats=1000)
    link = None
    if on_gpu:
        host = torch.empty(1 << 30, dtype=torch.int8, pin_memory=True)
        link = host.numel() / _best(lambda: target[: host.numel()].copy_(host, non_blocking=True), device)
    return Ceilings(2.0 * size**3 / product, 2.0 * source.numel() / copy, launch, link)


def _best(do: Callable[[], object], device: str, repeats: int = 10) -> float:
    means = []
    for _ in range(5):
        do()
        wait(device)
        began = time.perf_counter()
        for _ in range(repeats):
            do()
        wait(device)
        means.append((time.perf_counter() - began) / repeats)
    return min(means)
