"""What breaks on a user's machine: full disk, read-only folder, damaged log, two builds at once.

All with the command line in its own process. In every case: one message that says what to do, no traceback, and after
the repair no answer that was kept is fetched again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dual_data.calls.log import CallLog
from tests.cli.command import copy_project
from tests.faults.disk import no_file_beyond
from tests.services import require
from tests.soak.project import answer_counts, artifacts, finish, make, start

PAGE = 4096


def build(folder: Path) -> str:
    """Build to the end; its messages."""
    code, messages = finish(start(folder))
    assert code == 0, messages
    return messages


def refused(folder: Path, before: tuple[str, ...] = ()) -> str:
    """A build that must end with one message, and no traceback."""
    code, messages = finish(start(folder, before))
    assert code == 1, messages
    assert "Traceback" not in messages
    return messages


def contents(folder: Path) -> dict[str, Any]:
    """Hashes of what stands on disk, by stage."""
    return {
        path.parent.name: json.loads(path.read_bytes())["outcome"]
        for path in sorted(artifacts(folder).glob("*/manifest.json"))
    }


def test_of_two_builds_at_once_one_is_refused_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", count=40, seconds=0.05)
    first = start(folder)
    while len(answer_counts(folder)) < 5:
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)  # on a busy machine it would end before the second has started
    try:
        second = refused(folder)
    finally:
        first.send_signal(signal.SIGCONT)
    assert "another build is running here; wait for it to end, or stop it" in second
    code, messages = finish(first)
    assert code == 0, messages
    assert answer_counts(folder) == dict.fromkeys(range(40), 1)
    before = contents(folder)
    build(folder)
    assert contents(folder) == before


def test_of_many_builds_that_start_together_one_gets_through(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", count=40, seconds=0.05)
    results = [finish(process) for process in [start(folder) for _ in range(4)]]
    assert [code for code, _ in results].count(0) >= 1
    for code, messages in results:
        assert code in (0, 1)
        assert code == 0 or "another build is running here" in messages
    assert answer_counts(folder) == dict.fromkeys(range(40), 1)
    build(folder)
    assert answer_counts(folder) == dict.fromkeys(range(40), 1)


def started(folder: Path, calls: int) -> subprocess.Popen[str]:
    """A build that has made at least `calls` calls."""
    process = start(folder)
    while len(answer_counts(folder)) < calls:
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_ctrl_c_ends_calls_that_wait_for_minutes(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", at_once=4, count=40, pause=250.0)
    process = started(folder, 1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, messages = finish(process)
    assert time.monotonic() - began < 60
    assert code == 130
    assert "Traceback" not in messages
    assert len(answer_counts(folder)) <= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("twice", [False, True])
def test_a_build_that_is_stopped_waits_for_answers_in_flight_unless_it_is_stopped_again(
    tmp_path: Path, twice: bool, number: signal.Signals
) -> None:
    folder = make(tmp_path / "project", at_once=4, count=40, hang=60.0 if twice else 3.0)
    process = started(folder, 8)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.stderr is not None
    waiting = "own:service: waiting for 4 answer(s) in flight; Ctrl-C drops them and ends at once\n"
    while (line := process.stderr.readline()) != waiting:
        assert line
    began = time.monotonic()
    if twice:
        process.send_signal(number)
    code, messages = finish(process)
    assert time.monotonic() - began < 30
    assert code == 130
    assert messages == "\nstopped; run the same command again to go on\n"
    count = 8 if twice else 12
    log = artifacts(folder) / "calls.sqlite"
    assert not log.with_name("calls.sqlite-wal").exists(), "the log was not closed"
    with sqlite3.connect(log) as connection:
        assert connection.execute("SELECT count(*) FROM calls").fetchone()[0] == count
    connection.close()


def test_a_disk_that_fills_up_in_the_log(tmp_path: Path) -> None:
    """No file may grow beyond 300 kB, which the log reaches in the middle of the calls."""
    folder = make(tmp_path / "project", count=60, bytes=20_000)
    messages = refused(folder, no_file_beyond(300_000))
    assert "the call log cannot be" in messages
    assert "what was answered before is kept" in messages
    assert "If the disk is full" in messages
    counts = answer_counts(folder)
    assert 3 < len(counts) < 60
    build(folder)
    repeated = [n for n, times in answer_counts(folder).items() if times > 1]
    # The answer that found no room is asked again, and no other.
    assert len(repeated) <= 1
    assert not list(folder.rglob("*.tmp"))


def test_a_disk_that_fills_up_in_a_table(tmp_path: Path) -> None:
    folder = make(tmp_path / "project", count=40, bytes=20_000)
    build(folder)
    before = contents(folder)
    shutil.rmtree(artifacts(folder) / "numbers")
    messages = refused(folder, no_file_beyond(300_000))
    assert "numbers: cannot be written" in messages
    assert "make room" in messages
    assert not list(folder.rglob("*.tmp"))
    build(folder)
    assert contents(folder) == before
    assert answer_counts(folder) == dict.fromkeys(range(40), 1)


def unprivileged() -> tuple[str, ...]:
    """A command prefix that takes from root the right to write everywhere; empty for other users."""
    if os.geteuid() != 0:
        return ()
    require(shutil.which("setpriv"), "setpriv is not installed (Debian package util-linux)")
    return (
        "setpriv",
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-dac_override,-dac_read_search",
    )


@pytest.mark.parametrize("where", ["", "artifacts", "artifacts/dual", "artifacts/dual/numbers"])
def test_a_read_only_folder(tmp_path: Path, where: str) -> None:
    folder = make(tmp_path / "project")
    locked = folder / where
    locked.mkdir(parents=True, exist_ok=True)
    locked.chmod(0o555)
    messages = refused(folder, unprivileged())
    assert str(folder) in messages
    assert "cannot be" in messages
    assert "ermission" in messages or "read-only" in messages or "folder cannot be written" in messages
    locked.chmod(0o755)
    build(folder)
    assert answer_counts(folder) == dict.fromkeys(range(40), 1)


@pytest.mark.parametrize("command", ["check", "build"])
def test_a_folder_that_may_not_be_read(tmp_path: Path, command: str) -> None:
    relations = copy_project(tmp_path / "mine") / "pipeline" / "relations"
    relations.chmod(0)
    words = [*unprivileged(), sys.executable, "-c", "from dual_data.cli import main; main()", command]
    process = subprocess.run([*words, "--project", tmp_path / "mine"], capture_output=True, text=True, check=False)
    relations.chmod(0o755)
    assert (process.returncode, process.stderr) == (1, f"error: {relations}: Permission denied\n")


def test_a_relation_of_a_read_only_project_is_previewed(tmp_path: Path) -> None:
    root = copy_project(tmp_path / "mine")
    (root / "artifacts").mkdir()
    locked = [root, *(path for path in (root / "pipeline").rglob("*") if path.is_dir()), root / "pipeline"]
    for folder in locked:
        folder.chmod(0o555)
    words = [*unprivileged(), sys.executable, "-c", "from dual_data.cli import main; main()", "relations", "preview"]
    words += ["P30", "--profile", "embedded", "--limit", "1", "--project", str(root)]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    for folder in locked:
        folder.chmod(0o755)
    assert (process.returncode, process.stderr) == (0, "")
    assert "which continent" in process.stdout


def halved(data: bytes) -> bytes:
    return data[: len(data) // PAGE // 2 * PAGE]


def cut(data: bytes) -> bytes:
    return data[:-1000]


def garbage(data: bytes) -> bytes:
    """Two pages of noise; not the header, and not the page of the schema."""
    chance, noisy = random.Random(3), bytearray(data)
    for page in chance.sample(range(4, len(data) // PAGE), 2):
        noisy[page * PAGE : (page + 1) * PAGE] = chance.randbytes(PAGE)
    return bytes(noisy)


def swapped(data: bytes) -> bytes:
    """Two whole pages exchanged: every byte is there, but answers would be found under wrong keys."""
    first, second = data[5 * PAGE : 6 * PAGE], data[6 * PAGE : 7 * PAGE]
    return data[: 5 * PAGE] + second + first + data[7 * PAGE :]


LONG = 3 * PAGE
"""Bytes of a request that goes over pages of its own, which may be lost one by one."""


@pytest.mark.parametrize(
    ("damage", "request_bytes"), [(halved, 0), (cut, 0), (garbage, 0), (swapped, 0), (cut, LONG), (garbage, LONG)]
)
def test_a_damaged_log(tmp_path: Path, damage: Callable[[bytes], bytes], request_bytes: int) -> None:
    require(shutil.which("sqlite3"), "the sqlite3 shell is not installed (Debian package sqlite3)")
    folder = make(tmp_path / "project", count=400, bytes=100, request_bytes=request_bytes)
    build(folder)
    before = contents(folder)
    log = artifacts(folder) / "calls.sqlite"
    damaged = damage(log.read_bytes())
    log.write_bytes(damaged)
    shutil.rmtree(artifacts(folder) / "numbers")

    messages = refused(folder)
    assert "the call log cannot be opened" in messages
    assert "sqlite3 calls.sqlite .recover | sqlite3 rescued.sqlite" in messages
    assert log.read_bytes() == damaged, "what is left is not touched"
    assert answer_counts(folder) == dict.fromkeys(range(400), 1), "nobody is asked again before the user has decided"

    # What the message says to do.
    subprocess.run("sqlite3 calls.sqlite .recover | sqlite3 rescued.sqlite", shell=True, cwd=log.parent, check=True)
    (log.parent / "rescued.sqlite").rename(log)
    (log.parent / "calls.sqlite-wal").unlink(missing_ok=True)
    CallLog(log).close()  # leaves out what was rescued in part
    with sqlite3.connect(log) as connection:
        rescued = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    connection.close()
    build(folder)
    assert contents(folder) == before
    repeated = sum(times > 1 for times in answer_counts(folder).values())
    assert repeated == 400 - rescued
    # In half a file, few pages can still be reached from others; a page of noise may have led to a dozen others.
    assert rescued > (0 if damage is halved else 100 if damage is garbage else 300)
