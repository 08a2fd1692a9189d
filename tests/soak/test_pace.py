"""Pacing over a simulated day: no minute holds a request too many, whatever fails, stops or starts again."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from dual_data.errors import Refused, ServiceError, Transient
from tests.clock import FakeClock
from tests.soak.day import Service

HOUR = 3600.0
PACE = {"wikidata": Pace(per_minute=30), "wikipedia": Pace(per_minute=190)}


def live(path: Path, hours: float, seed: int) -> dict[str, Service]:
    """Build after build on one log for some hours, each stopped at a random moment."""
    clock, chance = FakeClock(), random.Random(seed)
    services = {
        "wikidata": Service(clock, 30, latency=0.8, seed=seed + 1),
        "wikipedia": Service(clock, 190, latency=0.1, seed=seed + 2),
    }
    end = clock.now() + hours * HOUR
    number = 0
    while clock.now() < end:
        calls = Calls(path, PACE, clock=clock)
        for source in chance.choices(list(services), k=2):
            for _ in range(chance.randrange(400)):
                number += 1
                try:
                    calls.fetch(source, {"n": number}, services[source].answer)
                except ServiceError:
                    break
                if clock.now() >= end:
                    break
        # Some end in order; some are killed, which closes nothing.
        if chance.random() < 0.5:
            calls.close()
        else:
            del calls
    return services


def assert_limits_kept(services: dict[str, Service]) -> None:
    for service in services.values():
        assert service.pauses > 0
        assert service.broken == []


def test_hours_of_builds_keep_to_the_limits(tmp_path: Path) -> None:
    services = live(tmp_path / "calls.sqlite", 1, seed=1)
    assert_limits_kept(services)
    # Never too fast, and not needlessly slow either: pauses and failures cost less than half of the time.
    assert sum(service.arrivals / service.per_minute for service in services.values()) > 30


@pytest.mark.slow
def test_a_day_of_builds_keeps_to_the_limits(tmp_path: Path) -> None:
    services = live(tmp_path / "calls.sqlite", 24, seed=24)
    assert_limits_kept(services)
    assert sum(service.arrivals / service.per_minute for service in services.values()) > 24 * 30


@pytest.mark.parametrize("back", [0.5, 59.0, 3600.0])
def test_a_clock_that_goes_back_lets_no_request_through_too_early(tmp_path: Path, back: float) -> None:
    clock = FakeClock()
    real: list[float] = []
    offset = 0.0

    def do() -> int:
        real.append(clock.now() + offset)
        return 1

    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(per_minute=10)}, clock=clock)
    for number in range(60):
        if number == 25:
            clock.time -= back
            offset += back
        calls.fetch("a", {"n": number}, do)
    assert all(late - early >= 60 for early, late in zip(real, real[10:], strict=False))


def test_a_ban_ends_calls_that_wait_for_their_turn(tmp_path: Path) -> None:
    """Seven of eight wait for half an hour to pass: none of them is sent after the eighth was refused."""
    sent: list[int] = []
    together = threading.Barrier(8, timeout=10)

    def do(request: object) -> int:
        assert isinstance(request, dict)
        sent.append(request["n"])
        together.wait()
        if request["n"] == 0:
            time.sleep(0.2)
            raise Refused("banned until tomorrow")
        raise Transient("busy", retry_after=1800)

    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=8, longest_wait=3600)})
    began = time.monotonic()
    with pytest.raises(Refused, match="banned until tomorrow"):
        calls.fetch_all("a", [{"n": n} for n in range(100)], do)
    assert time.monotonic() - began < 60
    assert len(sent) == 8
