"""The call log: replay, retries, pace, counts; and faults of the disk or the clock."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.call_log import WINDOW, CallLog, Request, Wait, key_of
from dual_data.calls import Calls, Counts
from dual_data.config import Pace
from dual_data.errors import DualDataError, Offline, Refused, ServiceError, TooLarge, Transient
from dual_data.ids import canonical
from tests.clock import FakeClock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def never() -> Any:
    pytest.fail("an answered call was made again")


def test_an_answer_is_fetched_once(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        assert calls.fetch("a", {"x": 1}, lambda: {"value": "é"}) == {"value": "é"}
        assert calls.fetch("a", {"x": 1}, never) == {"value": "é"}
        assert calls.counts() == {"a": Counts(made=1, replayed=1, failed=0)}
    with Calls(tmp_path / "calls.sqlite") as again:
        assert again.fetch("a", {"x": 1}, never) == {"value": "é"}
        assert again.missing("a", [{"x": 1}, {"x": 1}, {"x": 2}]) == [{"x": 2}]
        assert again.missing("b", [{"x": 1}]) == [{"x": 1}]


def test_the_latest_answer_to_a_part_of_a_request(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        assert calls.latest("a", {"task": "open"}) is None
        for version in ("2", "1"):
            calls.fetch("a", {"task": "open", "version": version}, lambda: f"answer {version}")  # noqa: B023
            clock.sleep(60)
        calls.fetch("a", {"task": ["close"]}, lambda: "closed")
        calls.fetch("b", {"task": "open"}, lambda: "of another source")
        assert calls.latest("a", {"task": "open"}) == "answer 1"
        assert calls.latest("a", {"task": "open", "version": "2"}) == "answer 2"


def test_what_is_noted_again_is_the_latest(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        for version in ("1", "2", "1"):
            calls.note("a", {"task": "open", "version": version}, f"answer {version}")
            clock.sleep(60)
            assert calls.latest("a", {"task": "open"}) == f"answer {version}"
        calls.note("a", {"task": "open", "version": "1"}, "another answer")
        assert calls.latest("a", {"task": "open"}) == "another answer"
        clock.time -= 100_000
        for version in "123456789":
            calls.note("a", {"task": "open", "version": version}, f"by an earlier clock, {version}")
            assert calls.latest("a", {"task": "open"}) == f"by an earlier clock, {version}"
    with Calls(tmp_path / "calls.sqlite", offline=True) as calls, pytest.raises(Offline):
        calls.note("a", {"task": "open", "version": "1"}, "a third")


def test_the_day_of_every_answer(tmp_path: Path) -> None:
    clock = FakeClock()
    with Calls(tmp_path / "calls.sqlite", clock=clock) as calls:
        for number in (2, 1):
            calls.fetch("a", {"x": number}, lambda: "answer")
            clock.sleep(86_400)
            calls.fetch("a", {"x": number}, never)
        calls.fetch("b", {"x": 3}, lambda: "of another source")
        assert calls.answered("a") == [({"x": 2}, "2023-11-14"), ({"x": 1}, "2023-11-15")]


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_key_does_not_depend_on_the_order_of_a_request(request: dict[str, Any]) -> None:
    reordered = dict(reversed(list(request.items())))
    assert key_of("a", request) == key_of("a", reordered)
    assert canonical(request) == canonical(reordered)
    assert key_of("a", request) != key_of("b", request)


@given(JSON.filter(lambda answer: answer is not None))
def test_any_answer_comes_back_as_it_was(answer: Any) -> None:
    calls = Calls(Path(":memory:"))
    assert calls.fetch("a", {}, lambda: answer) == answer
    assert calls.fetch("a", {}, never) == answer


@given(st.text(alphabet=st.sampled_from('a\ud83d\ude00\U0001f600"')), st.booleans())
def test_half_a_character_is_replaced_live_as_in_the_log(text: str, batch: bool) -> None:
    calls = Calls(Path(":memory:"))
    answer = {text: [text]}
    result = (
        calls.fetch_batches("a", [{}], lambda _: [answer], size=1)[0] if batch else calls.fetch("a", {}, lambda: answer)
    )
    assert calls.fetch("a", {}, never) == result
    (key, (value,)) = next(iter(result.items()))
    assert key == value == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    value.encode()


def test_no_answer_is_a_defect_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not be None"):
        Calls(tmp_path / "calls.sqlite").fetch("a", {}, lambda: None)


def test_offline_names_everything_that_is_missing(tmp_path: Path) -> None:
    Calls(tmp_path / "calls.sqlite").fetch("a", {"n": 0}, lambda: [0])
    offline = Calls(tmp_path / "calls.sqlite", offline=True)
    assert offline.fetch("a", {"n": 0}, never) == [0]
    with pytest.raises(Offline, match=r"2 call\(s\) are not in the call log:\n  a: {\"n\":1}\n  a: {\"n\":2}"):
        offline.fetch_all("a", [{"n": n} for n in range(3)], lambda _: never())
    with pytest.raises(Offline, match=r"2 call\(s\) are not in the call log"):
        offline.fetch_batches("a", [{"n": n} for n in range(3)], lambda _: never(), size=2)
    with pytest.raises(Offline):
        offline.fetch("a", {"n": 7}, never)


def test_a_plan_touches_nothing(tmp_path: Path) -> None:
    absent = Calls(tmp_path / "absent" / "calls.sqlite", read_only=True)
    assert absent.missing("a", [{"n": 1}]) == [{"n": 1}]
    assert list(tmp_path.iterdir()) == []
    with Calls(tmp_path / "calls.sqlite") as calls:
        calls.fetch("a", {"n": 1}, lambda: [1])
    before = (tmp_path / "calls.sqlite").read_bytes()
    with Calls(tmp_path / "calls.sqlite", read_only=True) as reader:
        assert reader.missing("a", [{"n": 1}]) == []
        assert [path.name for path in tmp_path.iterdir()] == ["calls.sqlite"]
        with pytest.raises(Offline):
            reader.fetch("a", {"n": 2}, lambda: [2])
    assert (tmp_path / "calls.sqlite").read_bytes() == before


def test_a_plan_beside_a_build_sees_its_answers_and_does_not_block_it(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "calls.sqlite", patience=0.1)
    log.write("a", [({"n": 1}, [1])], now=0.0, attempts=1)
    with Calls(tmp_path / "calls.sqlite", read_only=True) as reader:
        assert reader.recall("a", {"n": 1}) == [1]
        reader.log._connection.execute("BEGIN")
        assert reader.missing("a", [{"n": 1}, {"n": 2}]) == [{"n": 2}]
        log.write("a", [({"n": 2}, [2])], now=0.0, attempts=1)
        reader.log._connection.execute("COMMIT")
        assert reader.recall("a", {"n": 2}) == [2]
    log.close()


def test_a_plan_sees_what_a_build_logged_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    path = tmp_path / "calls.sqlite"
    path.symlink_to(tmp_path / "large disk" / "calls.sqlite")
    log = CallLog(path)
    log.write("a", [({"n": 1}, [1])], now=0.0, attempts=1)
    with Calls(path, read_only=True) as reader:
        assert reader.recall("a", {"n": 1}) == [1]
    log.close()


def test_a_plan_during_which_a_build_began_is_told_to_run_again(tmp_path: Path) -> None:
    def pairs(first: int) -> list[tuple[dict[str, int], str]]:
        return [({"n": n}, "answer" * 50) for n in range(first, first + 2000)]

    path = tmp_path / "calls.sqlite"
    log = CallLog(path)
    log.write("a", pairs(0), now=0.0, attempts=1)
    log.close()
    reader = CallLog(path, read_only=True)
    log = CallLog(path)
    log.write("a", pairs(2000), now=0.0, attempts=1)
    log.close()
    with pytest.raises(DualDataError, match=r"another process wrote it meanwhile, run the same command again\."):
        reader.requests("a")
    reader.close()
    reader = CallLog(path, read_only=True)
    assert len(reader.requests("a")) == 4000
    reader.close()


def test_a_log_that_was_killed_before_its_first_table_reads_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.touch()
    with Calls(path, read_only=True) as reader:
        assert reader.missing("a", [{"n": 1}]) == [{"n": 1}]
        with pytest.raises(Offline):
            reader.fetch("a", {"n": 1}, never)
    assert path.read_bytes() == b""
    sqlite3.connect(path).execute("PRAGMA user_version = 1").connection.close()
    before = path.read_bytes()
    assert before
    with Calls(path, read_only=True) as reader:
        assert reader.recall("a", {"n": 1}) is None
    assert path.read_bytes() == before
    with Calls(path) as calls:
        assert calls.fetch("a", {"n": 1}, lambda: [1]) == [1]
    with Calls(path, read_only=True) as reader:
        assert reader.missing("a", [{"n": 1}]) == []


class Flaky:
    """Fails as scripted, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.tries = list(failures), 0

    def __call__(self) -> str:
        self.tries += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


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


