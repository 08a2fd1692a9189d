"""The file of the call log, in SQLite: answers, and the latest requests and pauses of each service.

An answer is committed before anybody sees it, so a killed process loses at most the calls in flight.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.config import LONGEST_TIMEOUT
from dual_data.errors import DualDataError
from dual_data.ids import canonical, digest

Request = Mapping[str, Any]
Answer = Any
"""Whatever JSON can hold."""

WINDOW = 60.0
"""Seconds over which requests per minute are counted."""

LONGEST_PATH = 500
"""Bytes of a path that SQLite surely opens, with `-journal` at its end."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY, source TEXT NOT NULL, request TEXT NOT NULL, answer BLOB NOT NULL,
    answered_at TEXT NOT NULL, attempts INTEGER NOT NULL
) WITHOUT ROWID;
-- Here the source is the address of whoever is asked, where it has one.
CREATE TABLE IF NOT EXISTS starts (source TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS starts_by_source ON starts (source, at);
CREATE TABLE IF NOT EXISTS pauses (source TEXT PRIMARY KEY, asked_at REAL NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
"""


class Wait(NamedTuple):
    """How long to wait before a request, and whether the service itself has asked for it."""

    seconds: float
    asked: bool


def key_of(source: str, request: Request) -> str:
    """Identity of a call: 64 hexadecimal digits."""
    return digest(f"{source}\n{canonical(request)}", 64)


class CallLog:
    """One SQLite file, safe to use from several threads, and from several processes with a log each.

    `read_only` never creates or changes the file. A disk error becomes a DualDataError that says so. While another
    process holds the file, this one waits up to `patience` seconds: the answer to write may have cost money.
    """

    def __init__(self, path: Path, *, read_only: bool = False, patience: float = 60.0) -> None:
        self.path, self._patience = path, patience
        self._lock = threading.RLock()
        self._immutable = self._protected = False
        self._connection = self._open(read_only)
        weakref.finalize(self, self._connection.close)  # where nobody calls `close`

    def close(self) -> None:
        """Close the file; the write-ahead file is folded into it."""
        with self._lock:
            self._connection.close()

    def read(self, key: str) -> Answer | None:
        """The answer of a call, or None; one that is damaged is none."""
        with self._storage() as connection:
            row = connection.execute("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return json.loads(zlib.decompress(row[0]))
        except (zlib.error, ValueError, TypeError):
            return None

    def write(
        self, source: str, pairs: Sequence[tuple[Request, Answer]], *, now: float, attempts: int, replace: bool = False
    ) -> list[Answer]:
        """Store answers received at `now` (epoch seconds) after `attempts` tries, all or none.

        Unless `replace` is set, an answer that the log has by now, from another process, stands and is returned in
        place of the new one. The answers come back as `read` will give them: without lone surrogates.
        """
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        rows = []
        for request, answer in pairs:
            if answer is None:
                raise ValueError("a call's answer must not be None: it could not be told from a miss")
            blob, stored = _well_formed(answer)
            row = (key_of(source, request), source, canonical(request), zlib.compress(blob), at, attempts)
            rows.append((row, stored))
        answers = []
        with self._transaction() as connection:
            for row, answer in rows:
                logged = None if replace else self.read(row[0])
                if logged is None:
                    connection.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?)", row)
                answers.append(answer if logged is None else logged)
        return answers

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those of the calls that have an answer, without a look at it."""
        known: set[str] = set()
        with self._storage() as connection:
            for start in range(0, len(keys), 500):
                chunk = keys[start : start + 500]
                marks = ",".join("?" * len(chunk))
                known.update(
                    key for (key,) in connection.execute(f"SELECT key FROM calls WHERE key IN ({marks})", chunk)
                )
        return known

    def requests(self, source: str) -> list[tuple[Request, str]]:
        """Every answered request of a source with the time of its answer (ISO 8601, UTC), the oldest first."""
        oldest_first = "SELECT request, answered_at FROM calls WHERE source = ? ORDER BY answered_at, key"
        with self._storage() as connection:
            rows = connection.execute(oldest_first, (source,)).fetchall()
        return [(json.loads(request), at) for request, at in rows]

    def newest(self, source: str) -> str | None:
        """The time of the newest answer of a source; None where there is none."""
        with self._storage() as connection:
            row = connection.execute("SELECT max(answered_at) FROM calls WHERE source = ?", (source,)).fetchone()
        return row[0] and str(row[0])

    def take_turn(self, service: str, per_minute: int | None, clock: Callable[[], float]) -> Wait | None:
        """Note the start of a request at the clock's time (epoch seconds), or say how long it has to wait.

        Pauses and starts are kept in the file, so that a restart forgets neither the requests of the last minute nor
        what the service asked for. The clock is read under the lock: if another thread or process could note a later
        time first, it would look as if the clock had gone back.
        """
        with self._transaction() as connection:
            now = clock()
            if rest := self._rest_of_pause(connection, service, now):
                return Wait(rest, asked=True)
            if per_minute is None:
                return None
            # A start in the future means that the clock went back: it counts as now.
            connection.execute("UPDATE starts SET at = ? WHERE source = ? AND at > ?", (now, service, now))
            connection.execute("DELETE FROM starts WHERE source = ? AND at <= ?", (service, now - WINDOW))
            count, oldest = connection.execute(
                "SELECT count(*), min(at) FROM starts WHERE source = ?", (service,)
            ).fetchone()
            if count >= per_minute:
                # At least a moment: rounding may leave nothing to wait for, and no turn either.
                return Wait(max(0.001, oldest + WINDOW - now), asked=False)
            connection.execute("INSERT INTO starts VALUES (?, ?)", (service, now))
            return None

    def pause(self, service: str, seconds: float, clock: Callable[[], float]) -> None:
        """Record that the service wants no request from this machine for the next `seconds`."""
        with self._transaction() as connection:
            now = clock()
            if seconds > self._rest_of_pause(connection, service, now):
                connection.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (service, now, now + seconds))

    def _rest_of_pause(self, connection: sqlite3.Connection, service: str, now: float) -> float:
        row = connection.execute("SELECT asked_at, until FROM pauses WHERE source = ?", (service,)).fetchone()
        if row is None:
            return 0.0
        asked_at = float(row[0])
        until = min(float(row[1]), asked_at + LONGEST_TIMEOUT)  # some services mean milliseconds
        if asked_at > now:  # The clock went back: the pause begins now.
            until -= asked_at - now
            connection.execute("INSERT OR REPLACE INTO pauses VALUES (?, ?, ?)", (service, now, until))
        return max(0.0, until - now)

    def _open(self, read_only: bool) -> sqlite3.Connection:
        try:
            # Beside a file that it may not write, SQLite would leave files of this user that lock the owner out.
            self._protected = not read_only and self.path.exists() and not os.access(self.path, os.W_OK)
            with ExitStack() as on_error:
                reads = read_only or self._protected
                connection = self._connect_read_only() if reads else self._connect()
                on_error.callback(connection.close)
                if not reads:
                    _prepare(connection)
                connection.execute("SELECT count(*) FROM calls WHERE key = ''").fetchone()
                on_error.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise DualDataError(
                f"{self.path}: the call log cannot be opened ({error}). {self._advice(error)}"
            ) from None
        return connection

    def _advice(self, error: Exception) -> str:
        if "locked" in str(error):
            return "Another process has kept the file locked for long: wait for it to end, or end it, and run again."
        if not isinstance(error, sqlite3.DatabaseError):
            return f"Nothing was changed by this. Make {self.path.parent} a folder that can be written."
        name = self.path.name
        if "readonly" in str(error):
            return f"Make {name}, and {name}-wal and {name}-shm where they are, files that you can write."
        if (length := len(os.fsencode(self.path.absolute()))) > LONGEST_PATH:
            return f"SQLite opens no path of {length} bytes: move the project to a shorter one."
        again = "If another process wrote it meanwhile, run the same command again. " if self._immutable else ""
        return (
            f"Nothing was changed by this. {again}If the disk is full or the folder cannot be written, correct that. "
            f"If the file is damaged, run in {self.path.parent}: sqlite3 {name} .recover | sqlite3 rescued.sqlite, "
            f"move rescued.sqlite to {name} and remove {name}-wal; answers that could not be rescued are asked again."
        )

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.path.touch()  # so the umask says who may write it; SQLite would let its owner alone
        return sqlite3.connect(self.path, timeout=self._patience, check_same_thread=False, isolation_level=None)

    def _connect_read_only(self) -> sqlite3.Connection:
        with ExitStack() as unless_kept:
            memory = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
            unless_kept.callback(memory.close)
            if self.path.exists():
                path = self.path.resolve()  # SQLite's other files are beside the file itself, not beside a link to it
                prepared = _is_prepared(path)
                # Without a write-ahead file nobody is writing, and SQLite need not create a shared-memory file. But if
                # a process begins to write, pages change under this reader, to which the file then looks damaged.
                self._immutable = not path.with_name(path.name + "-wal").exists()
                target = path.as_uri() + "?mode=ro" + ("&immutable=1" if self._immutable else "")
                file = sqlite3.connect(target, timeout=self._patience, uri=True, check_same_thread=False)
                if prepared:
                    return file
                with closing(file):
                    file.backup(memory)
            _prepare(memory)
            unless_kept.pop_all()
            return memory

    @contextmanager
    def _storage(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; an error of SQLite becomes one clear message."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise DualDataError(
                    f"{self.path}: the call log cannot be used ({error}); what was answered before is kept. "
                    f"{self._advice(error)}"
                ) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection for changes that are made all or none, and that no other process comes between."""
        with self._storage() as connection:
            if self._protected:
                raise sqlite3.OperationalError("attempt to write a readonly database")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise


def _well_formed(answer: Answer) -> tuple[bytes, Answer]:
    """An answer as JSON, and as decoded from it: JSON can hold a lone surrogate, which no table could."""
    text = json.dumps(answer, ensure_ascii=False)
    try:
        return text.encode("utf-8"), answer
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text.encode("utf-8"), json.loads(text)


def _prepare(connection: sqlite3.Connection) -> None:
    """Check the file and make its tables; raises sqlite3.DatabaseError for a damaged one."""
    # A second per gigabyte. Writing to a damaged file would lose more than is lost already.
    if (status := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(status)
    connection.executescript(_SCHEMA)
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        # A new file, or one that was rescued: in rows that went over lost pages, .recover leaves gaps or rubbish.
        connection.create_function("is_whole", 5, _is_whole)
        blobs = ", ".join(f"CAST({name} AS BLOB)" for name in ("key", "source", "request", "answer", "answered_at"))
        connection.execute(f"DELETE FROM calls WHERE NOT is_whole({blobs})")
    connection.execute("PRAGMA journal_mode = WAL")
    # In WAL mode NORMAL survives a killed process; only a power cut can cost the last commits.
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_prepared(path: Path) -> bool:
    """Whether the file is in WAL mode, by its header: SQLite does not tell of a file that it opened as immutable."""
    with path.open("rb") as file:
        return file.read(19)[18:] == b"\x02"


def _is_whole(key: bytes, source: bytes, request: bytes, answer: bytes, answered_at: bytes) -> bool:
    """Whether all parts of a row are as they were written; SQLite passes None for a part that is lost."""
    try:
        json.loads(zlib.decompress(answer))
        datetime.fromisoformat(str(answered_at, "utf-8"))
        return str(key, "utf-8") == digest(f"{str(source, 'utf-8')}\n{str(request, 'utf-8')}", 64)
    except (zlib.error, ValueError, TypeError):
        return False
