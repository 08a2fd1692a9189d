"""Links: how often Wikipedia links to each subject and object."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from dual_data.config import EMBEDDED, SNAPSHOT, Profile, Services, Strict
from dual_data.engine.stage import Forecast, Lack, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.ids import item_of_iri
from dual_data.schema import Links
from dual_data.sources.dumps.params import EngineParams
from dual_data.sources.etiquette import contact_fault
from dual_data.sources.wikidata.statements import looked_up
from pipeline import expected

ASKED = ("cirrusdoc", "linkshere")
"""Methods that ask Wikipedia."""
COUNTED = Links.create_empty().drop("sitelinks").schema
"""Columns of the entities that were counted; what a way of counting does not tell is null, or no column."""
IN_DEGREES = """
SELECT ?o (COUNT(DISTINCT ?s) AS ?n) WHERE {
  ?s ?p ?o .
  FILTER(STRSTARTS(STR(?p), "http://www.wikidata.org/prop/direct/"))
  FILTER(STRSTARTS(STR(?o), "http://www.wikidata.org/entity/Q"))
} GROUP BY ?o
"""
"""For each entity, the number of subjects with a statement whose object it is."""
TO_THE_END = sys.maxsize
"""The cap for titles that the search index lacks: stopping would rank a famous page below all that the index counts.
The most linked articles take a thousand calls each, five minutes at the usual pace; few are missing."""


class LinksParams(Strict):
    """How links to subjects and objects are counted, by default the measure of popularity."""

    method: Literal["cirrusdoc", "linkshere", "dump", "in_degree", "none"] = "cirrusdoc"
    """cirrusdoc: approximate counts of Wikipedia's search index, 50 titles a request, and linkshere without a cap for
    the titles that it lacks; linkshere: exact up to the cap, a request for every 500 links; dump: exact, from
    Wikipedia's tables of one day; in_degree: how many subjects of the embedded snapshot state something about the
    entity; none: no counts, as for entities without articles."""
    cap: int = Field(default=2000, ge=1)
    """linkshere: counting one title stops here, which saves a call for every 500 links. How titles above it compare is
    then unknown: splits that depend on that are not made, and the table `capacity` names them."""
    folder: str = Field(default="", exclude=True)
    """dump: folder of the dumps page, redirect, linktarget, pagelinks and page_props, as `dual-data dumps import`
    leaves it; relative to the project. Articles are found by their items, so that any language's Wikipedia can be
    counted in."""
    hops: int = Field(default=1, ge=1, le=8)
    """dump: longest chain of redirects through which a link counts; Wikipedia follows one, and linkshere counts so."""
    compute: EngineParams = Field(default_factory=EngineParams, exclude=True)
    """dump: what reads the tables of the dumps."""

    @model_validator(mode="after")
    def _folder_fits_method(self) -> LinksParams:
        if (self.method == "dump") != bool(self.folder):
            wrong = "takes no folder" if self.folder else "needs the folder of its dumps: set folder"
            raise ValueError(f"method = {self.method!r} {wrong}")
        return self


def run(params: LinksParams, tools: Tools, *, facts: pl.DataFrame) -> pl.DataFrame:
    """One row per entity that is the subject or the object of a fact."""
    entities = _entities(facts, tools.limit)
    counts, day = pl.DataFrame(schema=COUNTED), ""
    if params.method == "in_degree":
        counts, day = _in_degrees(entities["qid"])
    elif params.method == "dump":
        counts, day = _from_dump(params, tools, entities["qid"])
    elif params.method in ASKED:
        counts = _from_wikipedia(params, tools, entities)
    # Wikipedia was not asked about entities without an article, but the endpoint was.
    days = dict.fromkeys(entities["qid"], day) if day else looked_up(tools.calls, tools.services)
    method = pl.lit(params.method)
    if params.method == "none":
        method = pl.when(pl.col("sitelinks").is_not_null()).then(pl.lit("sitelinks")).otherwise(pl.lit("mentions"))
    counts = pl.concat([pl.DataFrame(schema=COUNTED), counts], how="diagonal")
    rows = entities.drop("title").join(counts, on="qid", how="left", maintain_order="left")
    looked_up_on = pl.col("qid").replace_strict(days, default=None, return_dtype=pl.String)
    # Wikipedia's counts carry their day and their method: where its index has gaps, there are two.
    return rows.select(
        "qid",
        "title",
        "inbound_links",
        pl.col("capped").fill_null(value=False),
        pl.coalesce("counted_on", looked_up_on),
        "sitelinks",
        pl.coalesce("method", method),
    )


def forecast(params: LinksParams, tools: Tools, *, facts: pl.DataFrame) -> list[Forecast]:
    """The requests of `run`, exact where all are in the log: a lower bound for linkshere; for cirrusdoc, gaps in the
    index are counted as far as they are known."""
    if params.method not in ASKED:
        return []
    from dual_data.sources.wikipedia.forecast import Foresight

    wiki = Foresight(tools.services, tools.calls)
    titles = _entities(facts, tools.limit)["title"].drop_nulls().unique().to_list()
    if params.method == "cirrusdoc":
        wiki.foresee_cirrus(titles, TO_THE_END)
        return [wiki.forecast()]
    wiki.foresee_linkshere(titles, params.cap)
    plan = wiki.forecast()
    return [plan._replace(note="at least; one call more for every 500 links" if plan.to_make else "")]


def outlook(params: LinksParams, tools: Tools, profile: Profile) -> list[Forecast] | None:
    """An estimate of `forecast` before the facts are built; None where there is nothing to estimate from."""
    if params.method not in ASKED:
        return []
    from dual_data.sources.wikipedia.api import SOURCE
    from dual_data.sources.wikipedia.counts import TITLES_A_REQUEST

    subjects = expected.subjects(tools, profile)
    if subjects is None:
        return None
    titles = expected.TITLES_A_SUBJECT * subjects
    if tools.limit is not None:
        titles = min(titles, 2 * tools.limit)  # those of subject and object of so many facts
    batches = math.ceil(titles / TITLES_A_REQUEST)
    if params.method == "cirrusdoc":
        return [Forecast(SOURCE, 1 + batches, 0, note=expected.BASIS)]
    return [Forecast(SOURCE, 2 * batches, 0, note=f"{expected.BASIS}; at least, one call more for every 500 links")]


def lacks(params: LinksParams, tools: Tools) -> Iterator[Lack]:
    """The contact that Wikipedia asks for, or the package that reads the snapshot or the dumps."""
    if params.method in ASKED and (fault := contact_fault(tools.services.contact, tools.services.wikipedia)):
        # Facts without titles, such as those of label tables, need no answer of Wikipedia's.
        yield Lack(fault, params, calls_expected=False)
    elif fault := _missing_package(params):
        yield Lack(fault, params, always=True)


def check(params: LinksParams, _: Path, profile: Profile) -> None:
    """Raise ConfigError for services in which links cannot be counted by this method.

    They are the embedded graph for in_degree, and for Wikipedia's own answers the Wikipedia of the titles' language.
    """
    if params.method == "in_degree" and profile.services.sparql != EMBEDDED:
        raise ConfigError(
            "in_degree counts links in the embedded snapshot; set services.sparql = 'embedded'", key="links.method"
        )
    # The host name of a mirror does not tell its language.
    match = re.match(r"https?://([^/]+)\.wikipedia\.org(?![^:/])", profile.services.wikipedia, re.IGNORECASE)
    if params.method in ASKED and match and match[1].lower() not in ("en", "en.m"):
        raise ConfigError(
            f"{match[1]}.wikipedia.org is not the English Wikipedia, but the facts have English titles: it lacks most "
            "of them, and has other articles under some. Set https://en.wikipedia.org/w/, or a mirror of it.",
            key="services.wikipedia",
        )


def sources(params: LinksParams, project: Path, _: Services) -> dict[str, str]:
    """Hashes of the dumps or the snapshot in which links are counted."""
    if params.method == "in_degree":
        from dual_data.sources.embedded import EmbeddedGraph

        return {SNAPSHOT: EmbeddedGraph().sha256}
    if params.method != "dump":
        return {}
    from dual_data.sources.dumps.engines import identities
    from dual_data.sources.dumps.files import WIKI_TABLES

    return identities(project / params.folder, WIKI_TABLES)


def _missing_package(params: LinksParams) -> str:
    """What is not installed of all that counting without Wikipedia takes; empty where nothing is missing."""
    if params.method == "in_degree":
        from dual_data.sources import embedded

        return embedded.missing_package()
    if params.method == "dump":
        from dual_data.sources.dumps import engines

        return engines.missing_package(params.compute)
    return ""


def _entities(facts: pl.DataFrame, limit: int | None) -> pl.DataFrame:
    """Columns qid, title, sitelinks: distinct subjects and entity objects, in the order of their ids."""
    chosen = facts.sort("fact_id").head(limit) if limit is not None else facts
    sides = [
        chosen.select(qid=f"{side}_qid", title=f"{side}_title", sitelinks=f"{side}_sitelinks")
        for side in ("subject", "object")
    ]
    stacked = pl.concat(sides).filter(pl.col("qid").is_not_null())
    return stacked.group_by("qid").agg(pl.col("title", "sitelinks").drop_nulls().first()).sort("qid")


def _in_degrees(qids: pl.Series) -> tuple[pl.DataFrame, str]:
    """The counts, and the day of the snapshot."""
    from dual_data.sources.embedded import EmbeddedGraph

    graph = EmbeddedGraph()
    bindings = graph.select(IN_DEGREES)["results"]["bindings"]
    degrees = {item_of_iri(row["o"]["value"]): int(row["n"]["value"]) for row in bindings}
    counts = [(qid, degrees.get(qid, 0)) for qid in qids]
    return pl.DataFrame(counts, schema={"qid": pl.String, "inbound_links": pl.Int64}, orient="row"), graph.date


def _from_dump(params: LinksParams, tools: Tools, qids: pl.Series) -> tuple[pl.DataFrame, str]:
    """The counts, and the day of the dump."""
    from dual_data.sources.dumps.engines import Tables, open_engine
    from dual_data.sources.dumps.links import count

    with open_engine(params.compute) as engine:
        dump = Tables(tools.project / params.folder, engine)
        day = dump.day("pagelinks")
        return count(dump, qids, params.hops), day


def _from_wikipedia(params: LinksParams, tools: Tools, entities: pl.DataFrame) -> pl.DataFrame:
    from dual_data.sources.wikipedia.counts import Wikipedia

    wiki = Wikipedia(tools.services, tools.calls)
    titles = entities["title"].drop_nulls().unique().sort().to_list()
    with tools.progress.task("links", total=len(titles)) as advance:
        if params.method == "cirrusdoc":
            if titles:
                wiki.require_cirrus()
            counts = wiki.count_by_cirrus(titles, advance)
            # A title that the index lacks has not 0 links, and stopping does not help: the log replays the answer.
            counts |= wiki.count_by_linkshere([t for t in titles if t not in counts], TO_THE_END, advance)
        else:
            counts = wiki.count_by_linkshere(titles, params.cap, advance)
    titled = entities.drop_nulls("title").select("qid", "title").iter_rows()
    return pl.DataFrame([{"qid": qid, **counts[title]._asdict()} for qid, title in titled], schema=COUNTED)


LINKS = Stage(
    name="links",
    version=4,
    run=run,
    schema=Links,
    params=LinksParams,
    check=check,
    inputs=("facts",),
    sources=sources,
    services=("wikipedia", "sparql"),
    forecast=forecast,
    outlook=outlook,
    lacks=lacks,
)
