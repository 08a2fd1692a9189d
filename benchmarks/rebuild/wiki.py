"""The part of the Action API that counting links by the search index needs, answered from the world."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from benchmarks.rebuild.world import Rehearsal
from dual_data.ids import digest
from tests.faults.proxy import Request

MOST_TITLES = 50
Response = tuple[int, list[tuple[str, str]], bytes]


class ActionApi:
    """Answers `meta=siteinfo` and `prop=cirrusdoc`; more than 50 titles are an error, as in the real API."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        items = rehearsal.world.items.values()
        self._links = {item.title: rehearsal.links.get(item.qid, 0) for item in items if item.title}

    def __call__(self, request: Request) -> Response:
        fields = {**parse_qs(urlsplit(request.path).query), **parse_qs(request.body.decode())}
        response = self._answer({name: values[-1] for name, values in fields.items()})
        body = json.dumps(response).encode()
        return 200, [("Content-Type", "application/json; charset=utf-8")], body

    def _answer(self, fields: Mapping[str, str]) -> dict[str, object]:
        user = {"id": 0, "name": "127.0.0.1", "anon": True}
        if fields.get("meta", "").startswith("siteinfo"):
            general = {"sitename": "Rehearsal", "generator": "MediaWiki 1.45.0"}
            return {"query": {"general": general, "extensions": [{"name": "CirrusSearch"}], "userinfo": user}}
        titles = fields["titles"].split("|")
        if len(titles) > MOST_TITLES:
            return {"error": {"code": "toomanyvalues", "info": f"limit is {MOST_TITLES}"}}
        return {"batchcomplete": True, "query": {"pages": [self._page(title) for title in titles], "userinfo": user}}

    def _page(self, title: str) -> dict[str, object]:
        if title not in self._links:
            return {"ns": 0, "title": title, "missing": True}
        document = {"index": "content", "id": "1", "source": {"incoming_links": self._links[title]}}
        return {"pageid": 1 + int(digest(title, 7), 16), "ns": 0, "title": title, "cirrusdoc": [document]}
