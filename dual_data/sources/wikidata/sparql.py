"""SPARQL endpoints: one query in, whole and checked rows out, or one exception that says what went wrong.

A status of 200 proves nothing here: services answer timeouts as a JSON document that breaks off, refusals as plain
text and overload as HTML, all with status 200. An answer counts only if its type, its syntax and its end are right.
SPARQLWrapper builds the request; retry, pace and log are the business of `dual_data.calls.fetching`.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
import urllib.error
from collections.abc import Mapping
from email.message import Message
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol

from dual_data.config import EMBEDDED, Services
from dual_data.errors import BrokenOff, Refused, ServiceError, TooLarge, Transient
from dual_data.sources.etiquette import contact_fault, user_agent, wait_asked
from dual_data.sources.wikidata.queries import selected_by

READ_TIMEOUT = 75
"""Seconds without a byte; above the 60 s that Wikidata gives a query, so that the service is the first to give up."""
WHOLE_TIMEOUT = 300.0
"""Seconds for a whole answer."""
WHOLE_SIZE = 1 << 29
"""Bytes of a whole answer: half a gigabyte, which no batch of a sane size reaches."""

# Blazegraph; Oxigraph; QLever while it exports; QLever before the first byte.
_OUT_OF_TIME = re.compile(
    r"TimeoutException|SPARQL-QUERY: queryStr|SPARQL operation has been cancelled|!!!!>># An error|timed out|"
    r"Operation was cancelled|memory limit|Tried to allocate",
    re.IGNORECASE,
)
# With an error status fewer words count: there Blazegraph prints the query before every exception, and gateways report
# connections that timed out.
_GAVE_UP = re.compile(
    r"TimeoutException|has been cancelled|Operation was cancelled|memory limit|MemoryManagerOutOfMemory|"
    r"Tried to allocate|(?:Operation|Query|Transaction) timed out",
    re.IGNORECASE,
)
_GATEWAY = {502, 503, *range(520, 530)}
"""Statuses of a gateway before the service: they concern the service, not the query."""
_PASSING = re.compile(
    r"too many|rate.?limit|retry|try again|unavailable|overload|maintenance|timeout|server error|\b50[0-4]\b", re.I
)
_AGENT = re.compile(r"user[- ]?agent|robot policy", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>\s*(.*?)\s*</title>", re.IGNORECASE | re.DOTALL)
_KINDS = {"uri": "iri", "bnode": "blank", "literal": "literal", "typed-literal": "literal"}


class Term(NamedTuple):
    """An RDF term of an answer."""

    kind: str
    """iri, blank or literal."""
    value: str
    tag: str = ""
    """Language, or datatype IRI, of a literal."""


Rows = list[list[Term | None]]
"""A whole answer: terms in the order in which the query selects them; None where unbound."""


class Endpoint(Protocol):
    """Something that answers SPARQL SELECT queries."""

    source: str
    """Its name in the call log."""

    @property
    def date(self) -> str:
        """Day of its data, YYYY-MM-DD; empty for a service, whose data change all the time."""

    def request(self, query: str) -> dict[str, str]:
        """What identifies a query in the call log."""

    def ask(self, query: str) -> Rows:
        """Answer one query; raises Transient, TooLarge, Refused or ServiceError."""


class HttpEndpoint:
    """An endpoint on the network that speaks SPARQL 1.1 Protocol and JSON results."""

    source = "wikidata"
    date = ""

    def __init__(
        self, url: str, contact: str, *, read_timeout: int = READ_TIMEOUT, whole_timeout: float = WHOLE_TIMEOUT
    ) -> None:
        self.url, self.contact = url, contact
        self.read_timeout, self.whole_timeout = read_timeout, whole_timeout
        self._has_answered = False

    def request(self, query: str) -> dict[str, str]:
        """The URL and the query."""
        return {"endpoint": self.url, "query": query}

    def ask(self, query: str) -> Rows:
        """Send one query by POST and check the answer. Raises UsageError where the contact is missing."""
        agent = user_agent(self.contact, self.url, f"SPARQLWrapper/{version('SPARQLWrapper')}")
        content_type, body = self._send(query, agent)
        answer = read_answer(content_type, body, query, self.url, patient=self._has_answered)
        self._has_answered = True
        return answer

    def _send(self, query: str, agent: str) -> tuple[str, bytes]:
        from SPARQLWrapper import JSON, POST, SPARQLWrapper
        from SPARQLWrapper.SPARQLExceptions import SPARQLWrapperException

        wrapper = SPARQLWrapper(self.url, agent=agent, returnFormat=JSON)
        wrapper.setMethod(POST)
        wrapper.setOnlyConneg(True)
        wrapper.setTimeout(self.read_timeout)
        wrapper.setQuery(query)
        try:
            with wrapper.query().response as response:
                if (encoding := response.headers.get("Content-Encoding", "identity").lower()) != "identity":
                    raise ServiceError(
                        f"{self.url}: answered in Content-Encoding {encoding}, though asked not to compress. Set "
                        "sparql under [services] to an endpoint that does as asked."
                    )
                return response.headers.get("Content-Type", ""), self._read(response)
        except SPARQLWrapperException as error:
            # The exception keeps the body only; status and headers are those of the error that caused it.
            cause = error.__context__
            if not isinstance(cause, urllib.error.HTTPError):
                raise
            with cause:  # SPARQLWrapper leaves it open
                raise failure(cause.code, cause.headers, str(error), self.url, time.time()) from None
        except urllib.error.HTTPError as error:
            raise failure(error.code, error.headers, _text(error), self.url, time.time()) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise ServiceError(f"{self.url}: its certificate is not trusted ({error.reason})") from None
            raise Transient(f"{self.url}: cannot be reached ({error.reason})") from None
        except TimeoutError:
            raise TooLarge(f"{self.url}: silent for {self.read_timeout} s") from None
        except ValueError as error:
            raise ServiceError(f"{self.url}: sends on to an address that is none ({error})") from None
        except (http.client.HTTPException, OSError) as error:
            # Besides ConnectionError: TLS errors, and a network that is down.
            raise Transient(f"{self.url}: the connection broke ({error!r})") from None

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The whole body. `setTimeout` limits each read; a slow trickle is caught here."""
        deadline = time.monotonic() + self.whole_timeout
        body = bytearray()
        try:
            while chunk := response.read1(1 << 16):
                body += chunk
                if time.monotonic() > deadline:
                    raise TooLarge(f"{self.url}: the answer took more than {self.whole_timeout:.0f} s")
                if len(body) > WHOLE_SIZE:
                    raise TooLarge(f"{self.url}: the answer has more than {WHOLE_SIZE >> 20} MiB")
        except TimeoutError:
            raise  # Silence says something about the query; the errors below do not.
        except (http.client.HTTPException, OSError) as error:
            raise _broken_off(f"{self.url}: the connection broke after {len(body)} bytes ({error!r})", body) from None
        return bytes(body)


