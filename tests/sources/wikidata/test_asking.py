"""Batches that are too large are halved, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from dual_data.calls.fetching import Calls, NotKnown
from dual_data.config import Pace
from dual_data.errors import ServiceError
from dual_data.sources.wikidata.asking import Foresight, Live
from dual_data.sources.wikidata.queries import Entities, in_batches
from dual_data.sources.wikidata.sparql import HttpEndpoint
from dual_data.system.progress import Progress
from tests.clock import FakeClock
from tests.faults.proxy import CUT, RESET, Fault, Proxy, Request, proxy, stack_trace
from tests.wiki.world import world

START = b'{"head":{"vars":["item"]},"results":{"bindings":[{"item":{"type":"uri","value":"http'


class Steps(Progress):
    """Progress that is written down."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int | None]] = []
        self.done = 0

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        self.seen.append((label, total))

        def advance(steps: int) -> None:
            self.done += steps

        yield advance


def size(request: Request) -> int:
    """How many items a query asks for."""
    (query,) = parse_qs(request.body.decode())["query"]
    return query.partition("VALUES ?item { ")[2].partition(" }")[0].count("wd:")


def too_large_above(most: int) -> object:
    def when(request: Request) -> Fault | None:
        return stack_trace(START) if size(request) > most else None

    return when


def live(front: Proxy, log: Path, steps: Steps | None = None) -> Live:
    calls = Calls(log, {"wikidata": Pace(concurrency=2)}, clock=FakeClock())
    return Live(HttpEndpoint(f"{front.url}/query", ""), calls, steps or Steps())


def rows(asker: Live | Foresight, batches: list[Entities]) -> list[tuple[int, int]]:
    return [(position, len(rows)) for position, rows in asker.ask("entities", batches)]


def test_a_batch_that_is_too_large_is_halved_until_it_fits(server: str, tmp_path: Path) -> None:
    qids = sorted(world().items, key=lambda qid: int(qid[1:]))[:100]
    batches = [Entities(group) for group in in_batches(qids, 40)]
    with proxy(server) as front:
        whole = rows(live(front, tmp_path / "whole.sqlite"), batches)
    with proxy(server) as front:
        front.when = too_large_above(11)  # type: ignore[assignment]
        steps = Steps()
        parts = rows(live(front, tmp_path / "parts.sqlite", steps), batches)
        assert sorted(size(request) for request in front.requests) == sorted(
            [40, 20, 20, 10, 10, 10, 10] * 2 + [20, 10, 10]
        )
        assert (steps.seen, steps.done) == ([("entities", 3)], 3)
        sent = front.count
        again = rows(live(front, tmp_path / "parts.sqlite"), batches)
        assert front.count == sent, "neither the good nor the impossible questions are asked again"
    assert again == parts
    assert [position for position, _ in parts] == [0] * 4 + [1] * 4 + [2] * 2
    for position, count in whole:
        assert count == sum(part for number, part in parts if number == position)


def test_an_answer_that_breaks_off_twice_is_halved(server: str, tmp_path: Path) -> None:
    """A timeout may arrive as an answer that breaks off, with nothing in it that says so."""
    qids = sorted(world().items, key=lambda qid: int(qid[1:]))[:40]
    with proxy(server) as front:
        whole = rows(live(front, tmp_path / "whole.sqlite"), [Entities(tuple(qids))])
    with proxy(server) as front:
        front.when = lambda request: CUT if size(request) > 11 else None
        parts = rows(live(front, tmp_path / "parts.sqlite"), [Entities(tuple(qids))])
        assert sorted(size(request) for request in front.requests) == [10] * 4 + [20] * 4 + [40] * 2
        sent = front.count
        assert rows(live(front, tmp_path / "parts.sqlite"), [Entities(tuple(qids))]) == parts
        assert front.count == sent
    assert sum(count for _, count in parts) == sum(count for _, count in whole)


@pytest.mark.parametrize(("fault", "sizes"), [(CUT, [1, 1, 1]), (RESET, [2, 2, 2])])
def test_what_says_nothing_about_the_query_is_repeated(
    server: str, tmp_path: Path, fault: Fault, sizes: list[int]
) -> None:
    """A connection that fails before an answer, and an answer to a question that cannot be smaller."""
    with proxy(server, fault, fault) as front:
        rows(live(front, tmp_path / "log.sqlite"), [Entities(tuple(sorted(world().items)[: sizes[0]]))])
        assert [size(request) for request in front.requests] == sizes


def test_what_cannot_be_halved_is_an_error_with_the_query(server: str, tmp_path: Path) -> None:
    with proxy(server) as front:
        front.when = too_large_above(0)  # type: ignore[assignment]
        with pytest.raises(ServiceError, match=r"(?s)cannot be made smaller.*SELECT \?item"):
            rows(live(front, tmp_path / "log.sqlite"), [Entities(("Q900000001", "Q900000002"))])
        # If the first half fails before the second has begun, the second is not sent.
        assert [size(request) for request in front.requests] in ([2, 1], [2, 1, 1])


def test_foresight_counts_and_asks_nothing(server: str, tmp_path: Path) -> None:
    qids = sorted(world().items)[:60]
    batches = [Entities(group) for group in in_batches(qids, 20)]
    with proxy(server) as front:
        front.when = too_large_above(11)  # type: ignore[assignment]
        asker = live(front, tmp_path / "log.sqlite")
        rows(asker, batches[:2])
        sent = front.count
        assert sent == 6
        ahead = Foresight(asker.endpoint, asker.calls)
        with pytest.raises(NotKnown):
            rows(ahead, batches)
        assert (ahead.in_log, ahead.missing) == (6, 1)
        known = Foresight(asker.endpoint, asker.calls)
        assert len(rows(known, batches[:2])) == 4
        assert (known.in_log, known.missing) == (6, 0)
        assert front.count == sent
