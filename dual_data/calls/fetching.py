"""Calls of remote services and models: every answer is kept once and replayed for ever after.

The three clients speak through three HTTP stacks, so replaying, retrying, pacing and counting live here, at the call,
and nowhere else. A call is identified by its content: sha256 of the source's name and the canonical request. Once
`do` has returned, its answer is in the log before anybody sees it; a killed build therefore loses at most the calls in
flight, and repeats none that was answered.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import tenacity

from dual_data.calls.log import Answer, CallLog, Request, key_of
from dual_data.config import Pace
from dual_data.errors import Dropped, Offline, ServiceError, Transient
from dual_data.ids import canonical
from dual_data.text.display import visible

NAP = 1.0
"""Longest single sleep, in seconds, while other calls are in flight: one of them may end the run meanwhile."""
TOLD = 3.0
"""Shortest wait for a service, in seconds, that is told: a longer silence would look like a hang."""

_ADDRESSES = ("server", "endpoint", "wiki")
"""Keys of a request that hold the address of the service that it goes to."""


class Clock:
    """The machine's clock; tests pass one that does not wait."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class Forecast(NamedTuple):
    """The calls that a stage will make to one source."""

    source: str
    calls: int
    """All calls, answered ones included."""
    in_log: int
    """Calls that are answered in the log."""
    tokens: int = 0
    """Estimated prompt and answer tokens of the calls to make; 0 if the source does not count tokens."""
    note: str = ""
    """What the numbers are based on, if that is not obvious."""

    @property
    def to_make(self) -> int:
        """Calls that are not answered yet."""
        return self.calls - self.in_log


class NotKnown(Exception):
    """A forecast has come to a call that the log has no answer to. Never leaves the forecasts."""


class _Ended(Exception):
    """Another call of the same `fetch_all` has failed, so this one is not made. Never leaves the module."""


class Counts(NamedTuple):
    """What happened to the calls of one source: answers fetched, answers replayed, tries that failed."""

    made: int
    replayed: int
    failed: int


Tally = Counter[tuple[str, str]]
"""How often each outcome, a field of `Counts`, came about, by source and outcome."""


