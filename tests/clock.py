"""A clock that waits for nobody."""

from __future__ import annotations


class FakeClock:
    """Starts at a fixed moment; sleeping moves it on at once and is written down."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.time += seconds