def test_a_service_that_asks_for_hours_ends_the_run(tmp_path: Path) -> None:
    clock = FakeClock()
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(longest_wait=60)}, clock=clock)
    with pytest.raises(
        ServiceError, match=r"^a: asks to wait 86400 s, more than longest_wait \(60 s\).*after that time"
    ):
        calls.fetch("a", {}, Flaky(Transient("ban", retry_after=86400)))
    assert clock.slept == []


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


@pytest.mark.parametrize("batch", [False, True])
def test_of_two_processes_that_ask_the_same_at_once_both_work_with_the_answer_that_stays(
    tmp_path: Path, batch: bool
) -> None:
    first, second = (Calls(tmp_path / "calls.sqlite") for _ in range(2))

    def do() -> str:
        return str(first.fetch("a", {}, lambda: "of the first"))

    if batch:
        assert second.fetch_batches("a", [{}], lambda _: [do() and "of the second"], size=1) == ["of the first"]
    else:
        assert second.fetch("a", {}, lambda: do() and "of the second") == "of the first"
    assert first.fetch("a", {}, never) == "of the first"


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


def test_many_calls_keep_order_and_use_the_concurrency(tmp_path: Path) -> None:
    running, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4)

    def do(request: Request) -> list[int]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if request["n"] < 4:
            together.wait(timeout=60)
        time.sleep(0.002 * (request["n"] % 3))
        with lock:
            running -= 1
        return [request["n"]]

    seen: list[int] = []
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=4)})
    requests = [{"n": n % 30} for n in range(60)]
    assert calls.fetch_all("a", requests, do, seen.append) == [[n % 30] for n in range(60)]
    assert most == 4
    assert calls.counts()["a"].made == 30


