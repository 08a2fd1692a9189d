"""The facts stage over dumps, beside the same stage over SPARQL."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.calls.fetching import Calls
from dual_data.config import Services
from dual_data.engine.stage import Tools
from dual_data.engine.tables import content_hash, settle
from dual_data.errors import ConfigError, InputError
from dual_data.schema import Facts
from dual_data.sources import values
from dual_data.sources.dumps.wikidata import _clean, _value
from dual_data.sources.wikidata.sparql import Term
from dual_data.text.words import clean
from pipeline.facts import FactsParams, forecast, run, sources
from tests.services.oxigraph import oxigraph
from tests.sources.dumps import truthy
from tests.sources.test_values import relation
from tests.tools import without_models
from tests.wiki.model import Date, Statement, World
from tests.wiki.project import ROOT, make_project
from tests.wiki.world import world

THINGS = ("P17", "P36", "P37", "P1376", "P19", "P26", "P27", "P1448")
LITERALS = ("P569", "P571_city", "P571_country", "P2044")
Built = tuple[pl.DataFrame, pl.DataFrame, Path]
"""Rows through SPARQL, rows through dumps, and the project."""
DUMP = FactsParams(source="dump", folder="dumps")


def kit(project: Path, services: Services | None = None, limit: int | None = None) -> Tools:
    return without_models(project, services or Services(), Calls(project / "calls.sqlite"), limit=limit)


def without_ends(model: World) -> World:
    """Ended statements stay in truthy dumps, so that comparisons leave them out of both sides."""
    return World(model.items, [s for s in model.statements if not s.ended], model.novalue, model.named)


def both(folder: Path, relations: tuple[str, ...]) -> Built:
    pytest.importorskip("pyoxigraph")
    project = make_project(folder, relations=relations)
    turtle = without_ends(world()).turtle()
    lines = truthy.chosen(truthy.n_triples(turtle), truthy.ALWAYS)
    truthy.write(project / "dumps", lines, truthy.sitelinks(world()))
    with oxigraph(turtle) as url:
        from_sparql = run(FactsParams(), kit(project, Services(sparql=f"{url}/query")))
    return from_sparql, run(DUMP, kit(project)), project


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The invented world's relations between items, and its texts."""
    return both(tmp_path_factory.mktemp("things"), THINGS)


