"""The Wikipedia source against a real MediaWiki, also behind a proxy that fails as the service does."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace, Services
from dual_data.errors import ConfigError, InputError, Refused, ServiceError, UsageError
from dual_data.sources.wikipedia.counts import Wikipedia
from dual_data.sources.wikipedia.forecast import Foresight
from tests.clock import FakeClock
from tests.faults.proxy import (
    BANNED,
    CUT,
    DROP,
    REFUSED_AGENT,
    RESET,
    Fault,
    error_500,
    html_200,
    proxy,
    slow,
    too_many,
    unavailable,
)
from tests.services.mediawiki import Wiki, count_links_in_tables, mediawiki

PAGES = {
    "Varn": "[[Ostel]] [[Ostel]] [[Kingdom of Ostel]] {{Rivers}}",
    "Ostel": "[[Varn]] [[Missing page]]",
    "Kingdom of Ostel": "#REDIRECT [[Ostel]]",
    "Ostelia": "#REDIRECT [[Ostel]]",
    "Pelm": "[[Ostelia]] {{Rivers}}",
    "Ünd & Söhne": "[[Pelm]] [[Ostel]]",
    "Template:Rivers": "[[Sarr]] [[Ostel]]",
    "Sarr": "A river. [[Varn]]",
    "Talk:Ostel": "[[Varn]] [[Sarr]]",
    **{f"Village {n}": "[[Sarr]]" for n in range(30)},
    "Unindexed isle": "[[Uncounted isle]]",
    "Uncounted isle": "[[Unindexed isle]]",
    **{f"Unindexed reef {n}": "[[Unindexed isle]]" for n in range(12)},
    "Way to round": "#REDIRECT [[Round]]",
    "Round": "#REDIRECT [[Roundabout]]",
    "Roundabout": "#REDIRECT [[Round]]",
    "Itself": "#REDIRECT [[Itself]]",
    "Abroad": "#REDIRECT [[wikipedia:Elsewhere]]",
    "Way abroad": "#REDIRECT [[Abroad]]",
    "Search": "#REDIRECT [[Special:Search]]",
}
ARTICLES = ["Varn", "Ostel", "Pelm", "Sarr", "Ünd & Söhne"]


@pytest.fixture(scope="module")
def wiki() -> Iterator[Wiki]:
    with mediawiki(PAGES) as running:
        yield running


def client(url: str, folder: Path, clock: FakeClock | None = None, **options: float) -> Wikipedia:
    calls = Calls(folder / "calls.sqlite", {"wikipedia": Pace()}, clock=clock or FakeClock(time.time()))
    return Wikipedia(Services(wikipedia=url), calls, **options)


def test_exact_counts_equal_the_wikis_own_tables(wiki: Wiki, tmp_path: Path) -> None:
    counts = client(wiki.url, tmp_path).count_by_linkshere(ARTICLES, 1000)
    expected = {title: count_links_in_tables(wiki.database, title) for title in ARTICLES}
    assert {title: counts[title].inbound_links for title in ARTICLES} == expected
    assert expected == {"Varn": 2, "Ostel": 3, "Pelm": 1, "Sarr": 32, "Ünd & Söhne": 0}
    assert not any(count.capped for count in counts.values())


def test_redirects_normalisation_and_missing_pages(wiki: Wiki, tmp_path: Path) -> None:
    titles = ["Ostelia", "varn", "Kingdom_of_Ostel", "No such page"]
    exact = client(wiki.url, tmp_path).count_by_linkshere(titles, 1000)
    assert [exact[title].title for title in titles] == ["Ostel", "Varn", "Ostel", None]
    assert [exact[title].inbound_links for title in titles] == [3, 2, 3, None]
    rough = client(wiki.url, tmp_path).count_by_cirrus(titles)
    assert [rough[title].title for title in titles] == ["Ostel", "Varn", "Ostel", None]
    # Two redirects to it, and Varn, Pelm, Ünd & Söhne and the template link there.
    assert [rough[title].inbound_links for title in titles] == [6, 3, 6, None]


NOWHERE = [
    "Way to round", "Round", "Roundabout", "Itself", "Abroad", "Way abroad", "wikipedia:Elsewhere", "Search",
    "Special:Search",
]  # fmt: skip
"""Titles for which the API gives no page, or none that is an article."""


@pytest.mark.parametrize("titles", [*([title] for title in NOWHERE), [*NOWHERE, "Ostel"]], ids=lambda titles: titles[0])
def test_redirects_in_a_circle_and_to_other_wikis_lead_to_no_article(
    wiki: Wiki, tmp_path: Path, titles: list[str]
) -> None:
    for _ in ("asked", "replayed"):
        exact = client(wiki.url, tmp_path).count_by_linkshere(titles, 1000)
        rough = client(wiki.url, tmp_path).count_by_cirrus(titles)
        for counts, links in ((exact, 3), (rough, 6)):
            articles = {title: count[:2] for title, count in counts.items()}
            assert articles.pop("Ostel", None) == (("Ostel", links) if "Ostel" in titles else None)
            assert articles == {title: (None, None) for title in titles if title != "Ostel"}


JSON = "application/json; charset=utf-8"
NO_PAGES: list[Mapping[str, Any]] = [
    {"redirects": [{"from": "Round", "to": "Roundabout"}, {"from": "Roundabout", "to": "Round"}]},
    {"redirects": [{"from": "Round", "to": "Round"}]},
    {
        "redirects": [{"from": "Round", "to": "wikipedia:Elsewhere", "tointerwiki": "wikipedia"}],
        "interwiki": [{"title": "wikipedia:Elsewhere", "iw": "wikipedia"}],
    },
    {"interwiki": [{"title": "Round", "iw": "Round"}]},
]


@pytest.mark.parametrize("query", NO_PAGES, ids=["circle", "itself", "abroad", "interwiki"])
def test_an_answer_without_pages_is_whole_where_it_says_why(tmp_path: Path, query: Mapping[str, Any]) -> None:
    """As a real wiki gave them for a lone title."""
    answer = Fault("told", content_type=JSON, body=json.dumps({"batchcomplete": True, "query": query}).encode())
    with proxy("http://127.0.0.1:9/", answer, answer) as front:
        (exact,) = client(front.url, tmp_path).count_by_linkshere(["Round"], 1000).values()
        (rough,) = client(front.url, tmp_path).count_by_cirrus(["Round"]).values()
        assert (exact[:2], rough[:2], front.count) == ((None, None), (None, None), 2)


def test_an_answer_without_pages_that_says_nothing_is_asked_for_again(tmp_path: Path) -> None:
    empty = Fault("empty", content_type=JSON, body=b'{"batchcomplete":true}')
    with (
        proxy("http://127.0.0.1:9/", *[empty] * 6) as front,
        pytest.raises(ServiceError, match=r"gave up after 6 tries.*holds no pages"),
    ):
        client(front.url, tmp_path).count_by_cirrus(["Varn"])


FAILED_INSIDE = "internal_api_error_DBQueryTimeoutError", "internal_api_error_TypeError", "cirrussearch-backend-error"
"""Codes of a wiki that failed inside."""


@pytest.mark.parametrize(
    "answer",
    [
        [], "x", {"query": []}, {"query": None}, {"error": "boom"}, {"error": None}, {"error": {"info": "x"}},
        {"warnings": [], "query": {"pages": [{"title": "Sarr", "pageid": 1}]}}, {"query": {"pages": [{}]}},
        {"query": {"pages": {"1": {"title": "Sarr"}}}}, {"query": {"pages": [{"title": "Sarr", "redirects": None}]}},
        {"query": {"pages": [{"title": "Sarr", "linkshere": [{}]}]}}, {"query": {"pages": [], "normalized": [{}]}},
        {"query": {"pages": [{"title": "Sarr"}]}, "continue": "on"},
        *({"error": {"code": code, "info": "[x] Caught exception"}} for code in FAILED_INSIDE),
        pytest.param(None, id="brackets without end"),
    ],
    ids=json.dumps,
)  # fmt: skip
def test_json_that_is_no_answer_is_asked_for_again_and_never_logged(wiki: Wiki, tmp_path: Path, answer: Any) -> None:
    body = b"[" * 100_000 if answer is None else json.dumps(answer).encode()
    with proxy(wiki.url, Fault("odd", content_type=JSON, body=body)) as front:
        assert client(front.url, tmp_path).count_by_cirrus(["Sarr"])["Sarr"].inbound_links == 34
        assert front.count == 2


def continued(at: str) -> Fault:
    """An answer that is to be continued there."""
    pages = [{"title": title, "pageid": number} for number, title in enumerate(("Pelm", "Sarr"), 1)]
    answer = {"continue": {"rdcontinue": at, "continue": "||"}, "query": {"pages": pages}}
    return Fault("continued", content_type=JSON, body=json.dumps(answer).encode())


def test_an_answer_that_continues_where_it_began_is_never_logged(tmp_path: Path) -> None:
    """As Wikipedia's lists of redirects do at times."""
    message = r'gave up after 6 tries.*prop=redirects.*"rdcontinue":"1".*one of: Pelm, Sarr\.'
    with proxy("http://127.0.0.1:9/", *[continued("1")] * 7) as front:
        source = client(front.url, tmp_path)
        with pytest.raises(ServiceError, match=message):
            source.count_by_linkshere(["Sarr", "Pelm"], 1000)
        assert front.count == 7
        assert source._calls.counts()["wikipedia"].made == 1


