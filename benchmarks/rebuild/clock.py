"""A virtual clock for many threads."""

from __future__ import annotations

import threading

from dual_data.calls.fetching import Clock


class VirtualClock(Clock):
    """A clock on which sleeping takes no real time, and on which sleeps of different threads overlap.

    Every thread remembers the time that it last read. A sleep ends that much later, and moves the common time there
    unless another thread has moved it further.
    """

    def __init__(self, start: float) -> None:
        self._time = start
        self._lock = threading.Lock()
        self._own = threading.local()

    def now(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            self._own.time = self._time
            return self._time

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass for this thread."""
        with self._lock:
            self._own.time = getattr(self._own, "time", self._time) + seconds
            self._time = max(self._time, self._own.time)
