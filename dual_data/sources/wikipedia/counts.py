"""How many articles link to a page of a wiki.

Two methods. `cirrusdoc` reads the search index's counter: 50 titles per request, approximate (it is rewritten only when
it moves by a fifth, and counts redirects and pages outside the article namespace). `linkshere` counts the distinct
articles that link to the page or to one of its redirects: exact, and many requests for famous pages, hence a cap. It
also counts what the search index lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dual_data.errors import ConfigError, InputError, ServiceError
from dual_data.ids import is_title
from dual_data.sources.wikipedia.answers import Names, incoming_links, is_page
from dual_data.sources.wikipedia.api import ActionApi

TITLES_A_REQUEST = 50
"""Most titles that the API takes from a client without special rights."""


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


class Wikipedia(ActionApi):
    """One wiki, asked through the call log."""

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

    def count_by_cirrus(
        self, titles: Sequence[str], advance: Callable[[int], None] = lambda _: None
    ) -> dict[str, LinkCount]:
        """Approximate counts by title as asked for; titles that the search index lacks are left out."""
        link_counts: dict[str, LinkCount] = {}
        for request in self.cirrus_requests(titles):
            names = Names()
            counts: dict[str, int | None] = {}
            gaps: set[str] = set()
            for answer in self._pages(request):
                names.learn(answer)
                for page in answer["pages"]:
                    if not is_page(page):
                        counts[page["title"]] = None
                    elif "cirrusdoc" in page:
                        count = counts[page["title"]] = incoming_links(page)
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
        self, titles: Sequence[str], cap: int, advance: Callable[[int], None] = lambda _: None
    ) -> dict[str, LinkCount]:
        """Exact counts by title as asked for: distinct articles that link to the page or to a redirect to it.

        A count that reaches `cap` stops there and is marked.
        """
        link_counts: dict[str, LinkCount] = {}
        for request in self.redirect_requests(titles):
            names, targets, day = Names(), {}, ""
            missing: set[str] = set()
            for answer in self._pages(request):
                names.learn(answer)
                day = answer["day"]
                for page in answer["pages"]:
                    title = page["title"]
                    if not is_page(page):
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
            names, linked_before = Names(), set[str]()
            request = {
                "wiki": self.api, "prop": "linkshere", "lhnamespace": 0, "lhshow": "!redirect", "lhlimit": "max",
                "lhprop": "pageid", "titles": batch,
            }  # fmt: skip
            for answer in self._pages(request):
                day = answer["day"]
                # A redirect may be stored under a title that the wiki has since come to write otherwise.
                names.learn(answer)
                pages = {page["title"]: page.get("linkshere", ()) for page in answer["pages"]}
                links = {title: pages.get(names.final(title) or title, ()) for title in batch}
                linked = {title for title, found in links.items() if found}
                for title in linked:
                    linking[targets[title]].update(link["pageid"] for link in links[title])
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
