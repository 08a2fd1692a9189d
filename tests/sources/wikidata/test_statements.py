"""Which subjects are taken, and what their statements and descriptions become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Topic
from dual_data.ids import digest, number
from dual_data.sources.wikidata.asking import Live
from dual_data.sources.wikidata.sparql import HttpEndpoint
from dual_data.sources.wikidata.statements import Sizes, describe, harvest, jobs_of, subclasses, subjects
from dual_data.system.progress import Progress
from tests.clock import FakeClock
from tests.faults.proxy import Proxy, Request, proxy, stack_trace
from tests.services.oxigraph import oxigraph
from tests.sources.test_values import relation
from tests.wiki.model import PREFIXES
from tests.wiki.world import world

SIZES = Sizes(subjects=30, entities=40, classes=1, bands=(150, 60, 20))
NAMED = world().named


@pytest.fixture
def front(server: str) -> Iterator[Proxy]:
    with proxy(server) as running:
        yield running


@pytest.fixture
def asker(front: Proxy, tmp_path: Path) -> Live:
    calls = Calls(tmp_path / "calls.sqlite", clock=FakeClock())
    return Live(HttpEndpoint(f"{front.url}/query", ""), calls, Progress())


def topic(name: str, **more: Any) -> Topic:
    return Topic.model_validate({"classes": [NAMED[name]], **more})


def linked(qid: str) -> int:
    return world().items[qid].sitelinks or 0


CITIES = sorted(world().of_class(NAMED["city"]), key=lambda qid: (-linked(qid), int(qid[1:])))


def test_subclasses_of_subclasses_are_found(asker: Live) -> None:
    assert subclasses(asker, "city", [NAMED["city"]]) == [NAMED["city"], NAMED["town"], NAMED["spa town"]]
    assert subclasses(asker, "none", ["Q899999999"]) == ["Q899999999"]


@pytest.mark.parametrize("limit", [1, 7, 40, 100, 170, 5000])
def test_the_best_linked_are_taken_in_order(asker: Live, limit: int) -> None:
    assert subjects(asker, "city", topic("city", limit=limit), SIZES, None) == CITIES[:limit]


def test_ties_go_by_number_and_the_unlinked_come_last(asker: Live) -> None:
    cities = subjects(asker, "city", topic("city"), SIZES, None)
    first, second = NAMED["tie_1"], NAMED["tie_2"]
    assert cities.index(second) == cities.index(first) + 1 + sum(
        linked(qid) == linked(first) and int(first[1:]) < int(qid[1:]) < int(second[1:]) for qid in cities
    )
    assert linked(cities[-1]) == 0
    assert NAMED["no_sitelinks"] in cities


def test_no_more_bands_are_asked_than_needed(asker: Live, front: Proxy) -> None:
    enough = sum(linked(qid) >= 150 for qid in CITIES)
    assert enough > 0
    subjects(asker, "city", topic("city", limit=enough), SIZES, None)
    assert front.count == 1 + 3, "one query for the classes, then one for each of them"


def test_the_limit_of_a_run_is_a_limit_of_each_topic(asker: Live) -> None:
    assert subjects(asker, "city", topic("city", limit=50), SIZES, 3) == CITIES[:3]
    assert subjects(asker, "city", topic("city", limit=2), SIZES, 3) == CITIES[:2]


def test_order_by_hash_takes_from_all(asker: Live) -> None:
    cities = subjects(asker, "city", topic("city", limit=10, order="hash"), SIZES, None)
    assert cities == sorted(CITIES, key=digest)[:10]


def test_people_belong_by_occupation(asker: Live) -> None:
    writers = subjects(asker, "writer", topic("writer", property="P106"), SIZES, None)
    assert sorted(writers, key=lambda qid: int(qid[1:])) == world().of_class(NAMED["writer"], by="P106")
    assert len(writers) == 90


def test_a_class_that_is_too_large_is_asked_band_by_band(asker: Live, front: Proxy) -> None:
    def too_large(request: Request) -> Any:
        wide = b"%3Fsitelinks+%3E%3D+20" in request.body and b"%3C+60" in request.body
        return stack_trace(b'{"head":{"vars":["item"]},"results":{"bindings":[') if wide else None

    front.when = too_large
    assert subjects(asker, "city", topic("city"), SIZES, None) == CITIES
    assert any(b"%3E%3D+40" in request.body for request in front.requests)


def test_wrong_classes_are_told_by_subclass(asker: Live) -> None:
    relations = {
        "P36": relation("entity", property="P36", object_classes=[NAMED["settlement"]]),
        "P37": relation("entity", property="P37", object_classes=[NAMED["settlement"]]),
    }
    countries = world().of_class(NAMED["country"])
    rows = harvest(asker, {"countries": countries}, relations, SIZES).statements
    by_relation = dict(rows.group_by("relation").agg(pl.col("reason").unique()).iter_rows())
    assert by_relation == {"P36": [None], "P37": ["wrong_class"]}


def test_jobs_are_the_same_whatever_the_order_of_subjects() -> None:
    relations = {"P17": relation("entity", property="P17", topics=["a"]), "P36": relation("entity", property="P36")}
    jobs = jobs_of({"a": ["Q10", "Q9", "Q2"], "b": ["Q1"]}, relations, Sizes(subjects=2))
    assert [(job.topic, job.relation, job.batch.subjects) for job in jobs] == [
        ("a", "P17", ("Q2", "Q9")),
        ("a", "P17", ("Q10",)),
        ("a", "P36", ("Q2", "Q9")),
        ("a", "P36", ("Q10",)),
        ("b", "P36", ("Q1",)),
    ]
    assert jobs == jobs_of({"a": ["Q2", "Q10", "Q9"], "b": ["Q1"]}, relations, Sizes(subjects=2))


def test_the_english_label_is_preferred_and_the_other_is_an_alias(tmp_path: Path) -> None:
    header = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in PREFIXES.items())
    text = header + (
        'wd:Q1 rdfs:label "Both"@en , "Beide"@mul , "Anders"@de ; skos:altLabel "Both"@en , "B."@mul , "Bo th"@en .\n'
        'wd:Q2 rdfs:label "Q2"@en .\nwd:Q3 rdfs:label "Drei"@de .\n'
        "<https://en.wikipedia.org/wiki/B> schema:about wd:Q1 ; schema:isPartOf <https://en.wikipedia.org/> ; "
        'schema:name "Both (thing)"@en .\n'
    )
    with oxigraph(text) as url:
        calls = Calls(tmp_path / "calls.sqlite", clock=FakeClock())
        asker = Live(HttpEndpoint(f"{url}/query", ""), calls, Progress())
        entities, classes = describe(asker, ["Q1", "Q2", "Q3"], SIZES)
    assert entities.rows() == [
        ("Q1", "Both", ["B.", "Beide", "Bo th"], None, None, "Both (thing)"),
        ("Q2", None, [], None, None, None),
    ]
    assert classes == {"Q1": set(), "Q2": set()}


def test_the_number_of_an_item_orders_it() -> None:
    assert sorted(["Q10", "Q9"], key=number) == ["Q9", "Q10"]