class Calls(AbstractContextManager["Calls"]):
    """Calls by way of the log in one file, safe to use from several threads of one process.

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
        self.offline = offline or read_only
        self.clock = clock or Clock()
        self._pace = dict(pace or {})
        self._lock = threading.Lock()
        self._tally: Tally = Counter()
        self._told_until: dict[str, float] = {}
        self._impatient = False
        self.log = CallLog(path, read_only=read_only)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log."""
        self.log.close()

    def pace(self, source: str) -> Pace:
        """The pace of a source; of `local:model` that of `local`, where it has none of its own."""
        return self._pace.get(source) or self._pace.get(source.partition(":")[0]) or Pace()

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Calls are tried once only: for what can be asked again later. For use while no other thread makes any."""
        self._impatient = True
        try:
            yield
        finally:
            self._impatient = False

    def missing(self, source: str, requests: Sequence[Request]) -> list[Request]:
        """Those of the requests that the log does not answer."""
        keys = [key_of(source, request) for request in requests]
        known = self.log.known(keys)
        return [request for key, request in zip(keys, requests, strict=True) if key not in known]

    def tally(self) -> Tally:
        """What this process did so far."""
        with self._lock:
            return self._tally.copy()

    def counts(self, before: Tally | None = None) -> dict[str, Counts]:
        """What this process did since the tally `before`, by source; without it, all that it did."""
        tally = self.tally() - (before or Tally())
        sources = sorted({source for source, _ in tally})
        return {source: Counts(*(tally[source, outcome] for outcome in Counts._fields)) for source in sources}

    def recall(self, source: str, request: Request) -> Answer | None:
        """The logged answer, or None; counts nothing and asks nobody."""
        return self.log.read(key_of(source, request))

    def latest(self, source: str, fields: Request) -> Answer | None:
        """The newest answer whose request has all of `fields`. Reads every request of the source: for small ones."""
        for request, _ in reversed(self.log.requests(source)):
            found = all(request.get(name) == value for name, value in fields.items())
            if found and (answer := self.recall(source, request)) is not None:
                return answer
        return None

    def answered(self, source: str) -> list[tuple[Request, str]]:
        """Every request of a source that is in the log with the UTC day of its answer, the oldest first."""
        return [(request, at[:10]) for request, at in self.log.requests(source)]

    def fetch(
        self, source: str, request: Request, do: Callable[[], Answer], ended: threading.Event | None = None
    ) -> Answer:
        """The answer of one call: replayed, or fetched by `do`, validated there, and logged.

        Raises Offline for a miss when calls are off, Refused and TooLarge as `do` raises them, and ServiceError when
        the tries of the source's pace are used up. A call of many is given up before its next try once `ended` is set.
        """
        answer = self.recall(source, request)
        if answer is not None:
            self._count(source, "replayed")
            return answer
        if self.offline:
            raise _missing(source, [request])
        answer, attempts = self._ask(source, _service(source, request), do, ended)
        return self._write(source, [(request, answer)], attempts)[0]

    def note(self, source: str, request: Request, answer: Answer) -> None:
        """Log an answer that this process has without a call, in place of an older one; it becomes the newest, of no
        tries, and counts as no call.

        Raises Offline when calls are off, since nothing is logged then.
        """
        if self.offline:
            raise _missing(source, [request])
        # A clock that went back would leave the older answer the newest; in the same second, their keys would decide.
        newest = self.log.newest(source)
        after = datetime.fromisoformat(newest).timestamp() + 1 if newest else 0.0
        self.log.write(source, [(request, answer)], now=max(self.clock.now(), after), attempts=0, replace=True)

    def fetch_all(
        self,
        source: str,
        requests: Sequence[Request],
        do: Callable[[Request], Answer],
        advance: Callable[[int], None] = lambda _: None,
        ended: threading.Event | None = None,
    ) -> list[Answer]:
        """The answers of many calls in the order of `requests`, with the concurrency of the source's pace.

        Equal requests are one call; repetitions count as replayed, and `advance` counts them too. The first failure
        stops further calls, also those that wait for their turn; it is raised once those in flight are logged. Ctrl-C
        does the same, and during that last wait it raises Dropped at once; where a source gets one call at a time, it
        breaks that call off. Then `ended` is set, for a `do` that waits before it asks.
        """
        if self.offline and (missing := self.missing(source, requests)):
            raise _missing(source, missing)
        slots = self.pace(source).concurrency
        if slots == 1:
            answers = []
            for request in requests:
                answers.append(self.fetch(source, request, partial(do, request)))
                advance(1)
            return answers
        distinct, times = _distinct(source, requests)
        done: dict[str, Answer] = {}
        running: dict[Future[Answer], str] = {}
        queue = iter(distinct.items())
        ended = threading.Event() if ended is None else ended
        pool = ThreadPoolExecutor(max_workers=slots)
        try:
            while len(done) < len(distinct):
                for key, request in islice(queue, 2 * slots - len(running)):
                    future = pool.submit(self.fetch, source, request, partial(do, request), ended)
                    running[future] = key
                # An unbounded wait would delay Ctrl-C on some systems.
                finished, _ = wait(running, timeout=NAP, return_when=FIRST_COMPLETED)
                for future in finished:
                    key = running.pop(future)
                    done[key] = future.result()
                    self._count(source, "replayed", times[key] - 1)
                    advance(times[key])
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)
            _await(source, running)
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

        Missing requests are sent in groups of `size` in the order of `requests`; each answer is a call of its own in
        the log, so that another run may group them differently.
        """
        distinct, times = _distinct(source, requests)
        done: dict[str, Answer] = {}
        missing: list[str] = []
        for key in distinct:
            answer = self.log.read(key)
            if answer is None:
                missing.append(key)
            else:
                done[key] = answer
                self._count(source, "replayed", times[key])
        if missing and self.offline:
            raise _missing(source, [distinct[key] for key in missing])
        advance(sum(times[key] for key in done))
        for start in range(0, len(missing), size):
            keys = missing[start : start + size]
            group = [distinct[key] for key in keys]
            service = _service(source, group[0])
            answers, attempts = self._ask(source, service, partial(do, group))
            done.update(zip(keys, self._write(source, list(zip(group, answers, strict=True)), attempts), strict=True))
            count = sum(times[key] for key in keys)
            self._count(source, "replayed", count - len(keys))
            advance(count)
        return [done[key_of(source, request)] for request in requests]

    def _ask(
        self, source: str, service: str, do: Callable[[], Answer], ended: threading.Event | None = None
    ) -> tuple[Answer, int]:
        pace = self.pace(source)
        attempts = 0

        def attempt() -> Answer:
            nonlocal attempts
            self._wait_for_turn(service, pace, ended)
            attempts += 1
            try:
                return do()
            except ServiceError as error:
                self._count(source, "failed")
                if isinstance(error, Transient) and error.retry_after is not None:
                    self.log.pause(service, error.retry_after, self.clock.now)
                raise

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if self._impatient else pace.attempts),
            wait=lambda state: _delay(service, state, pace),
            retry=tenacity.retry_if_exception_type(Transient),
            before_sleep=lambda state: self._tell_retry(source, service, state, pace),
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

    def _wait_for_turn(self, service: str, pace: Pace, ended: threading.Event | None) -> None:
        """Block until the service's pause is over and one more request fits into the last minute."""
        while True:
            if ended is not None and ended.is_set():
                raise _Ended
            wait = self.log.take_turn(service, pace.per_minute, self.clock.now)
            if wait is None:
                return
            if wait.asked and wait.seconds > pace.longest_wait:
                raise _too_long(service, wait.seconds, pace)
            if wait.asked and self._is_news(service, wait.seconds):
                tell(f"{service}: asked for a pause; going on in {wait.seconds:.0f} s")
            self._sleep(wait.seconds, ended)

    def _tell_retry(self, source: str, service: str, state: tenacity.RetryCallState, pace: Pace) -> None:
        seconds = state.next_action.sleep if state.next_action is not None else 0.0
        if state.outcome is not None and self._is_news(service, seconds):
            again = f"trying again in {seconds:.0f} s ({state.attempt_number + 1} of {pace.attempts})"
            tell(f"{source}: {state.outcome.exception()}; {again}")

    def _is_news(self, service: str, seconds: float) -> bool:
        """Whether a wait that begins is to be told: not if it is short, or begins during one of the same service that
        was told, since calls that run at once fail at once."""
        with self._lock:
            now = self.clock.now()
            if seconds < TOLD or now < self._told_until.get(service, 0.0):
                return False
            self._told_until[service] = now + seconds
            return True

    def _sleep(self, seconds: float, ended: threading.Event | None) -> None:
        if ended is None:
            self.clock.sleep(seconds)
            return
        while seconds > 0 and not ended.is_set():
            self.clock.sleep(min(seconds, NAP))
            seconds -= NAP

    def _write(self, source: str, pairs: Sequence[tuple[Request, Answer]], attempts: int) -> list[Answer]:
        """Log answers, count them, and return them as the log gives them back."""
        answers = self.log.write(source, pairs, now=self.clock.now(), attempts=attempts)
        self._count(source, "made", len(pairs))
        return answers

    def _count(self, source: str, outcome: str, times: int = 1) -> None:
        with self._lock:
            self._tally[source, outcome] += times


