"""Wikipedia's Action API through mwclient: how many articles link to a page.

Two methods. `cirrusdoc` reads the search index's counter: 50 titles per request, approximate (it is rewritten only when
it moves by a fifth, and counts redirects and pages outside the article namespace). `linkshere` counts the distinct
articles that link to the page or to one of its redirects: exact, and many requests for famous pages, hence a cap. It
also counts what the search index lacks.

mwclient's own retries are off. A hook checks each response before mwclient's handling can lose Retry-After (429),
sleep unasked (5xx) or fail on a missing header (lag).
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import mwclient
import requests
import urllib3

from dual_data.call_log import Request
from dual_data.calls import Calls
from dual_data.config import Services
from dual_data.errors import ConfigError, InputError, Refused, ServiceError, Transient
from dual_data.ids import canonical, is_title
from dual_data.sources.etiquette import DEFAULT_WAIT, user_agent, wait_asked

SOURCE = "wikipedia"
TITLES_A_REQUEST = 50
"""Most titles that the API takes from a client without special rights."""
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


class LinkCount(NamedTuple):
    """Inbound links of one title as asked for."""

    title: str | None
    """After normalisation and redirects; None where there is no such article."""
    inbound_links: int | None
    capped: bool
    counted_on: str
    """UTC day of the answer."""
    method: str
    """cirrusdoc or linkshere."""


class Wikipedia:
    """One wiki, asked through the call log."""

    def __init__(self, services: Services, calls: Calls, *, whole_timeout: float = WHOLE_TIMEOUT) -> None:
        self.api = services.wikipedia.rstrip("/") + "/"
        self._services, self._calls, self._whole_timeout = services, calls, whole_timeout
        self._site: mwclient.Site | None = None

    def probe(self) -> dict[str, Any]:
        """The request that tells whether the wiki has CirrusSearch."""
        return {"wiki": self.api, "meta": "siteinfo", "siprop": "extensions|general"}

    def require_cirrus(self) -> None:
        """Raise ConfigError where the wiki has no CirrusSearch: it would answer without counts, not with zeros."""
        answer = self._ask(self.probe())
        if "CirrusSearch" not in answer["extensions"]:
            raise ConfigError(
                f"{self.api} has no CirrusSearch, so it cannot give the approximate counts; use method = 'linkshere'",
                key="links.method",
            )

    def cirrus_requests(self, titles: Sequence[str]) -> list[dict[str, Any]]:
        """The requests that `count_by_cirrus` makes first, one per batch."""
        return [
            {"wiki": self.api, "prop": "cirrusdoc", "cdincludes": "incoming_links", "redirects": 1, "titles": batch}
            for batch in _batches(titles)
        ]

    def count_by_cirrus(self, titles: Sequence[str], advance: Callable[[int], None]) -> dict[str, LinkCount]:
        """Approximate counts by title as asked for; titles that the search index lacks are left out."""
        link_counts: dict[str, LinkCount] = {}
        for request in self.cirrus_requests(titles):
            names = _Names()
            counts: dict[str, int | None] = {}
            gaps: set[str] = set()
            for answer in self._pages(request):
                names.learn(answer)
                for page in answer["pages"]:
                    if not _is_page(page):
                        counts[page["title"]] = None
                    elif "cirrusdoc" in page:
                        count = counts[page["title"]] = _incoming_links(page)
                        if count is None:
                            gaps.add(page["title"])
            indexed = [
                (requested, title) for requested in request["titles"] if (title := names.final(requested)) not in gaps
            ]
            for requested, title in indexed:
                if title is not None and title not in counts:
                    raise ServiceError(
                        f"{self.api} gave no cirrusdoc for {title!r}: a missing count is not 0. "
                        "Use method = 'linkshere' in [links]."
                    )
                count = None if title is None else counts[title]
                day = answer["day"]
                link_counts[requested] = LinkCount(title if count is not None else None, count, False, day, "cirrusdoc")
            advance(len(indexed))
        return link_counts

    def redirect_requests(self, titles: Sequence[str]) -> list[dict[str, Any]]:
        """The requests that `count_by_linkshere` makes first, one per batch."""
        return [
            {
                "wiki": self.api, "prop": "redirects", "rdnamespace": 0, "rdlimit": "max", "rdprop": "title",
                "redirects": 1, "titles": batch,
            }
            for batch in _batches(titles)
        ]  # fmt: skip

    def count_by_linkshere(
        self, titles: Sequence[str], cap: int, advance: Callable[[int], None]
    ) -> dict[str, LinkCount]:
        """Exact counts by title as asked for: distinct articles that link to the page or to a redirect to it.

        A count that reaches `cap` stops there and is marked.
        """
        link_counts: dict[str, LinkCount] = {}
        for request in self.redirect_requests(titles):
            names, targets, day = _Names(), {}, ""
            missing: set[str] = set()
            for answer in self._pages(request):
                names.learn(answer)
                day = answer["day"]
                for page in answer["pages"]:
                    title = page["title"]
                    if not _is_page(page):
                        missing.add(title)
                        continue
                    targets[title] = title
                    targets.update({redirect["title"]: title for redirect in page.get("redirects", ())})
            linking, capped, day = self._linking_pages(targets, cap, day)
            for requested in request["titles"]:
                title = names.final(requested)
                if title is None or title in missing:
                    link_counts[requested] = LinkCount(None, None, False, day, "linkshere")
                    continue
                if title not in linking:
                    raise ServiceError(
                        f"{self.api} said nothing about {requested!r}: no article has that title. Correct it in the "
                        "source of the facts."
                    )
                count = min(len(linking[title]), cap)
                link_counts[requested] = LinkCount(title, count, title in capped, day, "linkshere")
            advance(len(request["titles"]))
        return link_counts

    def _linking_pages(
        self, targets: Mapping[str, str], cap: int, day: str
    ) -> tuple[dict[str, set[int]], set[str], str]:
        """Ids of the articles that link to targets of each owner, owners whose counting stopped at the cap, the day.

        `targets` maps a linked title, an article or a redirect, to the article that it counts for.
        """
        linking: dict[str, set[int]] = {owner: set() for owner in targets.values()}
        capped: set[str] = set()
        waiting = sorted(targets)
        while waiting:
            batch, waiting = waiting[:TITLES_A_REQUEST], waiting[TITLES_A_REQUEST:]
            linked_before: set[str] = set()
            request = {
                "wiki": self.api, "prop": "linkshere", "lhnamespace": 0, "lhshow": "!redirect", "lhlimit": "max",
                "lhprop": "pageid", "titles": batch,
            }  # fmt: skip
            for answer in self._pages(request):
                day = answer["day"]
                linked = {page["title"] for page in answer["pages"] if page.get("linkshere")}
                for page in answer["pages"]:
                    owner = targets[page["title"]]
                    linking[owner].update(link["pageid"] for link in page.get("linkshere", ()))
                reached = {owner for owner in linking if len(linking[owner]) >= cap} - capped
                if reached and answer.get("continue"):
                    # A famous page would fill many more answers: ask for the others anew. Titles that had links in
                    # earlier answers but none in this one are complete.
                    capped |= reached
                    rest = [t for t in batch if targets[t] not in capped and (t in linked or t not in linked_before)]
                    waiting = sorted({*rest, *(t for t in waiting if targets[t] not in capped)})
                    break
                linked_before |= linked
        capped |= {owner for owner in linking if len(linking[owner]) > cap}
        return linking, capped, day

    def _pages(self, request: Request) -> Iterator[dict[str, Any]]:
        """The answers of a query, following `continue`; every one is a call of its own in the log."""
        more: Mapping[str, Any] | None = {}
        seen: set[str] = set()
        while more is not None:
            if (position := canonical(more)) in seen:
                raise ServiceError(_endless(self.api, request, more))
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
        pages = [_checked(page) for page in query.get("pages", [])]
        _Names().learn(query)
        counts = [_incoming_links(page) for page in pages if "cirrusdoc" in page]
        if len(counts) >= SILENT_INDEX and not any(count is not None for count in counts):
            raise Transient(
                f"{self.api}: the search index has a counter for none of {len(counts)} articles; where that stays so, "
                "use method = 'linkshere' in [links]"
            )
        renames = {key: query[key] for key in ("normalized", "redirects", "interwiki") if key in query}
        more = {"continue": answer["continue"]} if "continue" in answer else {}
        if more and more["continue"].items() <= request.items():
            raise Transient(_endless(self.api, request, more["continue"]))
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


class _Names:
    """Follows a title through normalisation and redirects."""

    def __init__(self) -> None:
        self._next: dict[str, str] = {}
        self._elsewhere: set[str] = set()

    def learn(self, answer: Mapping[str, Any]) -> None:
        for step in answer.get("normalized", ()):
            # A title that is not in NFC comes back percent-encoded.
            requested = unquote(step["from"]) if step.get("fromencoded") else step["from"]
            self._next[requested] = step["to"]
        for step in answer.get("redirects", ()):
            self._next[step["from"]] = step["to"]
            if "tointerwiki" in step:
                self._elsewhere.add(step["to"])
        self._elsewhere.update(step["title"] for step in answer.get("interwiki", ()))

    def final(self, title: str) -> str | None:
        """The title that stands in the answer's pages; None where redirects run in a circle or to another wiki."""
        seen = {title}
        while (following := self._next.get(title)) is not None:
            if following in seen:
                return None
            seen.add(following)
            title = following
        return None if title in self._elsewhere else title