def answers(group: Sequence[Request]) -> list[list[int]]:
    return [[request["n"]] for request in group]


@pytest.mark.parametrize("how", ["one at a time", "four at a time", "in batches"])
def test_equal_requests_count_alike_however_they_are_asked(tmp_path: Path, how: str) -> None:
    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=4 if how == "four at a time" else 1)})
    requests = [{"n": n} for n in (0, 0, 1, 0, 2, 1, 0, 0, 0, 0)]
    for made, replayed in ((3, 7), (3, 17)):
        steps: list[int] = []
        if how == "in batches":
            result = calls.fetch_batches("a", requests, answers, size=2, advance=steps.append)
        else:
            result = calls.fetch_all("a", requests, lambda request: answers([request])[0], steps.append)
        assert result == answers(requests)
        assert sum(steps) == len(requests)
        assert calls.counts()["a"] == Counts(made, replayed, 0)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_failure_stops_the_rest_and_keeps_what_was_answered(tmp_path: Path, concurrency: int) -> None:
    def do(request: Request) -> list[int]:
        if request["n"] == 10:
            raise Refused("quota")
        if request["n"] > 10:
            time.sleep(0.05)  # else a busy machine would answer many before the failure is noticed
        return [request["n"]]

    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=concurrency)})
    requests = [{"n": n} for n in range(200)]
    with pytest.raises(Refused, match="quota"):
        calls.fetch_all("a", requests, do)
    known = 200 - len(calls.missing("a", requests))
    # Calls that were waiting when the tenth failed are not made.
    assert 10 - concurrency < known < 40
    before = calls.counts()["a"].made
    calls.fetch_all("a", requests, lambda request: [request["n"]])
    assert calls.counts()["a"].made - before == 200 - known


