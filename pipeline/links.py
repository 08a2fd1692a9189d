"""Links: how often Wikipedia links to each subject and object."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, model_validator

from dual_data.config import Services, Strict
from dual_data.engine.stage import Forecast, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.ids import item_of_iri
from dual_data.schema import Links
from dual_data.sources.dumps.params import EngineParams
from pipeline import expected

IN_DEGREES = """
SELECT ?o (COUNT(DISTINCT ?s) AS ?n) WHERE {
  ?s ?p ?o .
  FILTER(STRSTARTS(STR(?p), "http://www.wikidata.org/prop/direct/"))
  FILTER(STRSTARTS(STR(?o), "http://www.wikidata.org/entity/Q"))
} GROUP BY ?o
"""
"""How many subjects of the graph state something about each entity."""


class LinksParams(Strict):
    """Parameters of [links]."""

    method: Literal["cirrusdoc", "linkshere", "dump", "in_degree", "none"] = "cirrusdoc"
    """cirrusdoc: approximate, 50 titles a request; linkshere: exact, many requests; dump: exact, from Wikipedia's
    tables of one day; in_degree: how many subjects of the embedded graph state something about the entity; none: no
    counts (labels mode)."""
    cap: int = Field(default=2000, ge=1)
    """linkshere: counting one title stops here."""
    folder: str = ""
    """dump: folder of the dumps page, redirect, linktarget, pagelinks and page_props, imported; relative to the
    project."""
    hops: int = Field(default=1, ge=1, le=8)
    """dump: redirects in a row through which a link counts; 1 is what a reader is led on by and linkshere counts."""
    compute: EngineParams = Field(default_factory=EngineParams)
    """dump: what runs the relational part."""

    @model_validator(mode="after")
    def _folder_fits_method(self) -> LinksParams:
        if (self.method == "dump") != bool(self.folder):
            wrong = "takes no folder" if self.folder else "needs the folder of its dumps: set folder"
            raise ValueError(f"method = {self.method!r} {wrong}")
        return self


def run(params: LinksParams, tools: Tools, *, facts: pl.DataFrame) -> pl.DataFrame:
    """One row an entity that is the subject or the object of a fact."""
    entities = _entities(facts, tools.limit)
    if params.method == "none":
        return _rows(entities, {}, "mentions")
    if params.method == "in_degree":
        degrees = _in_degrees(tools)
        return _rows(entities, {qid: {"inbound_links": degrees.get(qid, 0)} for qid in entities["qid"]}, "in_degree")
    if params.method == "dump":
        counts, day = _from_dump(params, tools, entities["qid"])
        return _rows(entities, counts, "dump", day)
    from dual_data.sources.wikipedia import Wikipedia

    wiki = Wikipedia(tools.services, tools.calls)
    titles = entities["title"].drop_nulls().unique().sort().to_list()
    with tools.progress.task("links", total=len(titles)) as advance:
        if params.method == "cirrusdoc":
            if titles:
                wiki.require_cirrus()
            found = wiki.count_by_cirrus(titles, advance)
        else:
            found = wiki.count_by_linkshere(titles, params.cap, advance)
    rows = [(entity["qid"], found[entity["title"]]) for entity in entities.iter_rows(named=True) if entity["title"]]
    return _rows(entities, {qid: count._asdict() for qid, count in rows}, params.method)


def forecast(params: LinksParams, tools: Tools, *, facts: pl.DataFrame) -> list[Forecast]:
    """The requests of `run`: exact for cirrusdoc, the least possible for linkshere."""
    if params.method in ("none", "in_degree", "dump"):
        return []
    from dual_data.sources.wikipedia import SOURCE, Wikipedia

    wiki = Wikipedia(tools.services, tools.calls)
    titles = _entities(facts, tools.limit)["title"].drop_nulls().unique().to_list()
    if params.method == "cirrusdoc":
        requests = [*([wiki.probe()] if titles else []), *wiki.cirrus_requests(titles)]
        return [Forecast(SOURCE, len(requests), tools.calls.known(SOURCE, requests))]
    requests = wiki.redirect_requests(titles)
    note = "at least; one call more for every 500 links"
    return [Forecast(SOURCE, 2 * len(requests), tools.calls.known(SOURCE, requests), note=note)]


def _entities(facts: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """Columns qid, title, sitelinks: distinct subjects and entity objects, in the order of their ids."""
    chosen = facts.sort("fact_id").head(limit) if limit is not None else facts
    sides = [
        chosen.select(qid=f"{side}_qid", title=f"{side}_title", sitelinks=f"{side}_sitelinks")
        for side in ("subject", "object")
    ]
    stacked = pl.concat(sides).filter(pl.col("qid").is_not_null())
    return stacked.group_by("qid").agg(pl.col("title", "sitelinks").drop_nulls().first()).sort("qid")


def _in_degrees(tools: Tools) -> dict[str, int]:
    if tools.services.sparql != "embedded":
        raise ConfigError(
            "in_degree counts in the embedded snapshot; set services.sparql = 'embedded'", key="links.method"
        )
    from dual_data.sources.embedded import EmbeddedGraph

    bindings = EmbeddedGraph().select(IN_DEGREES)["results"]["bindings"]
    return {str(item_of_iri(row["o"]["value"])): int(row["n"]["value"]) for row in bindings}


def _from_dump(params: LinksParams, tools: Tools, qids: pl.Series) -> tuple[dict[str, dict[str, Any]], str | None]:
    """The counts, and the day of the dump: None where its name does not tell (`latest`)."""
    from dual_data.sources.dumps.engines import Tables, open_engine
    from dual_data.sources.dumps.imports import imported
    from dual_data.sources.dumps.links import count

    folder = tools.project / params.folder
    with open_engine(params.compute) as engine:
        counts = count(Tables(folder, engine), qids, params.hops)
    date = imported(folder)["pagelinks"][1].date
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}" if date.isdigit() else None
    return {row.pop("qid"): row for row in counts.iter_rows(named=True)}, day


def sources(params: LinksParams, project: Path, _: Services) -> dict[str, str]:
    """Hashes of the dumps, or of the snapshot, that links are counted in."""
    if params.method == "in_degree":
        from dual_data.sources.embedded import EmbeddedGraph

        return {"embedded snapshot": EmbeddedGraph().sha256}
    if params.method != "dump":
        return {}
    from dual_data.sources.dumps.engines import identities
    from dual_data.sources.dumps.files import WIKI_TABLES

    return identities(project / params.folder, WIKI_TABLES)


def _rows(
    entities: pl.DataFrame, counts: dict[str, dict[str, Any]], method: str, day: str | None = None
) -> pl.DataFrame:
    """`day` is that of a file that was counted in."""
    empty: dict[str, Any] = {"title": None, "inbound_links": None, "capped": False, "counted_on": day}
    rows = [{**empty, **counts.get(qid, {}), "qid": qid} for qid in entities["qid"]]
    schema = {
        "qid": pl.String,
        "title": pl.String,
        "inbound_links": pl.Int64,
        "capped": pl.Boolean,
        "counted_on": pl.String,
    }
    counted = pl.DataFrame(rows, schema=schema)
    return counted.join(entities.select("qid", "sitelinks"), on="qid", how="left").with_columns(method=pl.lit(method))


LINKS = Stage(
    name="links",
    version=2,
    run=run,
    schema=Links,
    params=LinksParams,
    inputs=("facts",),
    sources=sources,
    services=("wikipedia", "sparql"),
    forecast=forecast,
    outlook=expected.links,
)
