"""The same relational logic on Spark: rows identical to those of polars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from dual_data.config import load_relations, load_topics
from dual_data.engine.tables import content_hash
from dual_data.errors import ServiceError
from dual_data.sources.assembly import Harvest
from dual_data.sources.dumps import wikidata
from dual_data.sources.dumps.engines import Engine, Polars, Spark, Tables, open_engine
from dual_data.sources.dumps.links import count
from dual_data.sources.dumps.params import EngineParams
from tests.services import require_spark
from tests.sources.dumps import truthy
from tests.sources.dumps.test_links import CIRCLE, PAGES
from tests.sources.dumps.wikis import Page, by_title, tables, write
from tests.wiki.project import make_project
from tests.wiki.world import world

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    require_spark()


def test_a_spark_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    def fail(_: object) -> None:
        raise PySparkRuntimeError("Java gateway process exited before sending its port number.")

    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", fail)
    message = r"Spark cannot be started at spark://nowhere:7077 \(Java gateway process exited .*It needs Java 17"
    with (
        pytest.raises(ServiceError, match=message),
        open_engine(EngineParams(engine="spark", master="spark://nowhere:7077")),
    ):
        pass


@pytest.fixture(scope="module")
def spark(_installed: None) -> Iterator[Engine]:
    with open_engine(EngineParams(engine="spark", master="local[2]")) as engine:
        assert isinstance(engine, Spark)
        yield engine


def wiki() -> dict[int, Page]:
    """The wiki of the other tests, with chains and circles, in tables of our own."""
    titles = [title for title in PAGES if ":" not in title]
    pages = dict(CIRCLE)
    for number, title in enumerate(titles, start=100):
        name = title.replace(" ", "_")
        target = (0, titles[number % len(titles)].replace(" ", "_"), "") if number % 3 == 0 else None
        links = tuple((0, titles[(number * step) % len(titles)].replace(" ", "_")) for step in (3, 5, 7, 11))
        if name not in {page.title for page in pages.values()}:
            pages[number] = Page(0, name, target, links, f"Q{number}")
    return pages


@pytest.mark.parametrize(("old", "hops"), [(False, 1), (True, 3)])
def test_links(spark: Engine, tmp_path: Path, old: bool, hops: int) -> None:
    rows = tables(wiki())
    folder = write(tmp_path, by_title(rows) if old else rows)
    qids = pl.Series(["Q1", "Q3", "Q40", *(f"Q{n}" for n in range(100, 150, 2))])
    expected = count(Tables(folder, Polars()), qids, hops)
    assert expected.height > 15
    assert expected["inbound_links"].sum() > 20
    assert count(Tables(folder, spark), qids, hops).equals(expected)


@pytest.mark.parametrize(
    "name", ["a b", "wikipédia", "a[1]", "a{b,c}", "a*", "a?", "50%", "a%20b", "a#b", "a\\b", "k=v"]
)
def test_a_folder_may_have_any_name(spark: Engine, tmp_path: Path, name: str) -> None:
    rows = pl.DataFrame({"number": [1, 2]})
    (tmp_path / name).mkdir()
    with (tmp_path / name / "rows.parquet").open("wb") as file:
        rows.write_parquet(file)
    assert spark.collect(spark.scan([tmp_path / name / "rows.parquet"])).sort("number").equals(rows)


def test_facts(spark: Engine, tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    project = make_project(tmp_path, relations=("P17", "P19", "P569", "P1448", "P26"))
    lines = truthy.chosen(truthy.n_triples(world().turtle()), truthy.ALWAYS)
    folder = truthy.write(project / "dumps", lines, truthy.sitelinks(world()))
    topics = load_topics(project / "pipeline" / "topics.toml")
    topics["places_city"] = topics["places_city"].model_copy(update={"order": "hash", "limit": 50})
    relations = load_relations(project / "pipeline" / "relations")

    def harvested(engine: Engine) -> tuple[dict[str, list[int]], Harvest]:
        dump = Tables(folder, engine)
        subjects = wikidata.members(dump, topics, 80)
        return subjects, wikidata.harvest(dump, subjects, relations)

    expected, rows = harvested(Polars())
    members, again = harvested(spark)
    assert members == expected
    assert rows.statements.height > 300
    assert rows.statements.equals(again.statements)
    assert content_hash(rows.entities) == content_hash(again.entities)
