"""The pace of a service: requests a minute, over restarts, threads and processes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.calls.log import WINDOW, CallLog, Wait
from dual_data.config import Pace
from dual_data.errors import DualDataError, Transient
from tests.calls.scripted import Flaky
from tests.clock import FakeClock


def test_the_pace_holds_across_restarts(tmp_path: Path) -> None:
    clock = FakeClock()
    starts: list[float] = []

    def do() -> int:
        starts.append(clock.now())
        return 1

    for run in range(4):
        calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(per_minute=10)}, clock=clock)
        for n in range(7):
            calls.fetch("a", {"run": run, "n": n}, do)
        calls.close()
    for start in starts:
        assert sum(start <= later < start + WINDOW for later in starts) <= 10
    # 28 requests at 10 a minute: the third minute begins at 120 s.
    assert starts[-1] - starts[0] == pytest.approx(120, abs=1)


def test_failed_tries_count_for_the_pace(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(per_minute=2, attempts=5)}, clock=clock)
    began = clock.now()
    calls.fetch("a", {}, Flaky(*[Transient("busy", retry_after=0)] * 4))
    assert clock.now() - began >= 2 * WINDOW


def test_a_clock_that_goes_back_does_not_block(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(per_minute=1)}, clock=clock)
    calls.fetch("a", {"n": 0}, lambda: [0])
    clock.time -= 100_000
    began = clock.now()
    calls.fetch("a", {"n": 1}, lambda: [1])
    assert clock.now() - began <= WINDOW


def test_the_pace_holds_for_processes_that_share_a_log(tmp_path: Path) -> None:
    first, second = (CallLog(tmp_path / "calls.sqlite", patience=0.1) for _ in range(2))

    def clock() -> float:
        with pytest.raises(DualDataError, match="is locked"):
            second.take_turn("a", 1, lambda: 0.0)
        return 0.0

    assert first.take_turn("a", 1, clock) is None
    assert second.take_turn("a", 1, lambda: 0.0) == Wait(WINDOW, asked=False)


class SlowClock(FakeClock):
    """Each reading is a second later than the last, and takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def now(self) -> float:
        with self.lock:
            self.time += 1
            moment = self.time
        time.sleep(0.002 * (moment % 3))
        return moment


def test_threads_that_start_at_once_do_not_look_like_a_clock_that_went_back(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=8, per_minute=1000)}, clock=SlowClock())
    calls.fetch_all("a", [{"n": n} for n in range(20)], lambda request: [request["n"]])
    starts = [at for (at,) in calls.log._connection.execute("SELECT at FROM starts")]
    assert len(set(starts)) == len(starts) == 20, "a start that seems to be in the future is moved to now"


def test_pace_is_found_by_the_first_part_of_a_name(tmp_path: Path) -> None:
    paces = {"local": Pace(concurrency=3), "judge": Pace(concurrency=2), "local:own": Pace(concurrency=4)}
    calls = Calls(tmp_path / "calls.sqlite", paces)
    assert [calls.pace(name).concurrency for name in ("local:a", "local:own", "judge", "other")] == [3, 4, 2, 1]
