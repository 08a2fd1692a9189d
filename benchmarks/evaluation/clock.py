"""Wall time, processor time and peak memory of the parts of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def is_gpu(device: str) -> bool:
    """Whether a device has a clock and a memory of its own."""
    return device.startswith("cuda")


def wait(device: str) -> None:
    """Wait until a GPU has done all its work; nothing to wait for on a processor."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


class Clock:
    """Seconds by part; every reading waits for the device first.

    Processor seconds are those of all threads of this process: on a shared machine only they are meaningful for work
    done on the processor.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peak_bytes: dict[str, int] = {}
        """Of tensors; those of graphs count only while they are recorded."""
        self.reserved_bytes: dict[str, int] = {}
        """Taken from the device at the peak: also graphs' memory, and what is kept for later tensors."""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to `name`, and keep the peak memory of all such blocks."""
        wait(self.device)
        if is_gpu(self.device):
            torch.cuda.reset_peak_memory_stats(self.device)
        began, busy = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wait(self.device)
            self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + time.process_time() - busy
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
            if is_gpu(self.device):
                for peaks, peak in (
                    (self.peak_bytes, torch.cuda.max_memory_allocated(self.device)),
                    (self.reserved_bytes, torch.cuda.max_memory_reserved(self.device)),
                ):
                    peaks[name] = max(peak, peaks.get(name, 0))

    def merge(self, part: str, into: str) -> None:
        """Count a part as one of another."""
        for seconds in (self.seconds, self.cpu_seconds):
            seconds[into] += seconds.pop(part)
        for peaks in (self.peak_bytes, self.reserved_bytes):
            if part in peaks:
                peaks[into] = max(peaks[into], peaks.pop(part))
