"""A fake clock, on which waiting takes no time."""

from __future__ import annotations

from dual_data.calls.fetching import Clock


class FakeClock(Clock):
    """Starts at a fixed moment; sleeping advances it at once and is recorded."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += seconds