def test_a_circle_of_answers_ends_with_one_message(tmp_path: Path) -> None:
    message = r"repeats itself over prop=redirects.*another method in \[links\].*one of: Sarr$"
    with proxy("http://127.0.0.1:9/", continued("1"), continued("2"), continued("1")) as front:
        for _ in ("asked", "replayed"):
            with pytest.raises(ServiceError, match=message):
                client(front.url, tmp_path).count_by_linkshere(["Sarr"], 1000)
        assert front.count == 3


@pytest.mark.parametrize("pages", [[], [{"pageid": 1, "ns": 0, "title": "Varn"}]])
def test_an_answer_that_leaves_a_title_out_is_asked_again_and_never_logged(
    wiki: Wiki, tmp_path: Path, pages: list[dict[str, Any]]
) -> None:
    silent = Fault("silent", content_type=JSON, body=json.dumps({"query": {"pages": pages}}).encode())
    with proxy(wiki.url, silent) as front:
        counts = client(front.url, tmp_path / "soon").count_by_linkshere(["Ostel"], 1000)
    assert counts["Ostel"].inbound_links == 3
    with proxy(wiki.url, *[silent] * 6) as front:
        source = client(front.url, tmp_path / "never")
        with pytest.raises(ServiceError, match=r"gave up after 6 tries.* said nothing about 'Ostel'"):
            source.count_by_linkshere(["Ostel"], 1000)
        assert source.count_by_linkshere(["Ostel"], 1000)["Ostel"].inbound_links == 3


