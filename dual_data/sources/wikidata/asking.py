"""Getting batches of SPARQL answered: for real through the call log, or in a forecast from the log alone.

A query that the service cannot finish is halved; the failure is kept in the call log like an answer, so that a resumed
build does not send the impossible query again. An answer that breaks off twice counts as such a failure: a timeout may
look like that, and repeating the query again and again would get the client banned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dual_data.calls.fetching import Calls, Forecast, NotKnown
from dual_data.errors import BrokenOff, ServiceError, TooLarge
from dual_data.sources.wikidata.queries import Batch
from dual_data.sources.wikidata.sparql import Endpoint, Rows, Term
from dual_data.system.progress import Progress

GROUP = 16
"""Batches that are handed over at once; the service's pace limits how many are in flight."""


class Live:
    """Asks the endpoint through the call log."""

    def __init__(self, endpoint: Endpoint, calls: Calls, progress: Progress) -> None:
        self.endpoint, self.calls, self.progress = endpoint, calls, progress
        self._broken_off: set[str] = set()

    def ask(self, label: str, batches: Sequence[Batch]) -> Iterator[tuple[int, Rows]]:
        """Rows in the order of the batches, each with its batch's position; a batch that was halved comes in parts.

        Raises ServiceError where a batch is too large and cannot be halved, and what `Calls.fetch` raises.
        """
        with self.progress.task(label, len(batches)) as advance:
            for start in range(0, len(batches), GROUP):
                group = batches[start : start + GROUP]
                for position, parts in enumerate(self._answers(group, advance), start):
                    for rows in parts:
                        yield position, rows

    def _answers(self, batches: Sequence[Batch], advance: Callable[[int], None]) -> Iterator[list[Rows]]:
        requests = [self.endpoint.request(batch.query()) for batch in batches]
        by_query = dict(zip((request["query"] for request in requests), batches, strict=True))

        def fetch(request: Mapping[str, Any]) -> dict[str, Any]:
            try:
                return {"rows": self.endpoint.ask(request["query"])}
            except TooLarge as error:
                if not by_query[request["query"]].halves():
                    # Not logged: at a quieter hour the service may manage it.
                    raise _indivisible(str(error), request["query"]) from None
                return {"too_large": str(error)}
            except BrokenOff as error:
                if request["query"] in self._broken_off and by_query[request["query"]].halves():
                    return {"too_large": f"{error}, for the second time"}
                self._broken_off.add(request["query"])
                raise

        answers = self.calls.fetch_all(self.endpoint.source, requests, fetch, advance)
        for batch, answer in zip(batches, answers, strict=True):
            if "too_large" in answer:
                yield [rows for parts in self._answers(batch.halves(), lambda _: None) for rows in parts]
            else:
                yield [from_log(answer)]


class Foresight:
    """Counts what `Live` would ask; gives the answers that are in the log and raises NotKnown for the others."""

    def __init__(self, endpoint: Endpoint, calls: Calls) -> None:
        self.endpoint, self.calls = endpoint, calls
        self.in_log = 0
        self.missing = 0

    def ask(self, label: str, batches: Sequence[Batch]) -> Iterator[tuple[int, Rows]]:
        """Counts every batch before any answer is returned."""
        before = self.missing
        answers = [(position, rows) for position, batch in enumerate(batches) for rows in self._recall(batch)]
        if self.missing > before:
            raise NotKnown
        return iter(answers)

    def forecast(self, estimate: int = 0) -> Forecast:
        """The calls counted so far; an estimate of all of them where others will follow."""
        note = "estimated: what is asked depends on answers that are not in the log" if estimate else ""
        return Forecast(self.endpoint.source, max(estimate, self.in_log + self.missing), self.in_log, note=note)

    def _recall(self, batch: Batch) -> Iterator[Rows]:
        answer = self.calls.recall(self.endpoint.source, self.endpoint.request(batch.query()))
        if answer is None:
            self.missing += 1
        elif "too_large" in answer:
            self.in_log += 1
            for half in batch.halves():
                yield from self._recall(half)
        else:
            self.in_log += 1
            yield from_log(answer)


Asker = Live | Foresight


def from_log(answer: Mapping[str, Any]) -> Rows:
    """From what the call log keeps."""
    return [[None if cell is None else Term(*cell) for cell in row] for row in answer["rows"]]


def _indivisible(error: str, query: str) -> ServiceError:
    return ServiceError(
        f"{error}; and this query cannot be made smaller:\n{query}\n"
        "Try again at another hour, give the topic narrower classes, or use another endpoint."
    )
