"""Who asks, and how long to wait."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data import __version__
from dual_data.errors import UsageError
from dual_data.sources.etiquette import DEFAULT_WAIT, is_loopback, retry_after, user_agent, wait_asked

NOW = 1_700_000_000.0


def test_the_agent_names_version_operator_and_client() -> None:
    agent = user_agent("me@example.org", "https://query.wikidata.org/sparql", "SPARQLWrapper/2.0")
    assert agent == f"dual-data/{__version__} (me@example.org) SPARQLWrapper/2.0"


def test_a_contact_is_required_away_from_this_machine() -> None:
    with pytest.raises(UsageError, match=r"no contact.*query\.wikidata\.org.*DUAL_DATA_CONTACT"):
        user_agent("  ", "https://query.wikidata.org/sparql")
    assert user_agent("", "http://127.0.0.1:7878/query", "x/1") == f"dual-data/{__version__} x/1"


def test_a_contact_cannot_break_the_header() -> None:
    assert "\n" not in user_agent("me@example.org\nX-Evil: 1", "https://example.org/")


@pytest.mark.parametrize("contact", ["Łukasz, l@x.pl", "José, j@x.es", "me@example.org\x00", "\x7f"])
@pytest.mark.parametrize("url", ["https://query.wikidata.org/sparql", "http://127.0.0.1:7878/query"])
def test_a_contact_that_no_header_can_carry_is_refused_with_what_to_write(contact: str, url: str) -> None:
    with pytest.raises(UsageError, match=r"DUAL_DATA_CONTACT.*ASCII") as caught:
        user_agent(contact, url)
    assert repr(contact) in str(caught.value)


@given(st.text())
def test_every_agent_fits_into_a_header(contact: str) -> None:
    try:
        agent = user_agent(contact, "http://127.0.0.1:7878/query", "x/1")
    except UsageError:
        return
    assert agent.isascii()
    assert agent.isprintable()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost/", True),
        ("http://127.8.0.1:1/", True),
        ("http://[::1]:80/", True),
        ("https://localhost.example.org/", False),
        ("https://10.0.0.1/", False),
        ("", False),
    ],
)
def test_loopback(url: str, here: bool) -> None:
    assert is_loopback(url) is here


@given(st.integers(1, 10**6))
def test_retry_after_reads_seconds_and_dates_alike(seconds: int) -> None:
    assert retry_after(str(seconds), NOW) == seconds
    assert retry_after(formatdate(NOW + seconds, usegmt=True), NOW) == seconds


@pytest.mark.parametrize("text", ["0", "0.0", formatdate(NOW, usegmt=True), formatdate(NOW - 50, usegmt=True)])
def test_no_wait_says_nothing_and_a_clock_that_is_ahead_makes_no_burst(text: str) -> None:
    assert retry_after(text, NOW) is None
    assert wait_asked(429, text, NOW) == DEFAULT_WAIT


@pytest.mark.parametrize(
    "text", ["-50", "-0.1", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "Wed, 21 Oct 20 99:28:00"]
)
def test_a_wait_that_cannot_be_says_nothing(text: str) -> None:
    assert retry_after(text, NOW) is None


def test_fractions_of_seconds_are_read_and_no_wait_is_endless() -> None:
    assert retry_after("1.5", NOW) == 1.5
    assert retry_after("inf", NOW) is None
    assert retry_after("nan", NOW) is None


@given(st.text(alphabet=st.characters(exclude_categories=["Nd"])))
def test_what_says_nothing_is_none(text: str) -> None:
    assert retry_after(text, NOW) is None
    assert retry_after(None, NOW) is None