def _batches(titles: Sequence[str]) -> list[list[str]]:
    """Distinct titles in sorted order, cut to requests: the same titles always give the same calls.

    Raises InputError for a title that the API would read as several or as another one: `|` separates titles, and `#`
    begins the name of a section.
    """
    ordered = sorted(set(titles))
    for title in ordered:
        if not is_title(title):
            raise InputError(
                f"{title!r} is not the title of an article: titles have neither # | < > [ ] {{ }} nor control "
                "characters. Correct it in the source of the facts."
            )
    return [ordered[i : i + TITLES_A_REQUEST] for i in range(0, len(ordered), TITLES_A_REQUEST)]


def _is_page(page: Mapping[str, Any]) -> bool:
    """Whether this can be an article: the page exists and is none that the software generates (Special:Search)."""
    return not (page.get("missing") or page.get("invalid") or page.get("special"))


def _checked(page: Mapping[str, Any]) -> Mapping[str, Any]:
    """The page, if what is counted in it has the expected form. Raises KeyError or TypeError if not."""
    links = [link["pageid"] for link in page.get("linkshere", ())]
    titles = [page["title"], *(redirect["title"] for redirect in page.get("redirects", ()))]
    if not all(isinstance(title, str) for title in titles) or not all(isinstance(link, int) for link in links):
        raise TypeError(f"{titles[0]!r} has links or redirects of another form")
    return page


def _endless(api: str, request: Request, more: Mapping[str, Any]) -> str:
    return (
        f"{api} repeats itself over prop={request['prop']}: it says again to continue at {canonical(more)}. Use "
        "another method in [links], or correct the title at fault in the source of the facts; it is one of: "
        + ", ".join(request["titles"])
    )


def _incoming_links(page: Mapping[str, Any]) -> int | None:
    """The counter in a page's cirrusdoc, a list of index documents of which the first is the article.

    None where the index lacks it: an empty field is an empty list there, even where an object belongs.
    """
    source = page["cirrusdoc"][0].get("source") if page["cirrusdoc"] else None
    count = source.get("incoming_links") if isinstance(source, dict) else None
    return count if isinstance(count, int) else None


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
