"""The links stage: method and day of every count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Profile, Services
from dual_data.engine.stage import Tools
from dual_data.engine.tables import settle
from dual_data.errors import ConfigError
from dual_data.schema import Links
from dual_data.sources.embedded import EmbeddedGraph
from dual_data.sources.wikidata.queries import PREFIXES, Entities, Members
from dual_data.sources.wikidata.sparql import HttpEndpoint
from dual_data.sources.wikipedia.counts import Wikipedia
from pipeline.links import IN_DEGREES, LinksParams, check, forecast, run
from tests.clock import FakeClock
from tests.pipeline.frames import facts_frame
from tests.tools import without_models

SERVICES = Services(sparql="http://127.0.0.1:9/sparql", wikipedia="http://127.0.0.1:9/w/")
ASKED, COUNTED, NEXT = "2023-11-14", "2023-11-15", "2023-11-16"
DAY = 86_400.0
LINKSHERE = {"prop": "linkshere", "lhnamespace": 0, "lhshow": "!redirect", "lhlimit": "max", "lhprop": "pageid"}


def facts() -> pl.DataFrame:
    """Q1 and Q2 have an article, Q3 and Q4 have none; the log has no answer about Q4."""
    return facts_frame(
        [
            {"subject": "Q1", "object": "Q2", "subject_title": "One", "object_title": "Two", "subject_sitelinks": 5},
            {"subject": "Q1", "object": "Q3", "subject_title": "One", "object_sitelinks": 0},
            {"subject": "Q4", "object": "1990", "object_kind": "date"},
        ]
    )


def profile(services: Services) -> Profile:
    return Profile(path=Path("mine.toml"), name="mine", services=services, stages={})


def tools(folder: Path, services: Services = SERVICES) -> Tools:
    """Tools whose log has all answers: those of the endpoint are a day older than those of Wikipedia."""
    clock = FakeClock()
    with Calls(folder / "calls.sqlite", clock=clock) as calls:
        endpoint = HttpEndpoint(SERVICES.sparql, "")
        for text in (Entities(("Q1", "Q2", "Q3")).query(), Members("P31", ("Q4",), 0, None).query()):
            calls.fetch(endpoint.source, endpoint.request(text), lambda: {"rows": []})
        other = HttpEndpoint("http://127.0.0.1:9/other", "")
        calls.fetch(other.source, other.request(Entities(("Q4",)).query()), lambda: {"rows": []})
        clock.sleep(DAY)
        wiki = Wikipedia(services, calls)
        pages = [
            {"title": "One", "cirrusdoc": [{"source": {"incoming_links": 7}}]},
            {"title": "Two", "missing": True},
        ]
        calls.fetch("wikipedia", wiki.probe(), lambda: {"extensions": ["CirrusSearch"], "day": COUNTED})
        for request in wiki.cirrus_requests(["One", "Two"]):
            calls.fetch("wikipedia", request, lambda: {"pages": pages, "day": COUNTED})
        clock.sleep(DAY)
    return without_models(folder, services, Calls(folder / "calls.sqlite", offline=True, clock=clock))


def rows(links: pl.DataFrame) -> dict[str, tuple[Any, ...]]:
    columns = ("title", "inbound_links", "method", "counted_on")
    return {qid: tuple(row) for qid, *row in links.select("qid", *columns).iter_rows()}


def test_every_entity_carries_the_day_on_which_it_was_asked_about(tmp_path: Path) -> None:
    links = run(LinksParams(method="cirrusdoc"), tools(tmp_path), facts=facts())
    assert rows(links) == {
        "Q1": ("One", 7, "cirrusdoc", COUNTED),
        "Q2": (None, None, "cirrusdoc", COUNTED),
        "Q3": (None, None, "cirrusdoc", ASKED),
        "Q4": (None, None, "cirrusdoc", None),
    }
    assert settle(links, Links, "links").rejected.is_empty()


def test_what_one_row_lacks_of_an_entity_is_taken_from_another(tmp_path: Path) -> None:
    again = facts_frame([{"subject": "Q1", "object": "Q5", "fact_id": "0" * 16}])
    links = run(LinksParams(method="none"), tools(tmp_path), facts=pl.concat([again, facts()]))
    assert links.filter(pl.col("qid") == "Q1")["sitelinks"].to_list() == [5]


def test_a_title_that_the_search_index_lacks_is_counted_by_its_links_to_the_end_and_says_so(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite", clock=FakeClock(1_700_000_000.0)) as calls:
        wiki = Wikipedia(SERVICES, calls)
        gap = {"title": "Two", "cirrusdoc": []}
        pages = [{"title": "One", "cirrusdoc": [{"source": {"incoming_links": 7}}]}, gap]
        linked = [{"title": "Two", "linkshere": [{"pageid": 1}, {"pageid": 2}, {"pageid": 3}]}]
        (counts,), (redirects,) = wiki.cirrus_requests(["One", "Two"]), wiki.redirect_requests(["Two"])
        linkshere = {**LINKSHERE, "wiki": wiki.api, "titles": ["Two"]}
        answers = {"pages": pages, "day": COUNTED}, {"pages": [{"title": "Two"}], "day": NEXT}
        for request, answer in zip(
            (counts, redirects, linkshere), (*answers, {"pages": linked, "day": NEXT}), strict=True
        ):
            calls.fetch("wikipedia", request, lambda answer=answer: answer)  # type: ignore[misc]
    kit = tools(tmp_path)
    (plan,) = forecast(LinksParams(method="cirrusdoc"), kit, facts=facts())
    assert (plan.calls, plan.in_log) == (4, 4), "the wiki's extensions, the counts, and redirects and links of the gap"
    table = run(LinksParams(method="cirrusdoc", cap=2), kit, facts=facts())
    assert rows(table) == {
        "Q1": ("One", 7, "cirrusdoc", COUNTED),
        "Q2": ("Two", 3, "linkshere", NEXT),
        "Q3": (None, None, "cirrusdoc", ASKED),
        "Q4": (None, None, "cirrusdoc", None),
    }
    assert not table["capped"].any(), "a famous page at a cap would rank below all that the index counts"
    assert settle(table, Links, "links").rejected.is_empty()


def test_what_a_stopped_build_has_counted_is_not_planned_again(tmp_path: Path) -> None:
    params = LinksParams(method="linkshere")

    def planned() -> tuple[int, int, str]:
        (plan,) = forecast(params, tools(tmp_path), facts=facts())
        return plan.calls, plan.in_log, plan.note

    assert planned() == (2, 0, "at least; one call more for every 500 links")
    with Calls(tmp_path / "calls.sqlite", clock=FakeClock()) as calls:
        wiki = Wikipedia(SERVICES, calls)
        (redirects,) = wiki.redirect_requests(["One", "Two"])
        calls.fetch("wikipedia", redirects, lambda: {"pages": [{"title": "One"}, {"title": "Two"}], "day": COUNTED})
        assert planned()[:2] == (2, 1)
        links = {**LINKSHERE, "wiki": wiki.api, "titles": ["One", "Two"]}
        for request, page, more in ((links, 1, {"lhcontinue": "5"}), ({**links, "lhcontinue": "5"}, 2, None)):
            pages = [{"title": "One", "linkshere": [{"pageid": page}]}, {"title": "Two"}]
            answer = {"pages": pages, "day": COUNTED, **({"continue": more} if more else {})}
            calls.fetch("wikipedia", request, lambda answer=answer: answer)  # type: ignore[misc]
            assert planned() == ((3, 2, "at least; one call more for every 500 links") if more else (3, 3, ""))


@pytest.mark.parametrize("method", ["cirrusdoc", "linkshere"])
@pytest.mark.parametrize("language", ["de", "simple", "DE", "fr.m"])
def test_a_wikipedia_of_another_language_has_other_titles(tmp_path: Path, method: Any, language: str) -> None:
    services = Services(sparql=SERVICES.sparql, wikipedia=f"https://{language}.wikipedia.org/w/")
    with pytest.raises(ConfigError, match=r"services\.wikipedia: .*English.*en\.wikipedia\.org/w/"):
        check(LinksParams(method=method), tmp_path, profile(services))
    check(LinksParams(method="none"), tmp_path, profile(services))
    assert run(LinksParams(method="none"), tools(tmp_path, services), facts=facts()).height == 4


@pytest.mark.parametrize(
    "url",
    [
        "https://en.wikipedia.org/w/", "https://en.m.wikipedia.org/w", "http://127.0.0.1:9/w/", "http://wiki.intern/w/",
        "https://de.wikipedia.org.mirror.example/w/", "https://mirror.example/de.wikipedia.org/w/",
    ],
)  # fmt: skip
def test_the_english_wikipedia_and_mirrors_of_unknown_language_are_asked(tmp_path: Path, url: str) -> None:
    services = Services(sparql=SERVICES.sparql, wikipedia=url)
    check(LinksParams(), tmp_path, profile(services))
    (estimate,) = forecast(LinksParams(), tools(tmp_path, services), facts=facts())
    assert (estimate.calls, estimate.in_log) == (2, 2)
    assert run(LinksParams(), tools(tmp_path, services), facts=facts())["inbound_links"].sum() == 7


def test_where_no_links_are_counted_sitelinks_have_the_day_of_their_query(tmp_path: Path) -> None:
    links = run(LinksParams(method="none"), tools(tmp_path), facts=facts())
    assert rows(links) == {
        "Q1": (None, None, "sitelinks", ASKED),
        "Q2": (None, None, "mentions", ASKED),
        "Q3": (None, None, "sitelinks", ASKED),
        "Q4": (None, None, "mentions", None),
    }
    assert settle(links, Links, "links").rejected.is_empty()


def test_an_entity_that_is_asked_about_again_keeps_its_day(tmp_path: Path) -> None:
    """Else a preview would change what the same log is replayed to."""
    kit = tools(tmp_path)
    before = run(LinksParams(method="none"), kit, facts=facts())
    with Calls(tmp_path / "calls.sqlite", clock=FakeClock(1_700_000_000.0 + 2 * DAY)) as calls:
        endpoint = HttpEndpoint(SERVICES.sparql, "")
        calls.fetch(endpoint.source, endpoint.request(Entities(("Q3", "Q4")).query()), lambda: {"rows": []})
    after = rows(run(LinksParams(method="none"), kit, facts=facts()))
    assert after["Q4"][-1] == NEXT, "it was first asked about then"
    assert {qid: row for qid, row in after.items() if qid != "Q4"} == {
        qid: row for qid, row in rows(before).items() if qid != "Q4"
    }


def test_degrees_in_the_embedded_graph_carry_its_day(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    graph = EmbeddedGraph()
    assert graph.date == max(source["released"] for source in graph.sources["sources"].values())
    embedded = Services(sparql="embedded")
    links = run(LinksParams(method="in_degree"), tools(tmp_path, embedded), facts=facts())
    assert links["inbound_links"].null_count() == 0
    assert links.select("method", "counted_on").unique().rows() == [("in_degree", graph.date)]
    with Calls(tmp_path / "calls.sqlite") as calls:
        request = {"snapshot": graph.sha256, "query": Entities(("Q3",)).query()}
        calls.fetch("embedded", request, lambda: {"rows": []})
        links = run(LinksParams(method="none"), without_models(tmp_path, embedded, calls), facts=facts())
    assert {qid: row[-1] for qid, row in rows(links).items()} == {"Q1": None, "Q2": None, "Q3": graph.date, "Q4": None}


def test_a_subject_counts_once_whatever_it_states_about_an_entity() -> None:
    pyoxigraph = pytest.importorskip("pyoxigraph")
    graph, entity = pyoxigraph.Store(), PREFIXES["wd"]
    for subject, relation in (("Q1", "P17"), ("Q1", "P131"), ("Q2", "P17")):
        parts = (f"{entity}{subject}", f"{PREFIXES['wdt']}{relation}", f"{entity}Q9")
        graph.add(pyoxigraph.Quad(*map(pyoxigraph.NamedNode, parts)))
    assert [int(row["n"].value) for row in graph.query(IN_DEGREES)] == [2]


def test_a_count_without_a_day_is_no_row(tmp_path: Path) -> None:
    links = run(LinksParams(method="cirrusdoc"), tools(tmp_path), facts=facts())
    settled = settle(links.with_columns(counted_on=pl.lit(None, pl.String)), Links, "links")
    assert settled.rejected.select("qid", "reason").rows() == [("Q1", "schema:a_count_has_its_day")]
