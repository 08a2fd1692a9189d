"""The proxy's faults are the faults that they say they are."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest

from tests.faults.proxy import BANNED, CUT, DROP, REFUSED_AGENT, RESET, error_500, html_200, proxy, slow, too_many
from tests.services.loopback import Handler, serving

BODY = b"0123456789" * 30


class _Upstream(Handler):
    def serve(self) -> None:
        sent = self.body()
        self.answer(200, [("Content-Type", "text/x-test")], BODY if sent == b"ask" else sent)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with serving(_Upstream) as url:
        yield url


def ask(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(f"{url}/path?x=1", data=b"ask", timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read()


def status(url: str) -> tuple[int, str | None]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url)
    with caught.value as error:
        return error.code, error.headers["Retry-After"]


def test_a_script_is_followed_and_then_all_is_well(upstream: str) -> None:
    with proxy(upstream, None, too_many(7), too_many(), error_500(), BANNED) as front:
        assert ask(front.url) == ("text/x-test", BODY)
        assert [status(front.url) for _ in range(4)] == [(429, "7"), (429, None), (500, None), (403, None)]
        assert ask(front.url) == ("text/x-test", BODY)
        assert front.count == 6
        assert front.faults_made == ["", "429", "429", "500", "403", ""]
        assert (front.requests[0].method, front.requests[0].path, front.requests[0].body) == (
            "POST",
            "/path?x=1",
            b"ask",
        )


def test_a_date_says_when_to_come_back(upstream: str) -> None:
    with proxy(upstream, too_many(30, as_date=True)) as front:
        _, value = status(front.url)
    assert value is not None
    assert parsedate_to_datetime(value).timestamp() == pytest.approx(time.time() + 30, abs=3)


def test_answers_of_its_own_with_status_200(upstream: str) -> None:
    with proxy(upstream, html_200(b"<p>x"), REFUSED_AGENT) as front:
        assert ask(front.url) == ("text/html; charset=utf-8", b"<p>x")
        kind, body = ask(front.url)
        assert kind.startswith("text/plain")
        assert body.startswith(b"Please set a user-agent")


def test_mangled_answers(upstream: str) -> None:
    with proxy(upstream, CUT, DROP, RESET, slow(0.4)) as front:
        assert ask(front.url)[1] == BODY[:200]
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(front.url)
        assert caught.value.partial == BODY[:200]
        with pytest.raises((ConnectionResetError, urllib.error.URLError)):
            ask(front.url)
        started = time.monotonic()
        assert ask(front.url)[1] == BODY
        assert time.monotonic() - started >= 0.35


def test_a_rate_is_drawn_from_its_seed(upstream: str) -> None:
    def faults(seed: int) -> list[str]:
        with proxy(upstream, rate=0.5, kinds=[html_200(), REFUSED_AGENT], seed=seed) as front:
            for _ in range(20):
                ask(front.url)
            return front.faults_made

    assert faults(1) == faults(1) != faults(2)
    assert set(faults(1)) == {"", "html", "user agent"}
