"""Facts: triplets with ids from any source, and rejected rows with the reason.

Sources deliver statements and entities; `dual_data.sources.assembly` makes facts of them. A new source is one more
branch of `_harvest`. The reasons:

    no_label            subject or object has no English label (nor one for all languages), or a bare id for one
    duplicate           the same fact stands further up, in this topic or an earlier one
    mirrored            another fact says the same from the other side, and both relations are asked for one object
    somevalue           the source says that there is an object, and not which; also "anonymous" and "unknown" where the
                        question begins with "Who"
    wrong_kind          the object is not of the kind that the relation asks for, or cannot be read as such: a date
                        such as 05/01/1990 or "about 1990", a number such as "2.800,5" or "2700 points"
    wrong_class         the object belongs to none of the classes that the relation accepts
    precision_too_low   the date is coarser than the relation asks for
    unit_not_asked      the number has another unit than the relation asks for
    other_language      a text for which the source also has an English one
    precision_unknown   dump: the same as precision_too_low, or not to be told from it
    unit_unknown        dump: the relation asks for a unit, which dumps do not tell
    unknown_relation    tables: no relation file has the relation
    not_asked_in_topic  tables: no relation file has the relation for this topic
    excluded_relation   tables: pipeline/relations/EXCLUDED.toml has the relation
    empty               a cell or text without value, in tables also nan, null, N/A, or only dashes, dots or "?"
    unresolved_label    resolve: nothing carries the label
    ambiguous_label     resolve: several things carry the label, or several statements agree with the row
    unconfirmed         resolve: things carry the labels, but the endpoint states no such fact about them
    not_in_table        resolve: the endpoint has one more object of a resolved subject, which the table lacks
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import Field, model_validator

from dual_data.config import (
    EMBEDDED,
    RELATIONS,
    SNAPSHOT,
    TOPICS,
    Profile,
    Relation,
    Services,
    Strict,
    Topic,
    load_excluded,
    load_topics,
)
from dual_data.engine.stage import Forecast, Lack, Stage, Tools
from dual_data.errors import ConfigError
from dual_data.sampling import with_rank
from dual_data.schema import Facts
from dual_data.sources.assembly import Harvest, assemble, reject
from dual_data.sources.dumps.params import EngineParams
from dual_data.sources.tables import files, resolution, triplets
from dual_data.sources.wikidata import statements as wikidata
from dual_data.sources.wikidata.asking import Foresight, Live
from dual_data.sources.wikidata.sparql import endpoint_fault, open_endpoint

_NOBODY = ("anonymous", "unknown")
"""Names of entities that answer no "Who ...?"; with a capital they are names of bands and the like."""


class FactsParams(Strict):
    """Where the triplets come from."""

    source: Literal["sparql", "tables", "labels", "resolve", "dump"] = "sparql"
    """sparql: the endpoint under [services]; dump: a folder with Wikidata's truthy dump and sitelinks, as `dual-data
    dumps import` leaves it (statements that have ended stay, dates and quantities only where they are beyond doubt);
    tables: a folder of triplets with ids; labels: a folder of triplets with labels alone, under ids minted from the
    labels (never pushed); resolve: the same, with the ids that an endpoint or a label table gives them beyond doubt."""
    folder: str = Field(default="", exclude=True)
    """tables, labels, resolve: folder of CSV or Parquet files, each named after its topic or with a column topic; dump:
    folder of the dumps. Relative to the project."""
    label_table: str = Field(default="", exclude=True)
    """resolve: a CSV or Parquet file with the columns qid and label, and perhaps aliases and class (a class of the
    item, as a Q-id), relative to the project; empty to ask the endpoint."""
    topics: tuple[str, ...] = ()
    """sparql, dump: the topics to build, of those in topics.toml; empty for all."""
    empty_topics: Literal["error", "skip"] = "error"
    """sparql, dump: whether a topic whose classes have no member is an error or skipped."""
    queries: wikidata.Sizes = Field(default_factory=wikidata.Sizes)
    """sparql, resolve: how much one query asks for."""
    compute: EngineParams = Field(default_factory=EngineParams, exclude=True)
    """dump: what reads the tables of the dumps."""

    @model_validator(mode="after")
    def _folder_fits_source(self) -> FactsParams:
        if (self.source == "sparql") == bool(self.folder):
            needed = (
                "takes no folder"
                if self.folder
                else f"needs the folder of its {'dumps' if self.source == 'dump' else 'tables'}: set folder"
            )
            raise ValueError(f"source = {self.source!r} {needed}")
        if self.label_table and self.source != "resolve":
            raise ValueError("label_table is only for source = 'resolve'")
        if self.topics and self.source not in ("sparql", "dump"):
            raise ValueError(
                "topics is only for source = 'sparql' or 'dump'; with tables, leave out the files of other topics"
            )
        return self


def run(params: FactsParams, tools: Tools) -> pl.DataFrame:
    """All facts of the source, and the rejected rows with their reasons."""
    relations = tools.relations()
    topics = _topics(params, tools.project)
    harvest = _without_nobody(_harvest(params, tools, topics, relations), relations)
    rows = assemble(harvest, relations, resolved=params.source != "labels")
    if tools.limit is not None:
        is_fact = pl.col("reason").is_null()
        facts = with_rank(rows.filter(is_fact), "facts").sort("rank").head(tools.limit).drop("rank")
        rows = pl.concat([facts, rows.filter(~is_fact)])
    return rows


def forecast(params: FactsParams, tools: Tools) -> list[Forecast]:
    """The queries of `run`: exact where the log has the answers that they depend on."""
    if not _asks(params):
        return []
    relations = tools.relations()
    topics = _topics(params, tools.project)
    asker = Foresight(open_endpoint(tools.services), tools.calls)
    if params.source == "resolve":
        rows = triplets.read_labels(tools.project / params.folder, tuple(topics), relations, _excluded(tools.project))
        return [resolution.forecast(asker, rows, topics, relations, params.queries)]
    return [wikidata.forecast(asker, topics, relations, params.queries, tools.limit)]


def lacks(params: FactsParams, tools: Tools) -> Iterator[Lack]:
    """The contact that a public endpoint asks for, or the package that reads the snapshot or the dumps."""
    if params.source == "dump":
        from dual_data.sources.dumps.engines import missing_package

        if fault := missing_package(params.compute):
            yield Lack(fault, params, always=True)
    elif _asks(params) and (fault := endpoint_fault(tools.services)):
        yield Lack(fault, params)


def check(params: FactsParams, project: Path, _: Profile) -> None:
    """Raise ConfigError for a topic that is not in topics.toml or lacks the classes that the source needs, and for a
    label table that is not there; where topics.toml is missing, the plan says so."""
    if (project / TOPICS).is_file():
        _topics(params, project)
    if params.label_table and not (project / params.label_table).is_file():
        raise ConfigError(
            f"{params.label_table}: no such file; a CSV or Parquet table with the columns qid and label is expected",
            key="facts.label_table",
        )


def sources(params: FactsParams, project: Path, services: Services) -> dict[str, str]:
    """Hashes of the inputs other than topics and relations."""
    if params.source == "dump":
        from dual_data.sources.dumps.engines import identities
        from dual_data.sources.dumps.files import SITELINKS, TRIPLES

        return identities(project / params.folder, (TRIPLES, SITELINKS))
    hashes = files.hashes(project / params.folder) if params.folder else {}
    if params.label_table:
        hashes["label_table"] = files.hash_of(project / params.label_table)
    elif _asks(params) and services.sparql == EMBEDDED:
        from dual_data.sources.embedded import EmbeddedGraph

        hashes[SNAPSHOT] = EmbeddedGraph().sha256
    elif _asks(params):
        hashes["endpoint"] = services.sparql
    return hashes


def _asks(params: FactsParams) -> bool:
    """Whether an endpoint is asked."""
    return params.source in ("sparql", "resolve") and not params.label_table


def _harvest(
    params: FactsParams, tools: Tools, topics: Mapping[str, Topic], relations: Mapping[str, Relation]
) -> Harvest:
    if params.source == "dump":
        return _from_dump(params, tools, topics, relations)
    folder, names, excluded = tools.project / params.folder, tuple(topics), _excluded(tools.project)
    if params.source == "tables":
        return triplets.with_ids(folder, names, relations, excluded)
    if params.source == "sparql":
        asker = Live(open_endpoint(tools.services), tools.calls, tools.progress)
        members = wikidata.members(asker, topics, params.queries, tools.limit)
        _expect_members(params, tools, topics, members, tools.services.sparql)
        return wikidata.harvest(asker, members, relations, params.queries)
    rows = triplets.read_labels(folder, names, relations, excluded)
    if params.source == "labels":
        return triplets.unresolved(rows)
    if params.label_table:
        return resolution.through_table(tools.project / params.label_table, rows, topics, relations)
    asker = Live(open_endpoint(tools.services), tools.calls, tools.progress)
    return resolution.through_endpoint(asker, rows, topics, relations, params.queries)


def _without_nobody(harvest: Harvest, relations: Mapping[str, Relation]) -> Harvest:
    """Statements that name no one where a question asks who get the reason `somevalue`."""
    asks_who = [stem for stem, relation in relations.items() if relation.questions.canonical.startswith("Who ")]
    nobody = harvest.entities.filter(pl.col("label").is_in(_NOBODY))["qid"].implode()
    wrong = pl.col("relation").is_in(asks_who) & pl.col("object_value").is_in(nobody)
    return harvest._replace(statements=reject(harvest.statements, wrong, "somevalue"))


def _from_dump(
    params: FactsParams, tools: Tools, topics: Mapping[str, Topic], relations: Mapping[str, Relation]
) -> Harvest:
    from dual_data.sources.dumps import wikidata as truthy
    from dual_data.sources.dumps.engines import Tables, open_engine

    folder = tools.project / params.folder
    with open_engine(params.compute) as engine:
        dump = Tables(folder, engine)
        members = truthy.members(dump, topics, tools.limit)
        _expect_members(params, tools, topics, members, str(folder))
        return truthy.harvest(dump, members, relations)


def _expect_members(
    params: FactsParams, tools: Tools, topics: Mapping[str, Topic], members: Mapping[str, Sequence[object]], where: str
) -> None:
    """Raise ConfigError for a topic without members, unless such are to be skipped."""
    if params.empty_topics == "skip":
        return
    for name, items in members.items():
        if not items:
            raise ConfigError(
                f"no item belongs to {', '.join(topics[name].classes)} by {topics[name].property} at {where}. Correct "
                'the classes, or set empty_topics = "skip" under [facts].',
                file=tools.project / TOPICS,
                key=name,
            )


def _topics(params: FactsParams, project: Path) -> dict[str, Topic]:
    topics = load_topics(project / TOPICS)
    for name in params.topics:
        if name not in topics:
            raise ConfigError(f"{name!r} is not in {TOPICS}; it has: {', '.join(topics)}", key="facts.topics")
    chosen = {name: topic for name, topic in topics.items() if not params.topics or name in params.topics}
    unclassed = [name for name, topic in chosen.items() if not topic.classes]
    if unclassed and (params.source == "dump" or _asks(params)):
        remedy = "" if params.source == "resolve" else ", or list the topics to build as facts.topics"
        raise ConfigError(
            f"{params.source!r} finds subjects by their classes, but {TOPICS} has none for {', '.join(unclassed)}; "
            f"add them{remedy}",
            key="facts.source",
        )
    return chosen


def _excluded(project: Path) -> dict[str, tuple[str, ...]]:
    """Labels and property ids of relations left out on purpose, with the topics where they are ("*": all)."""
    path = project / RELATIONS / "EXCLUDED.toml"
    if not path.is_file():
        return {}
    return {
        name: entry.topics
        for label, entry in load_excluded(path).items()
        for name in (label, entry.property)
        if name is not None
    }


FACTS = Stage(
    name="facts",
    version=13,
    run=run,
    schema=Facts,
    params=FactsParams,
    files=(TOPICS, f"{RELATIONS}/*.toml"),
    sources=sources,
    forecast=forecast,
    lacks=lacks,
    check=check,
)
