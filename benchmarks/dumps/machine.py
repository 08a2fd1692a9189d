"""The machine of a measurement, and the memory and processor time that it takes."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("polars", "pyarrow", "isal", "narwhals", "pyspark")


def machine() -> dict[str, Any]:
    """Day, load, processor, memory, and versions of the packages that do the work."""
    # Imported here, since it would count in the memory of the measured processes.
    from dual_data.engine.manifest import versions

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
    }


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


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
