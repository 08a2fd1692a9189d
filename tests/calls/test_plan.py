"""A plan reads the log of a build: it touches nothing, and sees what is there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.calls.log import CallLog
from dual_data.errors import DualDataError, Offline
from tests.calls.scripted import never


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
