"""A simulated day of a service with limits: it records every request, and whether the client obeyed."""

from __future__ import annotations

import random
from collections import deque

from dual_data.calls.log import WINDOW
from dual_data.errors import Transient
from tests.clock import FakeClock


class Service:
    """Answers with some delay; now and then asks for a pause, lags, or fails.

    `broken` holds what the client did wrong: a request too many in a window, or one during a pause.
    """

    def __init__(self, clock: FakeClock, per_minute: int, latency: float, seed: int) -> None:
        self.clock, self.per_minute, self.latency = clock, per_minute, latency
        self.random = random.Random(seed)
        self.arrivals = 0
        self.pauses = 0
        self.broken: list[str] = []
        self._window: deque[float] = deque()
        self._closed_until = 0.0

    def answer(self) -> int:
        """One request. Raises Transient, as a client does for 429, maxlag and 500."""
        now = self.clock.now()
        self.arrivals += 1
        while self._window and self._window[0] <= now - WINDOW:
            self._window.popleft()
        self._window.append(now)
        if len(self._window) > self.per_minute:
            self.broken.append(f"{len(self._window)} requests in the minute before {now}")
        if now < self._closed_until:
            self.broken.append(f"asked {self._closed_until - now:.3f} s too early")
        self.clock.time += self.random.expovariate(1 / self.latency)
        chance = self.random.random()
        if chance < 0.002:
            self._refuse(self.random.uniform(1, 200), "429")
        if chance < 0.004:
            self._refuse(5.0, "maxlag")
        if chance < 0.014:
            raise Transient("500")
        return self.arrivals

    def _refuse(self, seconds: float, message: str) -> None:
        self.pauses += 1
        self._closed_until = self.clock.now() + seconds
        raise Transient(message, retry_after=seconds)
