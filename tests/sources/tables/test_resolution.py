"""Labels become ids where there is no doubt, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.calls.fetching import Calls, Forecast
from dual_data.config import load_relations, load_topics
from dual_data.errors import InputError
from dual_data.sources.assembly import assemble
from dual_data.sources.tables.resolution import forecast, through_endpoint, through_table
from dual_data.sources.tables.triplets import read_labels
from dual_data.sources.wikidata.asking import Foresight, Live
from dual_data.sources.wikidata.sparql import HttpEndpoint
from dual_data.sources.wikidata.statements import Sizes
from dual_data.system.progress import Progress
from tests.clock import FakeClock
from tests.services.oxigraph import oxigraph
from tests.sources.tables.test_triplets import label, write
from tests.wiki.project import make_project
from tests.wiki.world import world

SIZES = Sizes(labels=3, subjects=5, entities=10)


class Case:
    """A project over the world with a folder of label triplets."""

    def __init__(self, folder: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
        project = make_project(folder / "project", relations=("P17", "P19", "P569", "P2044"))
        self.topics = load_topics(project / "pipeline" / "topics.toml")
        self.relations = load_relations(project / "pipeline" / "relations")
        for topic, triplets in rows.items():
            write(folder / "tables", f"{topic}.csv", triplets)
        self.rows = read_labels(folder / "tables", tuple(self.topics), self.relations, {})
        self.calls = Calls(folder / "calls.sqlite", clock=FakeClock())

    def resolve(self, url: str) -> pl.DataFrame:
        asker = Live(HttpEndpoint(f"{url}/query", ""), self.calls, Progress())
        harvest = through_endpoint(asker, self.rows, self.topics, self.relations, SIZES)
        return assemble(harvest, self.relations, resolved=True)

    def forecast(self, url: str) -> Forecast:
        asker = Foresight(HttpEndpoint(f"{url}/query", ""), self.calls)
        return forecast(asker, self.rows, self.topics, self.relations, SIZES)


def name(qid: str) -> str:
    item = world().items[qid]
    return item.label or item.mul or ""


def country_of(qid: str) -> str:
    (value,) = world().values(qid, "P17")
    assert isinstance(value, str)
    return value


def outcome(rows: pl.DataFrame) -> list[tuple[str, str | None, str | None]]:
    return rows.select("subject_qid", "object_value", "reason").rows()


def test_an_endpoint_settles_namesakes_by_the_fact(server: str, tmp_path: Path) -> None:
    cities = [world().named[key] for key in ("namesake_1", "namesake_2", "alias_of_namesake")]
    case = Case(tmp_path, {"places_city": [label(name(qid), "country", name(country_of(qid))) for qid in cities]})
    facts = case.resolve(server).filter(pl.col("reason").is_null())
    assert set(facts.select("subject_qid", "object_qid").iter_rows()) == {(qid, country_of(qid)) for qid in cities}
    assert facts["resolved"].all()
    first = facts.filter(pl.col("subject_qid") == cities[0]).row(0, named=True)
    assert first["subject_label"] == name(cities[0])
    assert first["subject_sitelinks"] == world().items[cities[0]].sitelinks


def test_what_is_in_doubt_is_rejected_with_its_reason(server: str, tmp_path: Path) -> None:
    namesake, several = (world().named[key] for key in ("namesake_1", "several"))
    writer = world().of_class(world().named["writer"], by="P106")[0]
    countries = world().of_class(world().named["country"])
    wrong = next(qid for qid in countries if qid not in world().values(several, "P17"))
    case = Case(
        tmp_path,
        {
            "places_city": [
                label("Atlantis", "country", name(countries[0])),
                label(name(several), "country", name(wrong)),
                label(name(writer), "country", name(countries[0])),
                label(name(namesake), "elevation above sea level", "nothing"),
            ],
        },
    )
    rows = case.resolve(server)
    unresolved = rows.filter(pl.col("subject_qid").str.starts_with("label:")).sort("object_label")
    assert set(unresolved.select("subject_label", "reason").iter_rows()) == {
        ("Atlantis", "unresolved_label"),
        (name(several), "unconfirmed"),
        (name(writer), "unresolved_label"),
        (name(namesake), "wrong_kind"),
    }
    assert rows["reason"].null_count() == 0


def test_two_things_of_which_both_are_true_are_ambiguous(tmp_path: Path) -> None:
    model = world()
    first, second = model.named["namesake_1"], model.named["namesake_2"]
    country = country_of(first)
    twin = f"wd:{second} p:P17 wd:twin . wd:twin ps:P17 wd:{country} ; a <http://wikiba.se/ontology#BestRank> ."
    with oxigraph(model.turtle() + twin.replace("wd:twin", "<urn:twin>")) as url:
        case = Case(tmp_path, {"places_city": [label(name(first), "country", name(country))]})
        assert [reason for _, _, reason in outcome(case.resolve(url))] == ["ambiguous_label"]


def test_objects_that_the_table_lacks_count(server: str, tmp_path: Path) -> None:
    city = world().named["several"]
    first, second = world().values(city, "P17")
    assert isinstance(first, str)
    case = Case(tmp_path, {"places_city": [label(name(city), "country", name(first))]})
    rows = case.resolve(server)
    assert outcome(rows) == [(city, first, None), (city, second, "not_in_table")]
    assert rows["objects_of_pair"].to_list() == [2, 2]


@pytest.mark.parametrize(("accepted", "reason"), [("country", None), ("settlement", "wrong_class")])
def test_objects_of_other_classes_are_rejected_as_by_the_source_sparql(
    server: str, tmp_path: Path, accepted: str, reason: str | None
) -> None:
    city = world().named["namesake_1"]
    case = Case(tmp_path, {"places_city": [label(name(city), "country", name(country_of(city)))]})
    classes = (world().named[accepted],)
    case.relations["P17"] = case.relations["P17"].model_copy(update={"object_classes": classes})
    rows = case.resolve(server)
    assert rows.select("subject_label", "object_label", "reason").rows() == [
        (name(city), name(country_of(city)), reason)
    ]
    count = case.calls.counts()["wikidata"].made
    assert case.forecast(server) == Forecast("wikidata", count, count)


def test_the_class_tells_which_of_two_namesakes_is_meant(tmp_path: Path) -> None:
    model = world()
    first, second = model.named["namesake_1"], model.named["namesake_2"]
    country, city = country_of(first), model.of_class(model.named["city"])[110]
    statement = (
        f"<urn:{city}> ps:P17 wd:{city} ; a <http://wikiba.se/ontology#BestRank> . wd:{second} p:P17 <urn:{city}> ."
    )
    alias = f'wd:{city} skos:altLabel "{name(country)}"@en .'
    with oxigraph(model.turtle() + statement + alias) as url:
        case = Case(tmp_path, {"places_city": [label(name(first), "country", name(country))]})
        assert [reason for _, _, reason in outcome(case.resolve(url))] == ["ambiguous_label"]
        classes = (model.named["country"],)
        case.relations["P17"] = case.relations["P17"].model_copy(update={"object_classes": classes})
        assert outcome(case.resolve(url)) == [(first, country, None)]


def test_literals_are_resolved_by_value(server: str, tmp_path: Path) -> None:
    writer = world().of_class(world().named["writer"], by="P106")[1]
    case = Case(tmp_path, {"human_writer": [label(name(writer), "date of birth", "1801")]})
    assert outcome(case.resolve(server)) == [(writer, "1801", None)]


def test_the_forecast_is_exact_once_the_log_knows(server: str, tmp_path: Path) -> None:
    cities = world().of_class(world().named["city"])[100:120]
    case = Case(
        tmp_path,
        {
            "places_city": [
                label(name(qid), "country", name(country_of(qid))) for qid in cities if world().values(qid, "P17")
            ]
        },
    )
    estimate = case.forecast(server)
    assert estimate.in_log == 0
    assert estimate.note.startswith("estimated")
    case.resolve(server)
    count = case.calls.counts()["wikidata"].made
    assert case.forecast(server) == Forecast("wikidata", count, count)
    assert estimate.calls == pytest.approx(count, rel=0.5)


def test_a_label_table_resolves_what_it_names_once(tmp_path: Path) -> None:
    case = Case(
        tmp_path,
        {
            "places_city": [
                label("Abu", "country", "Landia"),
                label("Ebu", "country", "Landia"),
                label("Ibu", "country", "Landia"),
                label("Old Abu", "country", "Landia"),
                label("Abu", "elevation above sea level", "12"),
                label("Abu", "unheard of", "Landia"),
            ]
        },
    )
    city = world().named["city"]
    path = tmp_path / "labels.csv"
    path.write_text(
        f"qid,label,aliases,class\nQ1,Abu,Old Abu,{city}\nQ2,Ebu,,{city}\nQ3,Ebu,,{city}\nQ4,Abu,,Q5\nQ9,Landia,,\n"
        f"Q6, ,Ibu,{city}\n",
        encoding="utf-8",
    )
    rows = assemble(through_table(path, case.rows, case.topics, case.relations), case.relations, resolved=True)
    assert [reason for _, _, reason in outcome(rows)] == [
        None,
        "ambiguous_label",
        "unresolved_label",
        "duplicate",
        None,
        "unknown_relation",
    ]
    assert rows.filter(pl.col("reason").is_null()).select("subject_qid", "object_qid", "subject_label").rows() == [
        ("Q1", "Q9", "Abu"),
        ("Q1", None, "Abu"),
    ]


def test_a_rejected_row_counts_among_the_objects_of_its_resolved_subject(tmp_path: Path) -> None:
    """Else the only object that the label table knows would pass for the only right answer."""
    other = [label("Ebu", "country", "Landia"), label("Ebu", "country", "Elsewhere"), label("Ebu", "unheard of", "x")]
    heights = [label("Abu", "elevation above sea level", text) for text in ("12", "about 30")]
    case = Case(tmp_path, {"places_city": [label("Abu", "country", "Landia"), *other, *heights]})
    path = tmp_path / "labels.csv"
    path.write_text("qid,label\nQ1,Abu\nQ2,Ebu\nQ9,Landia\n", encoding="utf-8")
    rows = assemble(through_table(path, case.rows, case.topics, case.relations), case.relations, resolved=True)
    assert rows.select("subject_qid", "object_label", "reason", "objects_of_pair").rows() == [
        ("Q1", "Landia", None, 1),
        ("Q2", "Landia", None, 2),
        ("Q2", "Elsewhere", "unresolved_label", 2),
        ("Q2", "x", "unknown_relation", 1),
        ("Q1", "12 m", None, 2),
        ("Q1", None, "wrong_kind", 2),
    ]
    assert rows["subject_mentions"].to_list() == [3, 3, 3, 3, 3, 3]


def test_a_class_in_the_table_settles_nothing_where_a_topic_names_none(tmp_path: Path) -> None:
    case = Case(tmp_path, {"places_city": [label("Abu", "country", "Landia")]})
    case.topics["places_city"] = case.topics["places_city"].model_copy(update={"classes": ()})
    path = tmp_path / "labels.csv"
    path.write_text("qid,label,class\nQ1,Abu,Q515\nQ9,Landia,\n", encoding="utf-8")
    rows = through_table(path, case.rows, case.topics, case.relations).statements
    assert outcome(rows) == [("Q1", "Q9", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qid,name\nQ1,a\n", r"no column label"),
        ("qid,label\nQ1,a\nQ2,b\nQ1,c\n", r"line 4: qid: Q1 is already in line 2"),
        ("qid,label\nParis,a\n", r"line 2: qid: 'Paris' is not an id such as Q90"),
        ("qid,label\n,a\n", r"line 2: qid: '' is not an id such as Q90"),
        ("qid,label,class\nQ1,a,\nQ2,b,country\n", r"line 3: class: 'country' is not an id such as Q90"),
    ],
)
def test_bad_label_tables(tmp_path: Path, text: str, message: str) -> None:
    case = Case(tmp_path, {"places_city": [label("Abu", "country", "Landia")]})
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        through_table(path, case.rows, case.topics, case.relations)


def test_no_label_table(tmp_path: Path) -> None:
    case = Case(tmp_path, {"places_city": [label("Abu", "country", "Landia")]})
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read"):
        through_table(tmp_path / "absent.csv", case.rows, case.topics, case.relations)
