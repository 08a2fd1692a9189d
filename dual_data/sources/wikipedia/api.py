"""The Action API of a wiki through mwclient and the call log.

mwclient's own retries are off. A hook checks each response before mwclient's handling can lose Retry-After (429),
sleep unasked (5xx) or fail on a missing header (lag).
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import mwclient
import requests
import urllib3

from dual_data.calls.fetching import Calls
from dual_data.calls.log import Request
from dual_data.config import Services
from dual_data.errors import Refused, ServiceError, Transient
from dual_data.ids import canonical
from dual_data.sources.etiquette import DEFAULT_WAIT, user_agent, wait_asked
from dual_data.sources.wikipedia.answers import Names, checked, endless, incoming_links

SOURCE = "wikipedia"
MAX_LAG = 5
"""Seconds of database lag above which a batch job should wait."""
TIMEOUT = 60.0
"""Seconds without a byte."""
WHOLE_TIMEOUT = 300.0
"""Seconds for a whole answer."""
SILENT_INDEX = 10
"""So many articles, none with a counter, are no gaps: the search index was not reached, or counts nothing."""
_BLOCKED = {"blocked", "autoblocked", "readapidenied", "permissiondenied"}
_TEMPORARY = re.compile(
    r"maxlag|ratelimited|readonly|cirrussearch-(?:too-busy|backend)-error|internal_api_error_.*", re.DOTALL
)


class ActionApi:
    """The Action API of one wiki, asked through the call log."""

    def __init__(self, services: Services, calls: Calls, *, whole_timeout: float = WHOLE_TIMEOUT) -> None:
        self.api = services.wikipedia.rstrip("/") + "/"
        self._services, self._calls, self._whole_timeout = services, calls, whole_timeout
        self._site: mwclient.Site | None = None

    def _pages(self, request: Request) -> Iterator[dict[str, Any]]:
        """The answers of a query, following `continue`; every one is a call of its own in the log."""
        more: Mapping[str, Any] | None = {}
        seen: set[str] = set()
        while more is not None:
            if (position := canonical(more)) in seen:
                raise ServiceError(endless(self.api, request, more))
            seen.add(position)
            answer = self._ask({**request, **more})
            yield answer
            more = answer.get("continue")

    def _ask(self, request: Request) -> dict[str, Any]:
        answer: dict[str, Any] = self._calls.fetch(SOURCE, request, lambda: self._query(request))
        return answer

    def _query(self, request: Request) -> dict[str, Any]:
        """One request to the API; keeps what the counts need."""
        parameters = {key: value for key, value in request.items() if key != "wiki"}
        if "titles" in parameters:
            parameters["titles"] = "|".join(parameters["titles"])
        try:
            return self._reduced(request, self._client().api("query", formatversion=2, **parameters))
        except mwclient.errors.APIError as error:
            raise _api_error(self.api, str(error.code), str(error.info)) from None
        except (mwclient.errors.MaximumRetriesExceeded, requests.RequestException) as error:
            raise Transient(f"{self.api}: {type(error).__name__}: {error}") from None
        except (ValueError, RecursionError, mwclient.errors.InvalidResponse):
            raise Transient(f"{self.api}: the answer is not JSON") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise Transient(f"{self.api}: the answer is not one of this API ({error!r})") from None

    def _reduced(self, request: Request, answer: Mapping[str, Any]) -> dict[str, Any]:
        """What the log keeps of an answer. Raises KeyError, TypeError or AttributeError for an answer of another form:
        logged, it would fail every later run that reads it."""
        query = answer.get("query", {})
        day = datetime.fromtimestamp(self._calls.clock.now(), UTC).date().isoformat()
        if "siprop" in request:
            return {"extensions": sorted(e.get("name", "") for e in query["extensions"]), "day": day}
        # Redirects in a circle and titles of other wikis have no page: an answer may hold nothing else.
        if not query.keys() & {"pages", "redirects", "interwiki"}:
            raise Transient(f"{self.api}: the answer holds no pages; warnings: {answer.get('warnings')}")
        pages = [checked(page) for page in query.get("pages", [])]
        names, said = Names(), {page["title"] for page in pages}
        names.learn(query)
        counts = [incoming_links(page) for page in pages if "cirrusdoc" in page]
        if len(counts) >= SILENT_INDEX and not any(count is not None for count in counts):
            raise Transient(
                f"{self.api}: the search index has a counter for none of {len(counts)} articles; where that stays so, "
                "use method = 'linkshere' in [links]"
            )
        renames = {key: query[key] for key in ("normalized", "redirects", "interwiki") if key in query}
        more = {"continue": answer["continue"]} if "continue" in answer else {}
        if more and more["continue"].items() <= request.items():
            raise Transient(endless(self.api, request, more["continue"]))
        if "continue" not in request and (silent := names.unsaid(request["titles"], said)):
            raise Transient(f"{self.api}: said nothing about {silent[0]!r}")
        return {"pages": pages, **renames, **more, "day": day}

    def _client(self) -> mwclient.Site:
        if self._site is None:
            agent = user_agent(self._services.contact, self.api, f"mwclient/{mwclient.__version__}")
            session = requests.Session()
            session.headers["User-Agent"] = agent
            session.hooks["response"] += [self._read, self._judge]
            parts = urlsplit(self.api)
            self._site = mwclient.Site(
                parts.netloc, path=parts.path, scheme=parts.scheme, pool=session, do_init=False, max_retries=0,
                max_lag=MAX_LAG, connection_options={"timeout": TIMEOUT},
            )  # fmt: skip
        return self._site

    def _read(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Read the body with a deadline: the client's timeout limits each read only, so a trickle would never end."""
        deadline = time.monotonic() + self._whole_timeout
        body = io.BytesIO()
        try:
            while chunk := response.raw.read1(1 << 16, decode_content=True):
                body.write(chunk)
                if time.monotonic() > deadline:
                    response.close()
                    raise Transient(f"{self.api}: the answer took more than {self._whole_timeout:.0f} s")
        except urllib3.exceptions.HTTPError as error:
            raise Transient(f"{self.api}: the connection broke ({error!r})") from None
        body.seek(0)
        response.raw = urllib3.HTTPResponse(body, preload_content=False)

    def _judge(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Raise one of our errors for a response that is no answer, before mwclient sees it."""
        wait = wait_asked(response.status_code, response.headers.get("Retry-After"), self._calls.clock.now())
        if response.status_code in (401, 403):
            raise Refused(
                f"{self.api} refuses this client with {response.status_code}: {_start(response)}. Check the contact "
                "under [services], wait a day after a ban, and lower pace.wikipedia.per_minute."
            )
        if response.status_code == 429 or response.status_code >= 500:
            raise Transient(f"{self.api}: {response.status_code} {response.reason}", retry_after=wait)
        if response.status_code != 200:
            raise ServiceError(
                f"{self.api}: {response.status_code} {response.reason}; check that services.wikipedia is the folder "
                "of api.php"
            )
        if "X-Database-Lag" in response.headers:
            raise Transient(f"{self.api}: the database lags", retry_after=wait if wait is not None else float(MAX_LAG))
        if "json" not in response.headers.get("Content-Type", ""):
            if "user-agent" in response.text[:500].lower():
                raise Refused(
                    f"{self.api} asks for a better User-Agent: {_start(response)}. Set contact in [services]."
                )
            raise Transient(f"{self.api}: HTML instead of JSON: {_start(response)}", retry_after=wait)


def _api_error(api: str, code: str, info: str) -> ServiceError:
    if _TEMPORARY.fullmatch(code):
        lag = re.search(r"([\d.]+) seconds? lagged", info)
        default = DEFAULT_WAIT if code == "ratelimited" else None
        return Transient(f"{api}: {code}: {info}", retry_after=float(MAX_LAG) if lag else default)
    if code in _BLOCKED:
        return Refused(f"{api}: {code}: {info}")
    return ServiceError(f"{api}: {code}: {info}")


def _start(response: requests.Response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.text[:400]).split())[:160]
