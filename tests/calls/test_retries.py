"""Failures that pass are tried again, after the waits that a service asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls, Counts
from dual_data.calls.log import CallLog, Request, Wait
from dual_data.config import Pace
from dual_data.errors import Refused, ServiceError, TooLarge, Transient
from tests.calls.scripted import Flaky, never
from tests.clock import FakeClock


def test_passing_failures_are_tried_again_after_the_wait_that_was_asked_for(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=3, longest_wait=17)}, clock=clock)
    flaky = Flaky(Transient("busy", retry_after=17), Transient("busy"))
    assert calls.fetch("a", {}, flaky) == "answer"
    assert flaky.tries == 3
    assert clock.slept[0] == 17
    assert 2 <= clock.slept[1] <= 3
    assert calls.counts()["a"] == Counts(made=1, replayed=0, failed=2)


def test_tries_end(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=3)}, clock=FakeClock())
    flaky = Flaky(*[Transient(f"failure {n}") for n in range(5)])
    with pytest.raises(ServiceError, match="gave up after 3 tries; the last one: failure 2"):
        calls.fetch("a", {}, flaky)
    assert flaky.tries == 3


def test_waits_that_are_no_moment_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=6)}, clock=clock)
    with pytest.raises(ServiceError, match="gave up after 6 tries"):
        calls.fetch("a", {}, Flaky(*[Transient("connection\nrefused")] * 6))
    waits = [f"{seconds:.0f}" for seconds in clock.slept]
    assert capsys.readouterr().err == "".join(
        f"a: connection refused; trying again in {wait} s ({attempt} of 6)\n"
        for attempt, wait in enumerate(waits[2:], 4)
    )


def test_ever_longer_waits_end_at_the_longest(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=1100, longest_wait=5)}, clock=clock)
    flaky = Flaky(*[Transient("busy")] * 1099)
    assert calls.fetch("a", {}, flaky) == "answer"
    assert any(seconds % 1 for seconds in clock.slept[:3]), "clients that failed together do not return together"
    assert set(clock.slept[3:]) == {5}


@pytest.mark.parametrize("final", [Refused("banned"), TooLarge("timeout"), ServiceError("no")])
def test_other_failures_are_not_tried_again(tmp_path: Path, final: ServiceError) -> None:
    calls = Calls(tmp_path / "calls.sqlite", clock=FakeClock())
    flaky = Flaky(final)
    with pytest.raises(type(final), match=str(final)):
        calls.fetch("a", {}, flaky)
    assert flaky.tries == 1


def test_calls_that_wait_for_one_service_at_once_tell_it_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Standing(FakeClock):
        def sleep(self, seconds: float) -> None:
            pass

    def do(request: Request) -> None:
        raise Transient("busy")

    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=4, attempts=5)}, clock=Standing())
    with pytest.raises(ServiceError):
        calls.fetch_all("a", [{"n": n} for n in range(8)], do)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_pause_that_an_earlier_run_was_asked_for_is_told_and_waited_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=1)}, clock=clock) as calls, pytest.raises(ServiceError):
        calls.fetch("a", {}, Flaky(Transient("busy", retry_after=17)))
    assert capsys.readouterr().err == ""
    clock.time += 5
    with Calls(tmp_path / "calls.sqlite", {"a": Pace(attempts=1)}, clock=clock) as calls:
        calls.fetch("b", {}, Flaky())
        assert clock.slept == []
        calls.fetch("a", {"n": 1}, Flaky())
        calls.fetch("a", {"n": 2}, Flaky())
    assert clock.slept == [12]
    assert capsys.readouterr().err == "a: asked for a pause; going on in 12 s\n"


def test_a_service_that_asks_for_hours_ends_the_run(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(longest_wait=60)}, clock=clock)
    with pytest.raises(
        ServiceError, match=r"^a: asks to wait 86400 s, more than longest_wait \(60 s\).*after that time"
    ):
        calls.fetch("a", {}, Flaky(Transient("ban", retry_after=86400)))
    assert clock.slept == []


@pytest.mark.parametrize("key", ["server", "endpoint", "wiki"])
def test_what_one_server_asks_for_is_not_asked_of_another(tmp_path: Path, key: str) -> None:
    clock = FakeClock()
    # The wait for the pace is longer than the longest that a service may ask for, and is waited all the same.
    calls = Calls(tmp_path / "calls.sqlite", {"probe": Pace(per_minute=1, longest_wait=50)}, clock=clock)
    busy, local = {key: "https://api.example.org/v1"}, {key: "http://127.0.0.1:8000/v1"}
    with pytest.raises(ServiceError, match=r"^https://api\.example\.org/v1: asks to wait 3600 s"):
        calls.fetch("probe", busy, Flaky(Transient("busy", retry_after=3600)))
    assert calls.fetch("probe", local, lambda: "answer") == "answer"
    assert clock.slept == []
    for again in ({**busy, "n": 1}, {**busy, "n": 2}):
        with pytest.raises(ServiceError, match="asks to wait 3600 s"):
            calls.fetch("probe", again, never)
    calls.fetch("probe", {**local, "n": 1}, lambda: "answer")
    assert sum(clock.slept) == pytest.approx(60)


def test_what_a_server_asks_of_one_source_holds_for_another_that_asks_it_too(tmp_path: Path) -> None:
    clock = FakeClock()
    paces = {source: Pace(per_minute=1) for source in ("probe", "judge")}
    calls = Calls(tmp_path / "calls.sqlite", paces, clock=clock)
    request = {"server": "https://api.example.org/v1"}
    calls.fetch("probe", request, lambda: "answer")
    calls.fetch("judge", request, lambda: "answer")
    assert clock.slept == [60]
    with pytest.raises(ServiceError, match="asks to wait 3600 s"):
        calls.fetch("probe", {**request, "n": 1}, Flaky(Transient("busy", retry_after=3600)))
    with pytest.raises(ServiceError, match="asks to wait 3600 s"):
        calls.fetch("judge", {**request, "n": 1}, never)


def test_no_pause_outlasts_a_day(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", clock=clock)
    with pytest.raises(ServiceError, match="asks to wait"):
        calls.fetch("a", {}, Flaky(Transient("milliseconds", retry_after=1e12)))
    clock.sleep(86_400)
    assert calls.fetch("a", {}, lambda: "answer") == "answer"


def test_a_pause_is_not_cut_short_by_a_shorter_one_or_by_a_clock_that_goes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    log = CallLog(tmp_path / "calls.sqlite")
    log.pause("a", 100, clock.now)
    log.pause("a", 10, clock.now)
    assert log.take_turn("a", None, clock.now) == Wait(100, asked=True)
    clock.time -= 50_000
    assert log.take_turn("a", None, clock.now) == Wait(100, asked=True)
    clock.sleep(100)
    assert log.take_turn("a", None, clock.now) is None
