"""The memory and the processor time that a measured process takes."""

from __future__ import annotations

import os
import time
from pathlib import Path


def peak_megabytes() -> float:
    """Sum of the peak memory of this process and its descendants, such as Spark's Java.

    getrusage would give the parent's peak if that was higher before the fork.
    """
    kilobytes = 0
    for process in _family():
        status = (process / "status").read_text(encoding="ascii", errors="replace")
        # A process that has ended and was not waited for has no such line.
        kilobytes += int((status.partition("VmHWM:")[2].split() or ["0"])[0])
    return kilobytes / 1024


def cpu_seconds() -> float:
    """Processor time of this process and its descendants."""
    ticks = 0
    for process in _family()[1:]:
        ticks += sum(int(word) for word in _fields(process)[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _family() -> list[Path]:
    """Folders in /proc of this process and its descendants, this one first."""
    parents: dict[str, list[str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parents.setdefault(_fields(process)[1], []).append(process.name)
        except (FileNotFoundError, ProcessLookupError):
            continue  # The process has just ended.
    pids = [str(os.getpid())]
    for pid in pids:
        pids += parents.get(pid, [])
    return [Path("/proc") / pid for pid in pids]


def _fields(process: Path) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold spaces."""
    return (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