def test_a_failure_ends_calls_that_wait_for_their_turn(tmp_path: Path) -> None:
    tries: list[Request] = []

    def do(request: Request) -> None:
        tries.append(request)
        time.sleep(0.1)
        raise Refused("quota")

    calls = Calls(tmp_path / "calls.sqlite", {"a": Pace(concurrency=2, per_minute=1)})
    started = time.monotonic()
    with pytest.raises(Refused, match="quota"):
        calls.fetch_all("a", [{"n": n} for n in range(2)], do)
    assert time.monotonic() - started < WINDOW / 2
    assert len(tries) == 1


def test_batches_ask_only_for_what_is_missing(tmp_path: Path) -> None:
    groups: list[list[int]] = []

    def do(group: Sequence[Request]) -> list[list[int]]:
        groups.append([request["n"] for request in group])
        return [[request["n"]] for request in group]

    calls = Calls(tmp_path / "calls.sqlite")
    calls.fetch("local:m", {"n": 2}, lambda: [2])
    requests = [{"n": n} for n in (0, 1, 2, 3, 4, 0)]
    assert calls.fetch_batches("local:m", requests, do, size=3) == [[0], [1], [2], [3], [4], [0]]
    assert groups == [[0, 1, 3], [4]]
    assert calls.fetch_batches("local:m", requests, do, size=2) == [[0], [1], [2], [3], [4], [0]]
    assert len(groups) == 2


def test_no_answer_is_missing_among_more_than_one_statement_asks_for(tmp_path: Path) -> None:
    requests = [{"n": n} for n in range(1100)]
    with Calls(tmp_path / "calls.sqlite") as calls:
        calls.fetch_batches("local:m", requests[1:], lambda group: [0] * len(group), size=len(requests))
        assert calls.missing("local:m", requests) == requests[:1]


def test_pace_is_found_by_the_first_part_of_a_name(tmp_path: Path) -> None:
    paces = {"local": Pace(concurrency=3), "judge": Pace(concurrency=2), "local:own": Pace(concurrency=4)}
    calls = Calls(tmp_path / "calls.sqlite", paces)
    assert [calls.pace(name).concurrency for name in ("local:a", "local:own", "judge", "other")] == [3, 4, 2, 1]