def test_a_title_in_another_normal_form_is_found(wiki: Wiki, tmp_path: Path) -> None:
    title = unicodedata.normalize("NFD", "Ünd & Söhne")
    assert title != "Ünd & Söhne"
    exact = client(wiki.url, tmp_path).count_by_linkshere([title, "Ostel"], 1000)
    rough = client(wiki.url, tmp_path).count_by_cirrus([title, "Ostel"])
    assert exact[title][:2] == rough[title][:2] == ("Ünd & Söhne", 0)
    assert (exact["Ostel"].inbound_links, rough["Ostel"].inbound_links) == (3, 6)


def test_a_redirect_whose_title_the_wiki_has_come_to_write_otherwise_counts(tmp_path: Path) -> None:
    page = {"pageid": 1, "ns": 0, "title": "Ostel"}
    redirects = {"pages": [page | {"redirects": [{"title": "\u10d0"}]}]}
    links = {
        "normalized": [{"from": "\u10d0", "to": "\u1c90"}],
        "pages": [page | {"linkshere": [{"pageid": 2}]}, {"title": "\u1c90", "linkshere": [{"pageid": 3}]}],
    }
    faults = [Fault("", content_type=JSON, body=json.dumps({"query": query}).encode()) for query in (redirects, links)]
    with proxy("http://127.0.0.1:9/", *faults) as front:
        counts = client(front.url, tmp_path).count_by_linkshere(["Ostel"], 1000)
    assert counts["Ostel"].inbound_links == 2


