"""The faults of the services: at random, at limits, and delays on the virtual clock."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter, deque
from typing import NamedTuple

from benchmarks.rebuild.clock import VirtualClock
from tests.faults.proxy import CUT, Fault, Request, error_500, too_many

TOO_MANY, ERROR, BROKEN = 0.02, 0.01, 0.005
"""Shares of the answers that are 429 with Retry-After, are 500, and are cut in the middle with status 200."""
SLOW = 0.01
"""Share of the answers that take twenty times as long."""


class Limit(NamedTuple):
    """The limits of a service, and its speed."""

    per_minute: int | None
    seconds: float
    """Median time of an answer."""
    processing: float | None = None
    """Seconds of processing per minute, with a burst of twice as many, as Wikidata's query service allows."""
    at_once: int = 1
    """Requests that the client has under way together: their times overlap."""


class FaultInjector:
    """Decides what happens to each request of one service, and counts what the client did."""

    def __init__(self, limit: Limit, clock: VirtualClock, seed: str, *, faults: bool = True) -> None:
        self.limit, self.clock, self.faults = limit, clock, faults
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque()
        self._closed_until = 0.0
        self._budget, self._budget_at = 2 * (limit.processing or 0.0), clock.now()

    def __call__(self, request: Request) -> Fault | None:
        with self._lock:
            now = self.clock.now()
            self.counts["requests"] += 1
            if now < self._closed_until - 0.001:
                self.counts["during a pause"] += 1
            if refusal := self._over_the_limit(now):
                return refusal
            draw = self._rng.random() if self.faults else 1.0
            if draw < TOO_MANY:
                return self._pause(float(self._rng.randrange(1, 20)), "429")
            seconds = self.limit.seconds * math.exp(self._rng.gauss(0, 0.5))
            if self._rng.random() < SLOW:
                seconds *= 20
                self.counts["slow"] += 1
            self._budget -= seconds
        # The proxy decides one request at a time, so these sleeps follow each other on the clock. Divided, they add up
        # to the time of answers that are under way together.
        self.clock.sleep(seconds / self.limit.at_once)
        if draw < TOO_MANY + ERROR:
            return self._counted(error_500(), "500")
        if draw < TOO_MANY + ERROR + BROKEN:
            return self._counted(CUT, "cut")
        return self._counted(None, "answered")

    def _over_the_limit(self, now: float) -> Fault | None:
        if self.limit.per_minute is not None:
            while self._arrivals and self._arrivals[0] <= now - 60:
                self._arrivals.popleft()
            self._arrivals.append(now)
            if len(self._arrivals) > self.limit.per_minute:
                self.counts["too fast"] += 1
                return self._pause(math.ceil(self._arrivals[0] + 60 - now), "429 for speed")
        if self.limit.processing is not None:
            most = 2 * self.limit.processing
            self._budget = min(most, self._budget + (now - self._budget_at) * self.limit.processing / 60)
            self._budget_at = now
            if self._budget < 0:
                self.counts["too much processing"] += 1
                return self._pause(math.ceil(-self._budget * 60 / self.limit.processing), "429 for processing")
        return None

    def _pause(self, seconds: float, name: str) -> Fault:
        self._closed_until = max(self._closed_until, self.clock.now() + seconds)
        self.counts[name] += 1
        return too_many(seconds)

    def _counted(self, fault: Fault | None, name: str) -> Fault | None:
        with self._lock:
            self.counts[name] += 1
        return fault
