"""The embedded snapshot: a small graph that answers the same SPARQL as Wikidata's service, without network.

It holds facts of Natural Earth, country-coder, rigour and wikidata-lang about countries, their divisions and their
languages, identified by Wikidata ids. They are facts of those sources, not Wikidata's statements: SOURCES.md, beside
this file, says what was taken, how it was checked and what was left out; `scripts/build_embedded.py` made it.
"""

from __future__ import annotations

import gzip
import json
import tomllib
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from dual_data.config import EMBEDDED
from dual_data.errors import Refused
from dual_data.sources.wikidata.sparql import Rows, rows_of
from dual_data.system.extras import expect_installed, not_installed

if TYPE_CHECKING:
    from pyoxigraph import Store

_FOLDER = files(__name__)
_ENGINE = ("embedded", "pyoxigraph")


def missing_package() -> str:
    """What is not installed of all that queries take, and how to install it; empty where nothing is missing."""
    return not_installed(*_ENGINE)


class EmbeddedGraph:
    """The snapshot as a SPARQL 1.1 endpoint inside the process: a `dual_data.sources.wikidata.sparql.Endpoint`.

    Queries see Wikidata's shape: `wdt:` triples, `p:`/`ps:`/`psv:`/`pq:` statements with `wikibase:rank` and
    `wikibase:BestRank`, English `rdfs:label`, `skos:altLabel` and `schema:description`, articles of the English
    Wikipedia. There are no `wikibase:sitelinks`: the sources have none. Prefixes must be declared.
    """

    source = EMBEDDED

    @cached_property
    def sources(self) -> dict[str, Any]:
        """sources.toml: `snapshot` (sha256, date, entities, facts, triples), `sources` by name, `facts` by property,
        `withheld`."""
        return tomllib.loads(_FOLDER.joinpath("sources.toml").read_text(encoding="utf-8"))

    @property
    def sha256(self) -> str:
        """Hash of the unpacked snapshot: what identifies its content in call keys and fingerprints."""
        return str(self.sources["snapshot"]["sha256"])

    @property
    def date(self) -> str:
        """Day of the snapshot, YYYY-MM-DD: that of the newest release among its sources."""
        return str(self.sources["snapshot"]["date"])

    @cached_property
    def _store(self) -> Store:
        expect_installed(*_ENGINE)
        from pyoxigraph import RdfFormat, Store

        store = Store()
        text = gzip.decompress(_FOLDER.joinpath("snapshot.nt.gz").read_bytes())
        store.bulk_load(text, RdfFormat.N_TRIPLES)
        return store

    def request(self, query: str) -> dict[str, str]:
        """The snapshot's hash and the query."""
        return {"snapshot": self.sha256, "query": query}

    def ask(self, query: str) -> Rows:
        """The rows that `select` gives."""
        return rows_of(self.select(query), query)

    def select(self, query: str) -> dict[str, Any]:
        """The answer to a SELECT or ASK query as the object of the W3C's SPARQL 1.1 JSON results format.

        Raises `Refused` for a query that is not SPARQL 1.1.
        """
        try:
            results: Any = self._store.query(query)
        except SyntaxError as error:
            raise Refused(f"embedded snapshot: not a SPARQL 1.1 query: {error}") from None
        from pyoxigraph import QueryResultsFormat

        answer: dict[str, Any] = json.loads(results.serialize(format=QueryResultsFormat.JSON))
        return answer
