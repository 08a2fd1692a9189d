"""The facts stage, end to end against a real SPARQL server, and its other sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace, Services, load_profile, load_relation
from dual_data.engine.stage import Tools
from dual_data.engine.tables import content_hash, settle
from dual_data.errors import ConfigError, Offline, Refused, UsageError
from dual_data.schema import Facts
from pipeline.facts import FACTS, FactsParams, check, forecast, run, sources
from tests.clock import FakeClock
from tests.faults.proxy import BANNED, CUT, DROP, RESET, Proxy, error_500, html_200, proxy, too_many, unavailable
from tests.reference import REFERENCE, needs_reference
from tests.services.process import free_port
from tests.tools import without_models
from tests.wiki.model import Date, Unknown
from tests.wiki.project import ROOT, make_project
from tests.wiki.world import world

RELATIONS = ("P17", "P36", "P37", "P1376", "P19", "P26", "P27", "P569", "P571_city", "P571_country", "P2044", "P1448")
SMALL = {"subjects": 40, "entities": 50, "classes": 2}


@pytest.fixture
def front(server: str) -> Iterator[Proxy]:
    """A proxy in front of the SPARQL server, without faults."""
    with proxy(server) as plan:
        yield plan


def tools(folder: Path, url: str, *, limit: int | None = None, offline: bool = False) -> Tools:
    services = Services(sparql=f"{url}/query", pace={"wikidata": Pace(concurrency=2, attempts=40)})
    calls = Calls(folder / "calls.sqlite", services.pace, clock=FakeClock(), offline=offline)
    return without_models(folder, services, calls, limit=limit)


def params(**queries: object) -> FactsParams:
    return FactsParams.model_validate({"queries": {**SMALL, **queries}})


@pytest.fixture(scope="module")
def built(server: str, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """All rows of an undisturbed build of the whole world."""
    project = make_project(tmp_path_factory.mktemp("world"), relations=RELATIONS)
    return run(params(), tools(project, server))


def facts(rows: pl.DataFrame, relation: str) -> pl.DataFrame:
    return rows.filter(pl.col("reason").is_null() & (pl.col("relation") == relation))


def reasons(rows: pl.DataFrame, subject: str, relation: str) -> dict[str, str | None]:
    chosen = rows.filter((pl.col("subject_qid") == subject) & (pl.col("relation") == relation))
    return dict(chosen.select("object_value", "reason").iter_rows())


def test_every_row_without_a_reason_keeps_the_schema(built: pl.DataFrame) -> None:
    settled = settle(built, Facts, "facts")
    assert not [reason for reason in settled.rejected["reason"] if reason.startswith("schema")]
    assert settled.rows.height > 600
    assert settled.rows["resolved"].all()


def test_countries_of_cities_are_those_of_the_world(built: pl.DataFrame) -> None:
    model = world()
    cities = model.of_class(model.named["city"])
    order = sorted(cities, key=lambda qid: (-(model.items[qid].sitelinks or 0), int(qid[1:])))[:160]
    labelled = [qid for qid in order if model.items[qid].label or model.items[qid].mul]
    expected = {(city, value) for city in labelled for value in model.values(city, "P17") if isinstance(value, str)}
    rows = facts(built, "P17").filter(pl.col("topic") == "places_city")
    assert set(rows.select("subject_qid", "object_value").iter_rows()) == expected
    assert len(cities) > 160, "the limit must bite"


def test_ranks_ends_and_unknowns(built: pl.DataFrame) -> None:
    named = world().named
    country = {qid: world().values(qid, "P17") for qid in world().items}
    assert reasons(built, named["preferred"], "P17") == {country[named["preferred"]][0]: None}
    assert list(reasons(built, named["deprecated"], "P17").values()) == [None]
    assert list(reasons(built, named["ended"], "P17").values()) == [None]
    assert len(reasons(built, named["several"], "P17")) == 2
    several = built.filter((pl.col("subject_qid") == named["several"]) & (pl.col("relation") == "P17"))
    assert several["objects_of_pair"].to_list() == [2, 2]
    for name in ("somevalue_blank", "somevalue_skolem"):
        assert reasons(built, named[name], "P17") == {"somevalue": "somevalue"}
    assert list(reasons(built, named["not_an_item"], "P17").values()) == ["wrong_kind"]
    assert reasons(built, named["novalue"], "P17") == {}
    assert list(reasons(built, named["no_label"], "P571_city").values()) == ["no_label"]


def test_labels_aliases_descriptions_sitelinks_and_titles(built: pl.DataFrame) -> None:
    model = world()
    seen = 0
    rows = built.filter(pl.col("reason").is_null()).unique("subject_qid")
    for row in rows.iter_rows(named=True):
        item = model.items[row["subject_qid"]]
        assert row["subject_label"] == (item.label or item.mul)
        assert set(item.aliases) - {item.label} == set(row["subject_aliases"])
        assert row["subject_description"] == item.description
        assert row["subject_sitelinks"] == item.sitelinks
        assert row["subject_title"] == item.title
        seen += 1
    assert seen > 250
    assert rows.filter(pl.col("subject_qid") == model.named["mul_only"])["subject_label"].to_list() == ["Mulheim"]


def test_births_are_cut_to_the_year_asked_for_and_merged(built: pl.DataFrame) -> None:
    births = facts(built, "P569")
    assert births.height == 90
    assert births["objects_of_pair"].to_list() == [1] * 90
    assert births["object_value"].str.contains(r"^18\d\d$").all()
    merged = built.filter((pl.col("relation") == "P569") & (pl.col("reason") == "duplicate"))
    assert merged.height == 15


def test_foundations_have_their_precision_and_era(built: pl.DataFrame) -> None:
    rows = built.filter(pl.col("relation") == "P571_city")
    model = world()
    for subject, value, label, reason in rows.select(
        "subject_qid", "object_value", "object_label", "reason"
    ).iter_rows():
        stated = model.values(subject, "P571")[0]
        if isinstance(stated, Unknown):
            assert reason == "somevalue"
            continue
        assert isinstance(stated, Date)
        if stated.precision < 9:
            assert reason == "precision_too_low"
        elif reason is None and stated.time.startswith("-"):
            year = -int(stated.time[1:5])
            assert (value, label) == (f"-{-year:04d}", f"{1 - year} BC")
        elif reason is None:
            assert value == stated.time[:4]
            assert label == str(int(value))


def test_elevations_in_another_unit_are_rejected(built: pl.DataFrame) -> None:
    unit = load_relation(ROOT / "pipeline" / "relations" / "P2044.toml").unit_name
    heights = built.filter(pl.col("relation") == "P2044")
    assert {"unit_not_asked"} == set(heights["reason"].drop_nulls()) - {"no_label"}
    volcano = facts(built, "P2044").filter(pl.col("topic") == "geography_volcano").sort("object_value")
    assert volcano.row(0, named=True)["object_value"] == "1000.5 Q11573"
    assert volcano.row(0, named=True)["object_label"] == f"1,000.5 {unit}"


def test_english_names_are_preferred_to_those_for_all_languages(built: pl.DataFrame) -> None:
    names = built.filter(pl.col("relation") == "P1448")
    assert set(names["reason"].drop_nulls()) == {"other_language"}
    english = names.filter(pl.col("object_value").str.starts_with("Republic"))
    assert english["reason"].null_count() == english.height == 4
    assert english["objects_of_pair"].to_list() == [1] * 4
    mul = names.filter(pl.col("object_value").str.ends_with("\u00e9tat"))
    assert mul["reason"].null_count() == mul.height == 4, "the text is in NFC"
    assert not names["object_value"].str.contains("République").any()


def test_the_same_fact_from_two_sides_is_kept_once(built: pl.DataFrame) -> None:
    model = world()
    marriages = built.filter(pl.col("relation") == "P26")
    assert marriages["reason"].to_list().count("mirrored") == marriages["reason"].null_count() == 45
    accepted = marriages.filter(pl.col("reason").is_null())
    assert (accepted["subject_qid"] < accepted["object_qid"]).all()
    capitals = facts(built, "P36")
    assert capitals.height == 12
    states = built.filter(pl.col("relation") == "P1376")
    assert states.height
    assert set(states["reason"]) == {"mirrored"}
    assert set(states["object_value"]) <= set(model.of_class(model.named["country"]))


def test_mentions_count_triplets_that_name_the_entity(built: pl.DataFrame) -> None:
    triplets = set(built.select("subject_qid", "property_id", "object_kind", "object_value").iter_rows())
    for row in facts(built, "P17").head(40).iter_rows(named=True):
        for side in ("subject", "object"):
            qid = row[f"{side}_qid"]
            assert row[f"{side}_mentions"] == sum(qid in (t[0], t[3]) for t in triplets)


def test_a_disturbed_build_equals_an_undisturbed_one(server: str, tmp_path: Path, built: pl.DataFrame) -> None:
    project = make_project(tmp_path, relations=RELATIONS)
    faults = [
        too_many(3),
        too_many(),
        too_many(5, as_date=True),
        error_500(),
        html_200(),
        CUT,
        DROP,
        RESET,
        unavailable(503),
    ]
    with proxy(server, None, rate=0.3, kinds=faults, seed=5) as plan:
        rows = run(params(), tools(project, plan.url))
        fault_count = len([name for name in plan.faults_made if name])
    assert fault_count > 15
    assert content_hash(rows) == content_hash(built)


def test_a_second_run_asks_nothing(front: Proxy, tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=RELATIONS)
    rows = run(params(), tools(project, front.url))
    count = front.count
    again = run(params(), tools(project, front.url, offline=True))
    assert front.count == count
    assert content_hash(rows) == content_hash(again)


def test_a_build_that_was_stopped_repeats_no_call(server: str, tmp_path: Path, built: pl.DataFrame) -> None:
    project = make_project(tmp_path, relations=RELATIONS)
    port = free_port()
    total = 0
    for good in (1, 5, 11, 17):
        with proxy(server, *[None] * good, rate=1.0, kinds=[BANNED], port=port) as plan:
            with pytest.raises(Refused, match="answered 403"):
                run(params(), tools(project, plan.url))
            total += plan.faults_made.count("")
    with proxy(server, port=port) as plan:
        rows = run(params(), tools(project, plan.url))
        total += plan.count
        bodies = {request.body for request in plan.requests}
        assert len(bodies) == plan.count
    assert content_hash(rows) == content_hash(built)
    log = tools(project, f"http://127.0.0.1:{port}").calls
    assert log.counts() == {}
    assert len(log.answered("wikidata")) == total


def test_forecast_is_exact_once_the_log_knows(front: Proxy, tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=RELATIONS)
    kit = tools(project, front.url)
    before = forecast(params(), kit)
    assert (before[0].source, before[0].in_log) == ("wikidata", 0)
    assert before[0].note.startswith("estimated")
    assert front.count == 0, "a forecast asks nobody"
    run(params(), kit)
    after = forecast(params(), kit)
    assert after[0].calls == after[0].in_log == front.count
    assert after[0].note == ""
    assert before[0].calls == pytest.approx(front.count, rel=0.5)


def test_forecast_after_a_stop_counts_what_is_left(server: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=RELATIONS)
    port = free_port()
    with proxy(server, *[None] * 30, rate=1.0, kinds=[BANNED], port=port) as plan, pytest.raises(Refused, match="403"):
        run(params(), tools(project, plan.url))
    with proxy(server, port=port) as plan:
        kit = tools(project, plan.url)
        estimate = forecast(params(), kit)[0]
        assert 30 <= estimate.in_log <= 31
        run(params(), kit)
        assert forecast(params(), kit)[0].calls == estimate.in_log + plan.count


def test_limit_takes_the_best_linked_and_then_so_many_facts(front: Proxy, tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=("P17",))
    rows = run(params(), tools(project, front.url, limit=5))
    accepted = rows.filter(pl.col("reason").is_null())
    assert accepted.height == 5
    assert run(params(), tools(project, front.url, limit=5)).equals(rows)


def test_offline_names_the_missing_calls(server: str, tmp_path: Path) -> None:
    with pytest.raises(Offline, match=r"1 call\(s\) are not in the call log"):
        run(params(), tools(make_project(tmp_path), server, offline=True))


def test_an_empty_class_is_named(server: str, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    path = project / "pipeline" / "topics.toml"
    path.write_text('[places_city]\nclasses = ["Q899999999"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"topics.toml: places_city: no item belongs to Q899999999 by P31"):
        run(params(), tools(project, server))
    rows = run(FactsParams(empty_topics="skip"), tools(project, server))
    assert rows.height == 0
    assert set(Facts.columns()) < set(rows.columns)


def test_no_contact_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    kit = without_models(make_project(tmp_path), Services(), Calls(tmp_path / "c.sqlite"))
    with pytest.raises(UsageError, match="DUAL_DATA_CONTACT"):
        run(FactsParams(), kit)


def test_unknown_topics_in_the_profile_are_named(server: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'places_moon' is not in"):
        run(FactsParams(topics=("places_moon",)), tools(make_project(tmp_path), server))


def test_a_topic_without_classes_is_not_asked_for(tmp_path: Path) -> None:
    root = make_project(tmp_path)
    (root / "pipeline" / "topics.toml").write_text("[places_moon]\n")
    with pytest.raises(
        ConfigError, match=r"'sparql' finds subjects by their classes, but .* has none for places_moon;"
    ):
        run(FactsParams(), without_models(root, Services(), Calls(tmp_path / "c.sqlite")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('source = "labels"', "needs the folder of its tables"),
        ('folder = "x"', "takes no folder"),
        ('source = "tables"\nfolder = "x"\nlabel_table = "y"', "label_table is only for"),
        ('source = "tables"\nfolder = "x"\ntopics = ["places_city"]', "topics is only for"),
        ('source = "rdf"', "must be 'sparql', 'tables', 'labels', 'resolve' or 'dump', not 'rdf'"),
        ('source = "dump"', "needs the folder of its dumps"),
        ("[facts.queries]\nsubjects = 0", "greater than or equal to 1"),
        ("folders = 1", "unknown key"),
    ],
)
def test_wrong_parameters_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "dual.toml"
    path.write_text(f"[facts]\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        load_profile(path).params("facts", FactsParams)
    assert "dual.toml: facts" in str(caught.value)


def test_sources_follow_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.csv").write_text("x\n", encoding="utf-8")
    labels = FactsParams(source="labels", folder="t")
    hashes = sources(labels, tmp_path, Services())
    assert list(hashes) == ["a.csv"]
    (tmp_path / "t" / "a.csv").write_text("y\n", encoding="utf-8")
    assert sources(labels, tmp_path, Services()) != hashes
    assert sources(FactsParams(), tmp_path, Services(sparql="http://x/")) == {"endpoint": "http://x/"}
    assert list(sources(FactsParams(), tmp_path, Services(sparql="embedded"))) == ["embedded snapshot"]


def test_the_embedded_snapshot_goes_the_same_way(tmp_path: Path) -> None:
    pytest.importorskip("pyoxigraph")
    project = make_project(tmp_path, relations=("P17", "P30", "P297"))
    (project / "pipeline" / "topics.toml").write_text(
        '[places_country]\nclasses = ["Q6256"]\nlimit = 300\n', encoding="utf-8"
    )
    kit = without_models(project, Services(sparql="embedded"), Calls(tmp_path / "c.sqlite"))
    rows = run(FactsParams(), kit)
    codes = facts(rows, "P297")
    assert codes.filter(pl.col("subject_label") == "France")["object_value"].to_list() == ["FR"]
    assert list(kit.calls.counts()) == ["embedded"]
    assert set(kit.calls.answered("embedded")[0][0]) == {"snapshot", "query"}


def test_tables_with_ids_need_no_service(tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=("P17",))
    (project / "tables").mkdir()
    (project / "tables" / "places_city.csv").write_text(
        "subject_qid,subject_label,property_id,object_qid,object_label\nQ1,Abu,P17,Q2,Landia\nQ1,Abu,P9,Q2,Landia\n",
        encoding="utf-8",
    )
    kit = without_models(project, Services(), Calls(tmp_path / "c.sqlite", offline=True))
    table_params = FactsParams(source="tables", folder="tables")
    assert run(table_params, kit)["reason"].to_list() == [None, "unknown_relation"]
    assert forecast(table_params, kit) == []


PLACEHOLDERS = ("nan", "NaN", "null", "NULL", "N/A", "n/a", "-", "–", "--", "?", "...")
NAMES = ("None", "Nan", "Null", "NA", "unknown", "C++", "H₂O", "!!!", "+", "東京", "7")


@pytest.mark.parametrize("source", ["tables", "labels"])
def test_what_stands_for_no_value_in_a_table_is_neither_subject_nor_object(tmp_path: Path, source: Any) -> None:
    project = make_project(tmp_path, relations=("P17", "P1549"))
    (project / "tables").mkdir()
    ids = "subject_qid,subject_label,property_id,object_qid,object_label,object_value"
    lines = [ids if source == "tables" else "subjectLabel,relation,objectLabel"]
    texts = (*PLACEHOLDERS, *NAMES)
    for number, text in enumerate(texts):
        if source == "tables":
            subject, other = f"Q{1000 + number},Abu{number}", f"Q{2000 + number},{text}"
            lines += [f"{subject},P17,{other},", f"{other},P17,{subject},", f"{subject},P1549,,,{text}"]
        else:
            lines += [f"Abu{number},country,{text}", f"{text},country,Abu{number}", f"Abu{number},P1549,{text}"]
    (project / "tables" / "places_city.csv").write_text("\n".join(lines), encoding="utf-8")
    kit = without_models(project, Services(), Calls(tmp_path / "c.sqlite", offline=True))
    rows = run(FactsParams(source=source, folder="tables"), kit)
    reasons = rows["reason"].to_list()
    given = {text: set(reasons[3 * number : 3 * number + 3]) for number, text in enumerate(texts)}
    assert {text for text, found in given.items() if found == {"empty"}} == set(PLACEHOLDERS)
    assert not any("empty" in given[name] for name in NAMES)


@pytest.mark.parametrize("source", ["tables", "labels", "resolve"])
def test_what_stands_for_no_value_takes_nothing_from_the_value_beside_it(tmp_path: Path, source: Any) -> None:
    project = make_project(tmp_path, relations=("P17", "P571_city", "P2044"))
    (project / "tables").mkdir()
    values = [("P17", "Landia", "nan"), ("P571", "1850", "-"), ("P2044", "35", "N/A")]
    lines = ["subject_qid,subject_label,property_id,object_qid,object_label,object_value"]
    for name, *texts in values:
        lines += [f"Q1,Abu,{name},{f'Q2,{text},' if text == 'Landia' else f',,{text}'}" for text in texts]
    if source != "tables":
        lines = [
            "subjectLabel,relation,objectLabel",
            *(f"Abu,{name},{text}" for name, *texts in values for text in texts),
        ]
    (project / "tables" / "places_city.csv").write_text("\n".join(lines), encoding="utf-8")
    (project / "labels.csv").write_text("qid,label\nQ1,Abu\nQ2,Landia\n", encoding="utf-8")
    kit = without_models(project, Services(), Calls(tmp_path / "c.sqlite", offline=True))
    table = "labels.csv" if source == "resolve" else ""
    rows = run(FactsParams(source=source, folder="tables", label_table=table), kit)
    assert rows["reason"].to_list() == [None, "empty"] * 3
    assert rows.filter(pl.col("reason").is_null())["objects_of_pair"].to_list() == [1, 1, 1]


def test_a_label_table_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    project = make_project(tmp_path, relations=("P17",))
    profile = load_profile(ROOT / "pipeline" / "dual.toml")
    with pytest.raises(ConfigError, match=r"facts\.label_table: nowhere\.csv: no such file; a CSV or Parquet table"):
        check(FactsParams(source="resolve", folder="tables", label_table="nowhere.csv"), project, profile)


@pytest.mark.parametrize("source", ["tables", "labels"])
def test_anonymous_is_no_answer_where_a_question_asks_who(tmp_path: Path, source: Any) -> None:
    project = make_project(tmp_path, relations=("P17", "P112_city"))
    (project / "tables").mkdir()
    objects = ("anonymous", "unknown", "Anonymous")
    lines = ["subject_qid,subject_label,property_id,object_qid,object_label"]
    lines += [f"Q{n},Abu{n},{stem},Q{9 - n},{name}" for n, name in enumerate(objects, 1) for stem in ("P112", "P17")]
    if source == "labels":
        fields = [line.split(",") for line in lines[1:]]
        lines = ["subjectLabel,relation,objectLabel", *(f"{row[1]},{row[2]},{row[4]}" for row in fields)]
    (project / "tables" / "places_city.csv").write_text("\n".join(lines), encoding="utf-8")
    kit = without_models(project, Services(), Calls(tmp_path / "c.sqlite", offline=True))
    reasons = run(FactsParams(source=source, folder="tables"), kit)["reason"].to_list()
    assert reasons == ["somevalue", None, "somevalue", None, None, None]


def test_labels_are_resolved_through_the_endpoint_or_a_table(front: Proxy, tmp_path: Path) -> None:
    model = world()
    project = make_project(tmp_path, relations=("P17",))
    city = model.of_class(model.named["city"])[30]
    (country,) = (value for value in model.values(city, "P17") if isinstance(value, str))
    names = model.items[city].label, model.items[country].label
    (project / "tables").mkdir()
    (project / "tables" / "places_city.csv").write_text(
        f"subjectLabel,relation,objectLabel\n{names[0]},country,{names[1]}\nAtlantis,country,{names[1]}\n",
        encoding="utf-8",
    )
    (project / "labels.csv").write_text(f"qid,label\n{city},{names[0]}\n{country},{names[1]}\n", encoding="utf-8")
    endpoint_params = FactsParams(source="resolve", folder="tables")
    table_params = FactsParams(source="resolve", folder="tables", label_table="labels.csv")
    kit = tools(project, front.url)
    assert forecast(table_params, kit) == []
    by_table = run(table_params, kit)
    assert front.count == 0
    assert forecast(endpoint_params, kit)[0].note.startswith("estimated")
    by_endpoint = run(endpoint_params, kit)
    assert forecast(endpoint_params, kit)[0].in_log == forecast(endpoint_params, kit)[0].calls == front.count
    for rows in (by_table, by_endpoint):
        assert facts(rows, "P17").select("subject_qid", "object_qid", "resolved").rows() == [(city, country, True)]
        assert rows["reason"].drop_nulls().to_list() == ["unresolved_label"]
    assert set(sources(table_params, project, kit.services)) == {"places_city.csv", "label_table"}


def test_a_relation_is_left_out_by_its_label_and_by_its_property(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    for folder, table in (
        ("labels", "subjectLabel,relation,objectLabel\nBerlin,different from,Ulm\nBerlin,P1889,Ulm\n"),
        ("tables", "subject_qid,subject_label,property_id,object_qid,object_label\nQ64,Berlin,P1889,Q3012,Ulm\n"),
    ):
        (project / folder).mkdir()
        (project / folder / "places_city.csv").write_text(table)
        params = FactsParams.model_validate({"source": folder, "folder": folder})
        rows = run(params, tools(project, "http://127.0.0.1:9"))
        assert set(rows["reason"]) == {"excluded_relation"}


@needs_reference
def test_the_published_label_tables(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    shipped = ROOT / "pipeline" / "topics.toml"
    (project / "pipeline" / "topics.toml").write_text(shipped.read_text("utf-8"), encoding="utf-8")
    kit = without_models(project, Services(), Calls(tmp_path / "c.sqlite"))
    labels = FactsParams(source="labels", folder=str(REFERENCE / "wikidata_triplets"))
    rows = run(labels, kit)
    assert rows.height == 143_557
    assert rows.select("subject_qid", "property_id", "object_value").unique().height == 132_169
    settled = settle(rows, Facts, "facts")
    assert not settled.rows["resolved"].any()
    assert settled.rows.height + settled.rejected.height == 143_557
    counts = dict(settled.rejected["reason"].value_counts().iter_rows())
    assert set(counts) == {
        "excluded_relation",
        "unknown_relation",
        "not_asked_in_topic",
        "duplicate",
        "mirrored",
        "no_label",
        "somevalue",
    }
    assert settled.rows.height > 45_000
    assert forecast(labels, kit) == []


def test_the_stage_declares_what_it_reads() -> None:
    assert FACTS.files == ("pipeline/topics.toml", "pipeline/relations/*.toml")
    assert FACTS.inputs == ()