def open_endpoint(services: Services) -> Endpoint:
    """The endpoint that the profile names; the embedded one raises MissingExtra where it is asked without its extra."""
    if services.sparql == EMBEDDED:
        from dual_data.sources.embedded import EmbeddedGraph

        return EmbeddedGraph()
    return HttpEndpoint(services.sparql, services.contact)


def endpoint_fault(services: Services) -> str:
    """Why that endpoint cannot be asked from here: no contact, or no package; empty where it can."""
    if services.sparql == EMBEDDED:
        from dual_data.sources.embedded import missing_package

        return missing_package()
    return contact_fault(services.contact, services.sparql)


def read_answer(content_type: str, body: bytes, query: str, url: str, *, patient: bool) -> Rows:
    """Rows of an answer to a query that came with status 200; raises the error that it stands for where it has none.

    `patient`: the endpoint has given good answers before, so that an HTML page is a temporary failure and not the sign
    of a wrong URL.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("application/sparql-results+json", "application/json"):
        raise _not_json(kind, body.decode("utf-8", "replace"), url, patient)
    tail = body[-20_000:].decode("utf-8", "replace")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        if _OUT_OF_TIME.search(tail):
            raise TooLarge(f"{url}: ran out of time in the middle of its answer ({len(body)} bytes)") from None
        raise _broken_off(f"{url}: the answer broke off after {len(body)} bytes", body) from None
    if isinstance(data, dict) and "exception" in data and _OUT_OF_TIME.search(str(data["exception"])):
        raise TooLarge(f"{url}: {str(data['exception'])[:200]}")
    try:
        return rows_of(data, query)
    except (KeyError, TypeError, ValueError):
        raise ServiceError(
            f"{url}: answered JSON, but not SPARQL results of the query ({tail[:120]!r}). Set sparql under [services] "
            "to a SPARQL 1.1 query endpoint."
        ) from None


def _broken_off(message: str, body: bytes | bytearray) -> Transient:
    """Without a byte of a body it is a failed connection, which says nothing about the query."""
    return BrokenOff(message) if body else Transient(message)


def rows_of(data: Mapping[str, Any], query: str) -> Rows:
    """Rows of a SPARQL 1.1 JSON results document. Raises KeyError, TypeError or ValueError where it is none, or has
    other variables than the query, in whatever order the service lists them."""
    names = selected_by(query)
    if set(data["head"]["vars"]) != set(names):
        raise ValueError(f"the variables are not {names}")
    return [[_term(row[name]) if name in row else None for name in names] for row in data["results"]["bindings"]]


def _term(cell: Mapping[str, str]) -> Term:
    """Raises KeyError, TypeError or ValueError for no term: logged, it would fail every later run that reads it."""
    kind = _KINDS.get(cell["type"])
    if kind is None:
        raise ValueError(cell["type"])
    term = Term(kind, cell["value"], cell.get("xml:lang") or cell.get("datatype") or "")
    if not all(isinstance(text, str) for text in term):
        raise TypeError(f"{term} is not made of texts")
    return term


def failure(status: int, headers: Message, text: str, url: str, now: float) -> ServiceError:
    """The exception for an HTTP error status."""
    shown = f"{url}: answered {status} ({_gist(text)})"
    if _GAVE_UP.search(text) and status not in (403, *_GATEWAY):
        return TooLarge(shown)
    if status in (401, 403):
        return Refused(
            f"{shown}. The service does not want this client: check that the contact is yours, and wait a day if it "
            "was banned for asking too fast."
        )
    if status in (408, 429) or (status >= 500 and status not in (501, 504, 505)):
        return Transient(shown, retry_after=wait_asked(status, headers.get("Retry-After"), now))
    if status in (413, 504):
        return TooLarge(shown)
    return ServiceError(f"{shown}. Set sparql under [services] to a SPARQL 1.1 query endpoint.")


def _not_json(kind: str, text: str, url: str, patient: bool) -> ServiceError:
    shown = f"{url}: answered {kind or 'no type'} with status 200 instead of SPARQL results ({_gist(text)})"
    if _AGENT.search(text):
        return Refused(f"{shown}. Set the contact to your own e-mail address or URL.")
    if _OUT_OF_TIME.search(text):
        return TooLarge(shown)
    if patient or _PASSING.search(text):
        return Transient(shown)
    return ServiceError(f"{shown}. Set sparql under [services] to a SPARQL 1.1 query endpoint.")


def _text(error: urllib.error.HTTPError) -> str:
    """The body of an error; empty where the connection fails in it, since the status says enough."""
    with error:
        try:
            return error.read(100_000).decode("utf-8", "replace")
        except (http.client.HTTPException, OSError):
            return ""


def _gist(text: str) -> str:
    """One line of a body: the title of HTML, else its beginning."""
    title = _TITLE.search(text)
    line = " ".join((title.group(1) if title else text).split())
    return line if len(line) <= 200 else line[:197] + "..."