def tell(line: str) -> None:
    """Print a line on stderr, where there may be a bar of progress; what a server wrote in it steers nothing there."""
    print(visible(line), file=sys.stderr, flush=True)


def _missing(source: str, requests: Sequence[Request]) -> Offline:
    return Offline(source, [canonical(request)[:200] for request in requests])


def _service(source: str, request: Request) -> str:
    """The address of the service, to which its pauses and its pace belong whoever asks it; without one, the source."""
    return next((str(request[name]) for name in _ADDRESSES if name in request), source)


def _distinct(source: str, requests: Sequence[Request]) -> tuple[dict[str, Request], Counter[str]]:
    """The distinct requests by key, in order of first appearance, and how often each occurs."""
    keys = [key_of(source, request) for request in requests]
    return dict(zip(keys, requests, strict=True)), Counter(keys)


def _await(source: str, running: Iterable[Future[Answer]]) -> None:
    """Wait for the calls in flight, however long, and print once that they are waited for."""
    try:
        # Cancelled futures never count as done. Calls that wait for their turn end within a nap.
        _, pending = wait([future for future in running if not future.cancelled()], timeout=NAP + 0.2)
        if pending:
            line = f"\n{source}: waiting for {len(pending)} answer(s) in flight; Ctrl-C drops them and ends at once"
            print(line, file=sys.stderr, flush=True)
        while pending:
            _, pending = wait(pending, timeout=NAP)
    except KeyboardInterrupt:
        raise Dropped from None


def _delay(service: str, state: tenacity.RetryCallState, pace: Pace) -> float:
    """Seconds until the next try: what the service asked for, else exponential with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    requested = error.retry_after if isinstance(error, Transient) else None
    if requested is None:
        return tenacity.wait_exponential_jitter(max=pace.longest_wait)(state)
    if requested > pace.longest_wait:
        raise _too_long(service, requested, pace)
    return requested


def _too_long(service: str, seconds: float, pace: Pace) -> ServiceError:
    return ServiceError(
        f"{service}: asks to wait {seconds:.0f} s, more than longest_wait ({pace.longest_wait:.0f} s). "
        "What was answered is kept; run the same command again after that time."
    )
