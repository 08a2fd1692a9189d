"""Services: where they are, and how fast each may be queried."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from dual_data.config.files import Strict
from dual_data.config.urls import Url, check_url

EMBEDDED = "embedded"
"""Value of `services.sparql` for the snapshot in the package."""
SNAPSHOT = "embedded snapshot"
"""Name of that snapshot among the sources of a stage: of facts, or of links that were counted in it."""
LONGEST_TIMEOUT = 86_400
"""Upper bound of every timeout in seconds: a day. Much longer ones overflow the clocks."""


class Pace(Strict):
    """How fast one service is queried, and how often a failed request is retried."""

    per_minute: int | None = Field(default=None, ge=1)
    """Most requests in any 60 seconds to one address, counted across runs; no limit if left out."""
    concurrency: int = Field(default=1, ge=1)
    """Most requests in flight at once."""
    attempts: int = Field(default=6, ge=1)
    """Most tries of one request before the stage stops."""
    longest_wait: float = Field(default=300.0, gt=0, le=LONGEST_TIMEOUT)
    """Longest wait before a retry, in seconds; a service that asks for a longer one stops the build, which can be
    resumed later."""


PACES: Mapping[str, Pace] = {
    "wikidata": Pace(per_minute=30, concurrency=1),
    "wikipedia": Pace(per_minute=190, concurrency=1),
    "probe": Pace(concurrency=8),
    "judge": Pace(concurrency=8),
    EMBEDDED: Pace(),
    "local": Pace(),
    "own": Pace(),
}
"""Default pace of every source. `local:<model>` is a model in this process, `own:<name>` a source of a project's own
stages; a source without a pace of its own uses that of the name before the colon."""
_PREFIXES = ("local:", "own:")


class Services(Strict):
    """Addresses of the services, and the pace of each."""

    contact: str = ""
    """E-mail address or URL of whoever operates this build: the User-Agent policy of the services asks for it.

    The environment variable DUAL_DATA_CONTACT takes precedence.
    """
    sparql: str = "https://query.wikidata.org/sparql"
    """SPARQL 1.1 endpoint with Wikidata's data model, or `embedded` for the snapshot in the package."""
    wikipedia: Url = "https://en.wikipedia.org/w/"
    """URL of the folder with api.php of the English Wikipedia, whose titles Wikidata gives, or of a mirror of it."""
    pace: dict[str, Pace] = Field(default_factory=lambda: dict(PACES))
    """Pace of a source: wikidata (by default 30 a minute), wikipedia (190 a minute), probe or judge (no limit, 8 at
    once), embedded, local or local:MODEL (models in this process), own or own:NAME (stages of your own). A pace set
    here replaces the default as a whole, the limit per minute too."""

    @field_validator("sparql")
    @classmethod
    def _embedded_or_url(cls, sparql: str) -> str:
        try:
            return sparql if sparql == EMBEDDED else check_url(sparql)
        except ValueError as error:
            raise ValueError(f"{error}; or set {EMBEDDED}, the snapshot inside the package") from None

    @field_validator("pace")
    @classmethod
    def _beside_the_defaults(cls, paces: dict[str, Pace]) -> dict[str, Pace]:
        for name in paces:
            if name not in PACES and not name.startswith(_PREFIXES):
                known = ", ".join([*PACES, *(f"{prefix}NAME" for prefix in _PREFIXES)])
                raise ValueError(f"{name!r} is not a source; the sources are: {known}")
        return {**PACES, **paces}
