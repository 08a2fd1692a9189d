"""The call log: every answer of a remote service or a model, kept once and replayed for ever after.

The three clients speak through three HTTP stacks, so replaying, retrying, pacing and counting live here, at the call,
and nowhere else. A call is identified by its content: sha256 of the source's name and the canonical request. Once
`do` has returned, its answer is committed to SQLite before anybody sees it; a killed build therefore loses at most the
calls in flight, and repeats none that was answered.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import tenacity

from dual_data.config import Pace
from dual_data.errors import DualDataError, Offline, ServiceError, Transient
from dual_data.ids import digest

Request = Mapping[str, Any]
Answer = Any
"""Whatever JSON can hold."""

WINDOW = 60.0
"""Seconds over which `Pace.per_minute` is counted."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY, source TEXT NOT NULL, request TEXT NOT NULL, answer BLOB NOT NULL,
    answered_at TEXT NOT NULL, attempts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS starts (source TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS starts_by_source ON starts (source, at);
CREATE TABLE IF NOT EXISTS pauses (source TEXT PRIMARY KEY, asked_at REAL NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
"""

NAP = 1.0
"""Longest wait in one piece, in seconds, while other calls are under way: one of them may end the run meanwhile."""


class Clock(Protocol):
    """Time as the call log needs it; tests pass one that does not wait."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Ended(Exception):
    """Another call of the same `fetch_all` has failed, so this one is not made. Never leaves the module."""


class Counts(NamedTuple):
    """What happened to the calls of one source: answers fetched, answers replayed, tries that failed."""

    made: int
    replayed: int
    failed: int


def canonical(request: Request) -> str:
    """The one text of a request: sorted keys, no spaces, UTF-8."""
    return json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(source: str, request: Request) -> str:
    """Identity of a call: 64 hexadecimal digits."""
    return digest(f"{source}\n{canonical(request)}", 64)


class Calls:
    """A call log in one SQLite file, safe to use from several threads of one process.

    `read_only` never creates or changes the file (for plans). `offline` turns every miss into `Offline`.
    """

    def __init__(
        self,
        path: Path,
        pace: Mapping[str, Pace] | None = None,
        *,
        offline: bool = False,
        read_only: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.path = path
        self.offline = offline or read_only
        self.clock: Clock = clock or SystemClock()
        self._pace = dict(pace or {})
        self._lock = threading.RLock()
        self._tally: Counter[tuple[str, str]] = Counter()
        self._connection = self._open(read_only)

    def _open(self, read_only: bool) -> sqlite3.Connection:
        try:
            if read_only:
                connection = self._open_read_only()
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
                # A second for a gigabyte. Written to, a damaged file would lose more than it has lost already.
                if (found := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                    connection.close()
                    raise sqlite3.DatabaseError(found)
                connection.execute("PRAGMA journal_mode = WAL")
                # In WAL mode NORMAL survives a killed process; only a power cut can cost the last commits.
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            connection.execute("SELECT count(*) FROM calls WHERE key = ''").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise DualDataError(f"{self.path}: the call log cannot be opened ({error}). {self._advice()}") from None
        return connection

    def _advice(self) -> str:
        name = self.path.name
        return (
            "Nothing was changed by this. If the disk is full or the folder may not be written, put that right. If the "
            f"file is damaged, run in {self.path.parent}: sqlite3 {name} .recover | sqlite3 rescued.sqlite, move "
            f"rescued.sqlite to {name} and remove {name}-wal; answers that could not be rescued are asked again."
        )

    def _open_read_only(self) -> sqlite3.Connection:
        if self.path.exists():
            # Without a write-ahead file nobody is writing, and SQLite need not put its shared memory beside the log.
            settled = not self.path.with_name(self.path.name + "-wal").exists()
            target = self.path.resolve().as_uri() + "?mode=ro" + ("&immutable=1" if settled else "")
            connection = sqlite3.connect(target, uri=True, check_same_thread=False)
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return connection
            # Whoever made the file was killed before the first table: it holds no answer.
            connection.close()
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.executescript(_SCHEMA)
        return connection

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log; the write-ahead file is folded into it."""
        with self._lock:
            self._connection.close()

    def pace(self, source: str) -> Pace:
        """The pace of a source; of `local:model` that of `local`, where it has none of its own."""
        return self._pace.get(source) or self._pace.get(source.split(":", maxsplit=1)[0]) or Pace()

    def known(self, source: str, requests: Sequence[Request]) -> int:
        """How many of the requests (distinct ones) are answered in the log."""
        keys = list({key_of(source, request) for request in requests})
        found = 0
        with self._storage() as connection:
            for start in range(0, len(keys), 500):
                chunk = keys[start : start + 500]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT count(*) FROM calls WHERE key IN ({marks})"
                found += connection.execute(query, chunk).fetchone()[0]
        return found

    def counts(self) -> dict[str, Counts]:
        """What this process did so far, by source."""
        with self._lock:
            tally = dict(self._tally)
        sources = sorted({source for source, _ in tally})
        return {s: Counts(*(tally.get((s, what), 0) for what in Counts._fields)) for s in sources}

    def recall(self, source: str, request: Request) -> Answer | None:
        """The logged answer, or None; counts nothing and asks nobody."""
        return self._read(key_of(source, request))

    def latest(self, source: str, part: Request) -> Answer | None:
        """The newest answer whose request holds all of `part`. Reads every request of the source: for those of few."""
        newest_first = "SELECT request, key FROM calls WHERE source = ? ORDER BY answered_at DESC, key"
        with self._storage() as connection:
            rows = connection.execute(newest_first, (source,)).fetchall()
        for request, key in rows:
            asked = json.loads(request)
            if all(asked.get(name) == value for name, value in part.items()):
                return self._read(key)
        return None

    def answered(self, source: str) -> list[tuple[Request, str]]:
        """Every request of a source that is in the log with the UTC day of its answer, the oldest first."""
        oldest_first = (
            "SELECT request, substr(answered_at, 1, 10) FROM calls WHERE source = ? ORDER BY answered_at, key"
        )
        with self._storage() as connection:
            rows = connection.execute(oldest_first, (source,)).fetchall()
        return [(json.loads(request), day) for request, day in rows]

    def fetch(self, source: str, request: Request, do: Callable[[], Answer]) -> Answer:
        """The answer of one call: replayed, or fetched by `do`, validated there, and logged.

        Raises Offline for a miss when calls are off, Refused and TooLarge as `do` raises them, and ServiceError when
        the tries of the source's pace are used up.
        """
        return self._fetch(source, request, do, None)

    def note(self, source: str, request: Request, answer: Answer) -> None:
        """Log an answer that this process has found out anyway, in place of an older one: it becomes the newest.

        Raises Offline when calls are off, for then nothing is logged.
        """
        if self.offline:
            raise Offline(source, [canonical(request)[:200]])
        self._write([(source, request, answer)], attempts=1)

    def _fetch(self, source: str, request: Request, do: Callable[[], Answer], ended: threading.Event | None) -> Answer:
        answer = self._read(key_of(source, request))
        if answer is not None:
            self._count(source, "replayed")
            return answer
        if self.offline:
            raise Offline(source, [canonical(request)[:200]])
        answer, attempts = self._ask(source, do, ended)
        self._write([(source, request, answer)], attempts)
        return answer

    def fetch_all(
        self,
        source: str,
        requests: Sequence[Request],
        do: Callable[[Request], Answer],
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """The answers of many calls in the order of `requests`, with the concurrency of the source's pace.

        Equal requests are one call; the others count as replayed, and `advance` is told of each. The first failure
        stops further calls, also those that wait for their turn; those in flight are still logged, then it is raised.
        """
        self._refuse_misses(source, requests)
        slots = self.pace(source).concurrency
        if slots == 1:
            answers = []
            for request in requests:
                answers.append(self.fetch(source, request, lambda request=request: do(request)))  # type: ignore[misc]
                advance(1)
            return answers
        distinct, times = _distinct(source, requests)
        done: dict[str, Answer] = {}
        running: dict[Future[Answer], str] = {}
        queue = iter(distinct.items())
        ended = threading.Event()
        with ThreadPoolExecutor(max_workers=slots) as pool:
            try:
                exhausted = False
                while running or not exhausted:
                    while not exhausted and len(running) < 2 * slots:
                        entry = next(queue, None)
                        if entry is None:
                            exhausted = True
                            break
                        key, request = entry
                        future = pool.submit(self._fetch, source, request, lambda request=request: do(request), ended)  # type: ignore[misc]
                        running[future] = key
                    # A wait without end would hold back Ctrl-C on some systems.
                    finished, _ = wait(running, timeout=NAP, return_when=FIRST_COMPLETED)
                    for future in finished:
                        key = running.pop(future)
                        done[key] = future.result()
                        self._count(source, "replayed", times[key] - 1)
                        advance(times[key])
            finally:
                # Also after Ctrl-C: leaving the pool waits for its threads, and they may be waiting for minutes.
                ended.set()
                for future in running:
                    future.cancel()
        return [done[key_of(source, request)] for request in requests]

    def fetch_batches(
        self,
        source: str,
        requests: Sequence[Request],
        do: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        size: int,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[Answer]:
        """Like `fetch_all`, for models in this process that answer many requests at once.

        What is missing is asked in groups of `size` in the order of `requests`; each answer is a call of its own in the
        log, so that groups may be cut differently another time.
        """
        self._refuse_misses(source, requests)
        distinct, times = _distinct(source, requests)
        done: dict[str, Answer] = {}
        missing: list[str] = []
        for key in distinct:
            answer = self._read(key)
            if answer is None:
                missing.append(key)
            else:
                done[key] = answer
                self._count(source, "replayed", times[key])
        advance(sum(times[key] for key in done))
        for start in range(0, len(missing), size):
            keys = missing[start : start + size]
            group = [distinct[key] for key in keys]
            answers, attempts = self._ask(source, lambda group=group: list(do(group)))  # type: ignore[misc]
            self._write([(source, r, a) for r, a in zip(group, answers, strict=True)], attempts)
            done.update(zip(keys, answers, strict=True))
            asked = sum(times[key] for key in keys)
            self._count(source, "replayed", asked - len(keys))
            advance(asked)
        return [done[key_of(source, request)] for request in requests]

    def _refuse_misses(self, source: str, requests: Sequence[Request]) -> None:
        """When calls are off, name everything that is missing at once, not the first of it."""
        if self.offline:
            missing = [canonical(r)[:200] for r in requests if self._read(key_of(source, r)) is None]
            if missing:
                raise Offline(source, missing)

    def _ask(self, source: str, do: Callable[[], Answer], ended: threading.Event | None = None) -> tuple[Answer, int]:
        pace = self.pace(source)
        attempts = 0

        def attempt() -> Answer:
            nonlocal attempts
            self._wait_for_turn(source, pace, ended)
            attempts += 1
            try:
                return do()
            except ServiceError as error:
                self._count(source, "failed")
                if isinstance(error, Transient) and error.retry_after is not None:
                    self._pause(source, error.retry_after)
                raise

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(pace.attempts),
            wait=lambda state: _delay(state, pace),
            retry=tenacity.retry_if_exception_type(Transient),
            sleep=lambda seconds: self._sleep(seconds, ended),
            reraise=True,
        )
        try:
            return retrying(attempt), attempts
        except Transient as error:
            raise ServiceError(
                f"{source}: gave up after {attempts} tries; the last one: {error}. "
                "What was answered is kept; run the same command again later."
            ) from error

    def _wait_for_turn(self, source: str, pace: Pace, ended: threading.Event | None) -> None:
        """Block until the source's pause is over and one more request fits into the last minute; note its start.

        Pauses and starts are kept in the file, so that a restart neither begins with a fresh minute nor forgets what
        the service asked for.
        """
        while True:
            if ended is not None and ended.is_set():
                raise _Ended
            with self._storage() as connection:
                now = self.clock.now()
                seconds = self._rest_of_pause(connection, source, now)
                if seconds > pace.longest_wait:
                    raise _too_long(seconds, pace)
                if not seconds:
                    if pace.per_minute is None:
                        return
                    # A start in the future means that the clock went back: it counts as now.
                    connection.execute("UPDATE starts SET at = ? WHERE source = ? AND at > ?", (now, source, now))
                    connection.execute("DELETE FROM starts WHERE source = ? AND at <= ?", (source, now - WINDOW))
                    count, oldest = connection.execute(
                        "SELECT count(*), min(at) FROM starts WHERE source = ?", (source,)
                    ).fetchone()
                    if count < pace.per_minute:
                        connection.execute("INSERT INTO starts VALUES (?, ?)", (source, now))
                        return
                    seconds = oldest + WINDOW - now
            self._sleep(max(0.001, seconds), ended)

    def _pause(self, source: str, seconds: float) -> None:
        """Keep that the service wants no request of anybody here before `seconds` have passed."""
        with self._storage() as connection:
            now = self.clock.now()
            if seconds > self._rest_of_pause(connection, source, now):
                connection.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (source, now, now + seconds))

    def _rest_of_pause(self, connection: sqlite3.Connection, source: str, now: float) -> float:
        row = connection.execute("SELECT asked_at, until FROM pauses WHERE source = ?", (source,)).fetchone()
        if row is None:
            return 0.0
        asked_at, until = float(row[0]), float(row[1])
        if asked_at > now:  # The clock went back: the pause begins now.
            until -= asked_at - now
            connection.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (source, now, until))
        return max(0.0, until - now)

    def _sleep(self, seconds: float, ended: threading.Event | None) -> None:
        if ended is None:
            self.clock.sleep(seconds)
            return
        while seconds > 0 and not ended.is_set():
            self.clock.sleep(min(seconds, NAP))
            seconds -= NAP

    def _read(self, key: str) -> Answer | None:
        with self._storage() as connection:
            row = connection.execute("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return json.loads(zlib.decompress(row[0]))
        except (zlib.error, ValueError):
            raise DualDataError(
                f"{self.path}: the answer of call {key} is damaged; delete that row and run again"
            ) from None

    def _write(self, answered: Sequence[tuple[str, Request, Answer]], attempts: int) -> None:
        at = datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="seconds")
        rows = []
        for source, request, answer in answered:
            if answer is None:
                raise ValueError("a call's answer must not be None: it could not be told from a miss")
            blob = zlib.compress(json.dumps(answer, ensure_ascii=False).encode("utf-8"))
            rows.append((key_of(source, request), source, canonical(request), blob, at, attempts))
        with self._storage() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
        for source, _, _ in answered:
            self._count(source, "made")

    @contextmanager
    def _storage(self) -> Iterator[sqlite3.Connection]:
        """The connection, one thread at a time; what the disk refuses becomes one clear message."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise DualDataError(
                    f"{self.path}: the call log cannot be used ({error}); what was answered before is kept. "
                    f"{self._advice()}"
                ) from None

    def _count(self, source: str, what: str, times: int = 1) -> None:
        with self._lock:
            self._tally[source, what] += times


def _distinct(source: str, requests: Sequence[Request]) -> tuple[dict[str, Request], Counter[str]]:
    """Each request once by its key, in order of first appearance, and how often each stands there."""
    keys = [key_of(source, request) for request in requests]
    return dict(zip(keys, requests, strict=True)), Counter(keys)


def _delay(state: tenacity.RetryCallState, pace: Pace) -> float:
    """Seconds until the next try: what the service asked for, else exponential with jitter."""
    outcome = state.outcome
    error = outcome.exception() if outcome is not None else None
    asked = error.retry_after if isinstance(error, Transient) else None
    if asked is None:
        return float(min(pace.longest_wait, 2.0 ** (state.attempt_number - 1) + random.random()))
    if asked > pace.longest_wait:
        raise _too_long(asked, pace)
    return asked


def _too_long(seconds: float, pace: Pace) -> ServiceError:
    return ServiceError(
        f"the service asks to wait {seconds:.0f} s, more than longest_wait ({pace.longest_wait:.0f} s). "
        "What was answered is kept; run the same command again after that time."
    )