@pytest.fixture(scope="module")
def literals(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Its dates and quantities."""
    return both(tmp_path_factory.mktemp("literals"), LITERALS)


def comparable(rows: pl.DataFrame) -> pl.DataFrame:
    """Null sitelinks as 0: a table of sitelinks does not name items that have none."""
    return rows.with_columns(pl.col("subject_sitelinks", "object_sitelinks").fill_null(0))


def test_entities_and_texts_are_those_of_the_sparql_source(built: Built) -> None:
    from_sparql, from_dump, _ = built
    assert from_sparql.filter(pl.col("reason").is_null()).height > 400
    assert set(from_sparql["reason"].drop_nulls()) >= {"mirrored", "wrong_kind", "somevalue", "no_label"}
    assert content_hash(comparable(from_sparql)) == content_hash(comparable(from_dump))


def test_every_row_without_a_reason_keeps_the_schema(built: Built) -> None:
    settled = settle(built[1], Facts, "facts")
    assert not [reason for reason in settled.rejected["reason"] if reason.startswith("schema")]


def test_dates_are_kept_where_their_precision_is_proven(literals: Built) -> None:
    from_sparql, from_dump, _ = literals
    known = set(from_sparql.filter(pl.col("reason").is_null())["fact_id"])
    dates = from_dump.filter(pl.col("object_kind") == "date")
    facts = dates.filter(pl.col("reason").is_null())
    assert facts.height > 60
    assert set(facts["fact_id"]) <= known, "nothing that SPARQL would not say"
    left_out = dates.filter(pl.col("reason") == "precision_unknown")
    assert left_out["object_value"].str.contains("-01-01T").all()
    assert left_out.height > 20


@pytest.mark.parametrize(
    ("day", "year"),
    [
        ("1500-01-09", None), ("1500-01-10", "1500"), ("1500-12-31", "1500"), ("1582-01-10", None),
        ("1583-01-02", "1583"), ("-0043-12-30", None), ("-0043-12-29", "-0043"),
    ],
)  # fmt: skip
def test_days_that_are_of_another_year_in_the_julian_calendar_prove_none_while_it_was_the_usual_one(
    day: str, year: str | None
) -> None:
    value = _value(relation("date"), Term("literal", f"{day}T00:00:00Z"))
    assert value == (values.Value(year, value.label) if year else value._replace(reason="precision_unknown"))


def test_quantities_with_a_unit_cannot_be_told(literals: Built) -> None:
    heights = literals[1].filter(pl.col("relation") == "P2044")
    assert set(heights["reason"]) - {"no_label"} == {"unit_unknown"}


def test_ended_statements_stay(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    project = make_project(tmp_path, relations=("P17",))
    truthy.write(
        project / "dumps", truthy.chosen(truthy.n_triples(world().turtle()), truthy.ALWAYS), truthy.sitelinks(world())
    )
    rows = run(DUMP, kit(project))
    ended = rows.filter((pl.col("subject_qid") == world().named["ended"]) & (pl.col("relation") == "P17"))
    assert ended.height == 2


def test_the_embedded_snapshot_gives_the_same_facts_as_a_dump(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    import gzip

    packed = files("dual_data.sources.embedded").joinpath("snapshot.nt.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines(keepends=True)
    project = make_project(tmp_path)
    shutil.copy(ROOT / "pipeline" / "topics.toml", project / "pipeline")
    truthy.write(project / "dumps", truthy.chosen(lines, truthy.FULL))
    topics = ("places_country", "places_region", "language")
    from_sparql = run(FactsParams(topics=topics), kit(project, Services(sparql="embedded")))
    from_dump = run(DUMP.model_copy(update={"topics": topics}), kit(project))
    assert from_sparql.filter(pl.col("reason").is_null()).height > 2000
    assert content_hash(from_sparql) == content_hash(from_dump)


def test_sources_and_forecast_follow_the_imported_dumps(built: Built) -> None:
    project = built[2]
    hashes = sources(DUMP, project, Services())
    assert [name.split("-")[0] for name in hashes] == ["wikidata", "wikidatawiki"]
    assert all(len(digest) == 64 for digest in hashes.values())
    assert forecast(DUMP, kit(project)) == []


def test_limit_takes_the_best_linked(built: Built) -> None:
    rows = run(DUMP, kit(built[2], limit=5))
    assert rows.filter(pl.col("reason").is_null()).height == 5
    cities = rows.filter(pl.col("topic") == "places_city")["subject_qid"].unique().to_list()
    model = world()
    order = sorted(
        model.of_class(model.named["city"]), key=lambda qid: (-(model.items[qid].sitelinks or 0), int(qid[1:]))
    )
    assert set(cities) <= set(order[:5])


def test_without_sitelinks_a_limit_cannot_choose(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    project = make_project(tmp_path, relations=("P17",))
    truthy.write(project / "dumps", truthy.chosen(truthy.n_triples(world().turtle()), truthy.ALWAYS))
    with pytest.raises(InputError, match=r"places_city takes the 160 items .* of 170, .*DATE-wb_items_per_site.sql.gz"):
        run(DUMP, kit(project))


def test_an_empty_class_and_a_folder_that_is_not_imported_are_named(tmp_path: Path, built: Built) -> None:
    project = make_project(tmp_path)
    with pytest.raises(InputError, match=r"no such folder; get the dumps with: dual-data dumps fetch"):
        run(DUMP, kit(project))
    (project / "pipeline" / "topics.toml").write_text('[x]\nclasses = ["Q899999999"]\n', encoding="utf-8")
    folder = DUMP.model_copy(update={"folder": str(built[2] / "dumps")})
    with pytest.raises(ConfigError, match=r"topics.toml: x: no item belongs to Q899999999 by P31 at .*dumps"):
        run(folder, kit(project))
    assert run(folder.model_copy(update={"empty_topics": "skip"}), kit(project)).height == 0


@given(st.text(max_size=20))
def test_cleaning_a_column_is_cleaning_each_text(text: str) -> None:
    assert pl.DataFrame({"t": [text]}).select(_clean(pl.col("t"))).item() == clean(text)


def test_the_world_has_what_is_compared() -> None:
    ended = [s for s in world().statements if s.ended]
    assert ended
    assert isinstance(ended[0], Statement)
    assert any(isinstance(s.value, Date) and s.value.precision < 9 for s in world().statements)
