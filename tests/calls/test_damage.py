"""Damaged logs, full disks, and logs that another process holds."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.calls.log import LONGEST_PATH, CallLog, key_of
from dual_data.errors import DualDataError, Offline
from tests.calls.scripted import never


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


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o077, 0o600)])
def test_who_may_write_a_new_log_is_decided_by_the_users_mask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with Calls(tmp_path / "calls.sqlite") as calls:
            calls.fetch("a", {}, lambda: "answer")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["calls.sqlite", "calls.sqlite-wal", "calls.sqlite-shm"], mode)


@pytest.mark.parametrize("rescued", [False, True])
def test_a_log_that_may_not_be_written_is_read_and_nothing_new_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rescued: bool
) -> None:
    path = tmp_path / "calls.sqlite"
    with Calls(path) as calls:
        calls.fetch("a", {"n": 0}, lambda: "answer")
    if rescued:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
    before = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda asked, _: asked != path)  # root may write every file
    with Calls(path) as calls:
        assert calls.fetch("a", {"n": 0}, never) == "answer"
        with pytest.raises(DualDataError, match=r"readonly database.*files that you can write\.$") as caught:
            calls.fetch("a", {"n": 1}, never)
    assert "recover" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["calls.sqlite"]
    assert path.read_bytes() == before


def test_a_path_too_long_for_sqlite_is_said(tmp_path: Path) -> None:
    with pytest.raises(DualDataError, match=r"SQLite opens no path of \d{3} bytes: move the project to a shorter one"):
        Calls(tmp_path / ("x" * 250) / ("x" * 250) / "calls.sqlite")
    length = LONGEST_PATH - len(os.fsencode(tmp_path / "calls.sqlite")) - 2
    folder = tmp_path / ("x" * (length // 2)) / ("x" * (length - length // 2))
    with Calls(folder / "calls.sqlite") as calls:
        assert len(os.fsencode(calls.log.path)) == LONGEST_PATH
        assert calls.fetch("a", {}, lambda: "answer") == "answer"


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