def test_a_damaged_log_is_said_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    before = path.read_bytes()
    with pytest.raises(DualDataError, match="call log cannot be opened"):
        Calls(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("obstacle", ["a file", "a link that leads nowhere", "a link to itself"])
def test_what_is_no_folder_for_the_log_is_said_without_advice_to_rescue_it(tmp_path: Path, obstacle: str) -> None:
    place = tmp_path / "artifacts"
    if obstacle == "a file":
        place.touch()
    else:
        place.symlink_to("artifacts" if obstacle == "a link to itself" else "lacking")
    with pytest.raises(DualDataError, match=r"call log cannot be opened .*a folder that can be written\.$") as caught:
        Calls(place / "made" / "calls.sqlite")
    assert str(place) in str(caught.value)
    assert "recover" not in str(caught.value)


@pytest.mark.parametrize(
    "rest",
    [
        "answer = x''",
        "answer = substr(answer, 1, length(answer) - 1)",
        "request = x'00'",
        "request = CAST(x'ff' AS TEXT)",
        "request = replace(request, ':', ':1')",
        "answered_at = ''",
        "answered_at = CAST(x'ff' AS TEXT)",
    ],
)
def test_what_a_rescue_left_of_a_call_is_asked_again(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "calls.sqlite"
    requests = [{"n": n} for n in range(3)]
    with Calls(path) as calls:
        calls.fetch_all("a", requests, lambda request: [request["n"]])
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # as sqlite3 leaves a file that it makes
        connection.execute(f"UPDATE calls SET {rest} WHERE request <> '{{\"n\":0}}'")
    connection.close()
    before = path.read_bytes()
    with Calls(path, read_only=True) as plan:
        assert plan.missing("a", requests) == requests[1:]
        assert [request for request, _ in plan.answered("a")] == requests[:1]
    assert path.read_bytes() == before
    with Calls(path, offline=True) as offline, pytest.raises(Offline, match=r"2 call\(s\) are not in the call log"):
        offline.fetch_all("a", requests, lambda _: never())
    with Calls(path) as calls:
        assert calls.latest("a", {"n": 1}) is None
        assert calls.fetch_all("a", requests, lambda request: [request["n"]]) == [[0], [1], [2]]
        assert calls.counts()["a"][:2] == (2, 1)
    assert Calls(path, offline=True).fetch_all("a", requests, lambda _: never()) == [[0], [1], [2]]


def test_batches_with_an_answer_that_became_unreadable_are_refused_offline(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "calls.sqlite")
    calls.fetch("a", {}, lambda: "answer")
    calls.log._connection.execute("UPDATE calls SET answer = substr(answer, 1, length(answer) - 1)")
    calls.offline = True
    with pytest.raises(Offline, match=r"1 call\(s\) are not in the call log"):
        calls.fetch_batches("a", [{}, {}], lambda _: never(), size=2)


def test_a_log_that_another_process_holds_is_said_without_advice_to_rescue_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    log = CallLog(path, patience=0.1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(DualDataError, match=r"is locked.*Another process has kept the file locked") as caught:
        log.write("a", [({}, "answer")], now=0.0, attempts=1)
    assert ".recover" not in str(caught.value)
    connection.close()
    assert log.write("a", [({}, "answer")], now=0.0, attempts=1) == ["answer"]


def test_answers_are_stored_all_or_none_and_a_failure_blocks_no_later_one(tmp_path: Path) -> None:
    log = CallLog(tmp_path / "calls.sqlite")
    log._connection.execute(
        "CREATE TRIGGER failing BEFORE INSERT ON calls WHEN NEW.request LIKE '%bad%' "
        "BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END"
    )
    with pytest.raises(DualDataError, match="the call log cannot be used"):
        log.write("a", [({"n": "good"}, 1), ({"n": "bad"}, 2)], now=0.0, attempts=1)
    assert log.requests("a") == []
    log.write("a", [({"n": "good"}, 3)], now=0.0, attempts=1)
    assert log.read(key_of("a", {"n": "good"})) == 3


def test_a_full_disk_is_said_and_what_was_answered_stays(tmp_path: Path) -> None:
    path = tmp_path / "calls.sqlite"
    calls = Calls(path)
    calls.fetch("a", {"n": 0}, lambda: [0])
    calls.log._connection.execute("PRAGMA max_page_count = 1")
    noise = [{"random": [hash((n, m)) for m in range(2000)]} for n in range(20)]
    with pytest.raises(DualDataError, match="If the disk is full"):
        calls.fetch_all("a", noise, lambda request: request["random"])
    assert calls.fetch("a", {"n": 0}, never) == [0]
