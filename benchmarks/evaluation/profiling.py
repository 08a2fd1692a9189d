"""Where the time of a piece of code goes on a GPU: kernels by name, and how long the device waits between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from torch.profiler import ProfilerActivity, profile

from benchmarks.evaluation.clock import is_gpu, wait

SHOWN = 15
"""Kernels of a profile that are kept, the longest."""


class Profile(NamedTuple):
    """One run of a piece of code."""

    seconds: float
    """Wall time, without the profiler."""
    busy: float
    """Seconds in which a kernel ran; the rest are gaps: launches, host code, waiting for copies."""
    kernels: int
    top: list[tuple[str, float, int]]
    """Kernels by name with seconds and count, the longest first."""


def profiled(do: Callable[[], object], device: str) -> Profile:
    """Run `do` once to warm up, once for the wall time, once under the profiler."""
    on_gpu = is_gpu(device)
    do()
    wait(device)
    began = time.perf_counter()
    do()
    wait(device)
    seconds = time.perf_counter() - began
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as profiler:  # torch 2.11 warns of one cycle without it
        do()
        wait(device)
    rows: list[tuple[str, float, int]] = []
    for event in profiler.key_averages():
        row: Any = event
        spent = row.self_device_time_total if on_gpu else row.self_cpu_time_total
        if spent:
            rows.append((str(row.key)[:90], spent / 1e6, int(row.count)))
    rows.sort(key=lambda row: -row[1])
    return Profile(seconds, sum(row[1] for row in rows), sum(row[2] for row in rows), rows[:SHOWN])
