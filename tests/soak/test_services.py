"""Facts and links through the real clients, over services that keep count: limits, lag, and a ban in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.rebuild.wiki import ActionApi
from benchmarks.rebuild.world import Rehearsal
from dual_data.calls.fetching import Calls
from dual_data.calls.log import WINDOW
from dual_data.engine.run import build
from dual_data.errors import Refused
from dual_data.project.loading import load_project
from tests.cli.command import forget_pipeline
from tests.clock import FakeClock
from tests.faults.proxy import BANNED, Fault, Proxy, Request, proxy, too_many
from tests.services.oxigraph import oxigraph
from tests.untrusted.hostile import project
from tests.wiki.world import world

PROFILE = """\
[project]
name = "soak"

[services]
sparql = "{sparql}/query"
wikipedia = "{wikipedia}/w/"

[services.pace]
wikidata = {{ per_minute = 30 }}
wikipedia = {{ per_minute = 3 }}

[facts.queries]
subjects = 20
entities = 40
"""

LAG = Fault(
    "lag",
    content_type="application/json",
    body=json.dumps({"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged."}}).encode(),
    headers=(("Retry-After", "12"), ("X-Database-Lag", "7")),
)


class Record:
    """Records the times of a service's requests; `answer` decides each answer by its number."""

    def __init__(self, clock: FakeClock, answer: Callable[[int], Fault | None]) -> None:
        self.clock, self.answer = clock, answer
        self.moments: list[float] = []

    def __call__(self, request: Request) -> Fault | None:
        self.moments.append(self.clock.now())
        return self.answer(len(self.moments))

    def most_in_a_minute(self) -> int:
        return max(sum(start <= moment < start + WINDOW for moment in self.moments) for start in self.moments)


class Services(NamedTuple):
    """A project and its two services, each behind a proxy."""

    root: Path
    clock: FakeClock
    sparql: Proxy
    wikipedia: Proxy

    def build(self) -> None:
        """Facts and links, as in a new process."""
        forget_pipeline()
        loaded = load_project(self.root, "dual")
        tools = loaded.tools()
        tools.calls.close()
        pace = loaded.profile.services.pace
        with Calls(loaded.artifacts / "calls.sqlite", pace, clock=self.clock) as calls:
            build(loaded.stages, replace(tools, calls=calls), loaded.profile, only=["links"])


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    rehearsal = Rehearsal(world(), links={qid: 10 + number for number, qid in enumerate(world().items)})
    with oxigraph(world().turtle()) as upstream, proxy(upstream) as sparql, proxy(upstream) as wikipedia:
        wikipedia.answer = ActionApi(rehearsal)
        root = project(tmp_path / "project", sparql.url, "http://127.0.0.1:9/v1")
        text = PROFILE.format(sparql=sparql.url, wikipedia=wikipedia.url)
        (root / "pipeline" / "dual.toml").write_text(text, encoding="utf-8")
        yield Services(root, FakeClock(), sparql, wikipedia)
    forget_pipeline()


def test_limits_hold_across_stages_and_restarts(services: Services) -> None:
    sparql = Record(services.clock, lambda n: too_many(40) if n % 17 == 0 else None)
    wikipedia = Record(services.clock, lambda n: LAG if n in (2, 5) else None)
    services.sparql.when, services.wikipedia.when = sparql, wikipedia
    services.build()
    # A changed batch makes new queries: they start in the minute that the last run has filled.
    path = services.root / "pipeline" / "dual.toml"
    path.write_text(path.read_text().replace("entities = 40", "entities = 30"))
    first = len(sparql.moments)
    services.build()
    assert len(sparql.moments) > first > 40
    assert sparql.most_in_a_minute() == 30
    assert wikipedia.most_in_a_minute() == 3
    for moments, indices, seconds in (
        (sparql.moments, range(16, len(sparql.moments), 17), 40),
        (wikipedia.moments, (1, 4), 12),
    ):
        for index in indices:
            if index + 1 < len(moments):
                assert moments[index + 1] - moments[index] >= seconds


@pytest.mark.parametrize("banned", ["sparql", "wikipedia"])
def test_a_ban_stops_at_once_and_loses_nothing(services: Services, banned: str) -> None:
    front: Proxy = getattr(services, banned)
    record = Record(services.clock, lambda n: BANNED if n > 2 else None)
    front.when = record
    with pytest.raises(Refused) as caught:
        services.build()
    assert front.count == 3, "nothing is sent after the ban"
    for words in ("403", "contact", "wait a day"):
        assert words in str(caught.value)
    assert services.clock.now() == record.moments[-1], "nobody waits for a ban to pass"
    front.when = None
    before = [(request.path, request.body) for request in front.requests[:2]]
    services.build()
    after = [(request.path, request.body) for request in front.requests[3:]]
    assert not set(before) & set(after), "what was answered is not asked again"
