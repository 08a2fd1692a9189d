"""Many calls at once, and in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls, Counts
from dual_data.calls.log import WINDOW, Request
from dual_data.config import Pace
from dual_data.errors import Refused


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
