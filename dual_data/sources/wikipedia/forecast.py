"""The calls that counting links takes: the counting is replayed from the call log, as far as that has answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from dual_data.calls.fetching import Calls, Forecast, NotKnown
from dual_data.calls.log import Request, key_of
from dual_data.config import Services
from dual_data.sources.wikipedia.api import SOURCE
from dual_data.sources.wikipedia.counts import Wikipedia


class Foresight(Wikipedia):
    """Counts the calls that `Wikipedia` makes, at least: which calls follow on one is known once it is answered."""

    def __init__(self, services: Services, calls: Calls) -> None:
        super().__init__(services, calls)
        self._known: set[str] = set()
        self._missing: set[str] = set()
        self._following = 0
        """Calls that follow on missing ones, unless no title of a request has an article."""

    def foresee_cirrus(self, titles: Sequence[str], cap: int) -> None:
        """The calls of `count_by_cirrus`, and those of `count_by_linkshere` for the gaps known so far."""
        gaps: list[str] = []
        if titles:
            with suppress(NotKnown):
                self._ask(self.probe())
        for request in self.cirrus_requests(titles):
            with suppress(NotKnown):
                counts = self.count_by_cirrus(request["titles"])
                gaps += [title for title in request["titles"] if title not in counts]
        self.foresee_linkshere(gaps, cap)

    def foresee_linkshere(self, titles: Sequence[str], cap: int) -> None:
        """The calls of `count_by_linkshere`."""
        for request in self.redirect_requests(titles):
            with suppress(NotKnown):
                self.count_by_linkshere(request["titles"], cap)

    def forecast(self) -> Forecast:
        """All calls that were foreseen."""
        return Forecast(SOURCE, len(self._known) + len(self._missing) + self._following, len(self._known))

    def _ask(self, request: Request) -> dict[str, Any]:
        key = key_of(SOURCE, request)
        answer: dict[str, Any] | None = self._calls.recall(SOURCE, request)
        if answer is None:
            self._missing.add(key)
            # The links to a page are asked for once its redirects are known.
            self._following += request.get("prop") == "redirects"
            raise NotKnown
        self._known.add(key)
        return answer