@pytest.mark.parametrize("title", ["Varn|Ostel", "Varn#Ostel", "<Varn>", "[Varn", "{{Varn}}", "\x1fVarn", "Va\0rn", ""])
def test_a_title_that_would_be_read_as_several_or_as_another_is_never_asked_for(tmp_path: Path, title: str) -> None:
    """A bar would change what all titles of its request mean; of "C#", the links of "C" would be counted."""
    with proxy("http://127.0.0.1:9/") as front:
        for count in (client(front.url, tmp_path).cirrus_requests, client(front.url, tmp_path).redirect_requests):
            with pytest.raises(
                InputError, match=r"is not the title of an article: .* Correct it in the source of the facts"
            ):
                count(["Ostel", title])
        assert front.count == 0


def test_counting_stops_at_the_cap_and_says_so(wiki: Wiki, tmp_path: Path) -> None:
    counts = client(wiki.url, tmp_path).count_by_linkshere(ARTICLES, 10)
    assert counts["Sarr"].inbound_links == 10
    assert counts["Sarr"].capped
    assert counts["Ostel"] == (("Ostel", 3, False, counts["Ostel"].counted_on, "linkshere"))


def test_small_answers_are_continued_to_the_same_counts(
    wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = client(wiki.url, tmp_path / "whole").count_by_linkshere(ARTICLES, 1000)
    capped = client(wiki.url, tmp_path / "capped").count_by_linkshere(ARTICLES, 20)
    with proxy(wiki.url) as front:
        front.rewrite = lambda request: request._replace(body=request.body.replace(b"limit=max", b"limit=3"))
        wiki_in_pieces = client(front.url, tmp_path / "pieces")
        assert wiki_in_pieces.count_by_linkshere(ARTICLES, 1000) == whole
        assert front.count > 10
        before = front.count
        assert client(front.url, tmp_path / "short").count_by_linkshere(ARTICLES, 20) == capped
        # Village 20 to 29 are not asked for: counting stops early.
        assert front.count - before < before


def test_a_forecast_follows_the_log_and_never_counts_too_much(wiki: Wiki, tmp_path: Path) -> None:
    titles = [
        *ARTICLES,
        "Unindexed isle",
        *(f"Village {n}" for n in range(30)),
        *(f"Unindexed reef {n}" for n in range(12)),
    ]
    for method in ("cirrus", "linkshere"):
        with proxy(wiki.url) as front, Calls(tmp_path / f"{method}.sqlite", clock=FakeClock()) as calls:
            front.rewrite = lambda request: request._replace(body=request.body.replace(b"limit=max", b"limit=3"))
            services = Services(wikipedia=front.url)
            source = Wikipedia(services, calls)
            if method == "cirrus":
                source.require_cirrus()
                counts = source.count_by_cirrus(titles)
                source.count_by_linkshere([title for title in titles if title not in counts], 20)
            else:
                source.count_by_linkshere(titles, 20)
            answers = [(request, calls.recall("wikipedia", request)) for request, _ in calls.answered("wikipedia")]
        assert len(answers) == front.count > 5
        for known in range(len(answers) + 1):
            # The log of a build that was stopped; the clock stood still, so its calls come in the order of their keys.
            with Calls(tmp_path / f"{method}-{known}.sqlite", clock=FakeClock()) as calls:
                for request, answer in answers[:known]:
                    calls.fetch("wikipedia", request, lambda answer=answer: answer)  # type: ignore[misc]
                foresight = Foresight(services, calls)
                getattr(foresight, f"foresee_{method}")(titles, 20)
                _, in_all, in_log, *_ = foresight.forecast()
                assert in_log <= known
                assert in_log < in_all <= len(answers) or known == in_log == in_all == len(answers)
                assert calls.counts()["wikipedia"].made == known if known else not calls.counts()


def test_a_wiki_without_cirrus_is_an_error_not_zeros(tmp_path: Path) -> None:
    with mediawiki({"Alone": "nothing"}, cirrus=False) as running:
        plain = client(running.url, tmp_path)
        with pytest.raises(ConfigError, match="no CirrusSearch"):
            plain.require_cirrus()
        with pytest.raises(ServiceError, match="a missing count is not 0"):
            plain.count_by_cirrus(["Alone"])


def test_titles_that_the_index_lacks_are_left_out(wiki: Wiki, tmp_path: Path) -> None:
    titles = ["Sarr", "Unindexed isle", "Uncounted isle", "No such page"]
    source = client(wiki.url, tmp_path)
    counts = source.count_by_cirrus(titles)
    assert {title: (count.inbound_links, count.method) for title, count in counts.items()} == {
        "Sarr": (34, "cirrusdoc"),
        "No such page": (None, "cirrusdoc"),
    }
    assert source.count_by_cirrus(["Unindexed isle"]) == {}
    exact = source.count_by_linkshere(["Unindexed isle"], 1000)["Unindexed isle"]
    assert (exact.inbound_links, exact.method) == (13, "linkshere")


def test_an_index_that_gives_nothing_at_all_is_a_passing_trouble(wiki: Wiki, tmp_path: Path) -> None:
    with proxy(wiki.url) as front:
        with pytest.raises(ServiceError, match=r"gave up after 6 tries.*a counter for none of 12 articles"):
            client(front.url, tmp_path).count_by_cirrus([f"Unindexed reef {n}" for n in range(12)])
        assert front.count == 6
        client(front.url, tmp_path).count_by_cirrus([f"Unindexed reef {n}" for n in range(12)] + ["Sarr"])


def test_more_than_fifty_titles_take_several_requests(wiki: Wiki, tmp_path: Path) -> None:
    titles = [*ARTICLES, *(f"Village {n}" for n in range(30)), *(f"Nowhere {n}" for n in range(40))]
    source = client(wiki.url, tmp_path)
    assert len(source.cirrus_requests(titles)) == 2
    counts = source.count_by_cirrus(titles)
    assert set(counts) == set(titles)
    assert counts["Nowhere 3"].inbound_links is None
    assert counts["Village 3"].inbound_links == 0


def test_a_resumed_count_keeps_the_day_of_every_answer(wiki: Wiki, tmp_path: Path) -> None:
    titles = [*ARTICLES, *(f"Nowhere {n}" for n in range(60))]
    clock = FakeClock()

    def counter(url: str) -> Wikipedia:
        return Wikipedia(Services(wikipedia=url), Calls(tmp_path / "calls.sqlite", clock=clock))

    with proxy(wiki.url, None, BANNED) as front:
        first, second = counter(front.url).cirrus_requests(titles)
        with pytest.raises(Refused):
            counter(front.url).count_by_cirrus(titles)
        clock.sleep(86_400)
        counts = counter(front.url).count_by_cirrus(titles)
    days = dict.fromkeys(first["titles"], "2023-11-14") | dict.fromkeys(second["titles"], "2023-11-15")
    assert {title: count.counted_on for title, count in counts.items()} == days


LAG = Fault(
    "lag",
    content_type="application/json; charset=utf-8",
    body=b'{"error":{"code":"maxlag","info":"Waiting for 10.0.0.1: 7.5 seconds lagged.","lag":7.5}}',
    headers=(("X-Database-Lag", "7"), ("Retry-After", "5")),
)
LAG_WITHOUT_HEADERS = LAG._replace(headers=())
RATE_LIMITED = Fault(
    "ratelimited",
    content_type="application/json; charset=utf-8",
    body=b'{"error":{"code":"ratelimited","info":"You have exceeded your rate limit."}}',
)


@pytest.mark.parametrize(
    "fault",
    [
        too_many(17), too_many(), too_many(20, as_date=True), unavailable(503, 3), error_500(), html_200(), CUT, DROP,
        RESET, LAG, LAG_WITHOUT_HEADERS, RATE_LIMITED,
    ],
    ids=lambda fault: fault.name,
)  # fmt: skip
def test_passing_failures_are_tried_again(wiki: Wiki, tmp_path: Path, fault: Fault) -> None:
    with proxy(wiki.url, fault, fault) as front:
        source = client(front.url, tmp_path)
        assert source.count_by_cirrus(["Sarr"])["Sarr"].inbound_links == 34
        assert front.count == 3


def test_retry_after_is_obeyed(wiki: Wiki, tmp_path: Path) -> None:
    clock = FakeClock()
    with proxy(wiki.url, too_many(17), LAG) as front:
        client(front.url, tmp_path, clock).count_by_cirrus(["Sarr"])
    assert clock.slept == [17, 5]


@pytest.mark.parametrize("fault", [too_many(), RATE_LIMITED], ids=lambda fault: fault.name)
def test_who_is_told_to_slow_down_and_not_for_how_long_waits_a_minute(wiki: Wiki, tmp_path: Path, fault: Fault) -> None:
    clock = FakeClock()
    with proxy(wiki.url, fault) as front:
        client(front.url, tmp_path, clock).count_by_cirrus(["Sarr"])
    assert clock.slept == [60]


def test_drips_have_a_deadline(wiki: Wiki, tmp_path: Path) -> None:
    with proxy(wiki.url, slow(8)) as front:
        began = time.monotonic()
        counts = client(front.url, tmp_path, whole_timeout=0.5).count_by_cirrus(["Sarr"])
        assert time.monotonic() - began < 5
        assert counts["Sarr"].inbound_links == 34
        assert front.count == 2


def test_slow_is_fine_below_the_deadline(wiki: Wiki, tmp_path: Path) -> None:
    with proxy(wiki.url, slow(0.5)) as front:
        assert client(front.url, tmp_path).count_by_cirrus(["Sarr"])["Sarr"].inbound_links == 34
        assert front.count == 1


def test_a_ban_and_a_refused_agent_stop_at_once(wiki: Wiki, tmp_path: Path) -> None:
    for fault in (BANNED, REFUSED_AGENT):
        with proxy(wiki.url, fault, fault) as front:
            with pytest.raises(Refused, match="contact"):
                client(front.url, tmp_path).count_by_cirrus(["Sarr"])
            assert front.count == 1


def test_no_request_without_a_contact(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DUAL_DATA_CONTACT"):
        client("https://en.wikipedia.org/w/", tmp_path).count_by_cirrus(["Sarr"])


def test_answers_are_replayed(wiki: Wiki, tmp_path: Path) -> None:
    with proxy(wiki.url) as front:
        first = client(front.url, tmp_path).count_by_linkshere(ARTICLES, 1000)
        requests = front.count
        assert client(front.url, tmp_path).count_by_linkshere(ARTICLES, 1000) == first
        assert front.count == requests
