"""Triplets from tables: with ids, and with labels alone."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.errors import InputError
from dual_data.ids import label_id
from dual_data.sources.assembly import assemble
from dual_data.sources.tables.triplets import ID_COLUMNS, LABEL_COLUMNS, read_labels, unresolved, with_ids
from tests.sources.test_values import relation

TOPICS = ("places_city", "human_writer")
RELATIONS = {
    "P17": relation("entity", property="P17", labels=["country"], topics=["places_city"]),
    "P19": relation("entity", property="P19", labels=["place of birth"], topics=["human_writer"]),
    "P569": relation("date", property="P569", labels=["date of birth"], topics=["human_writer"]),
    "P2044": relation(
        "quantity", property="P2044", labels=["elevation"], topics=["*"], unit="Q11573", unit_name="metres"
    ),
    "P190": relation("entity", property="P190", labels=["twin"], topics=["places_city"], symmetric=True),
}
EXCLUDED = {"instance of": ("*",), "P31": ("*",), "sex": ("human_writer",)}


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    pl.DataFrame({key: [row.get(key) for row in rows] for key in columns}, strict=False).write_csv(folder / name)
    return folder


def city(subject: str, label: str, target: str | None, target_label: str | None, **more: Any) -> dict[str, Any]:
    return {
        "subject_qid": subject,
        "subject_label": label,
        "property_id": "P17",
        "object_qid": target,
        "object_label": target_label,
        **more,
    }


def with_reason(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    return rows.select("subject_label", "relation", "object_value", "reason").rows()


def test_tables_with_ids(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "t",
        "places_city.csv",
        [
            city("Q2", "Abu", "Q10", "Landia", subject_aliases="Abo|Abu |Abo", subject_sitelinks=7, object_title="L"),
            city("Q2", "Abu", None, None, property_id="P2044", object_value="12"),
            city("Q2", "Abu", None, None, property_id="P2044", object_value="12 Q3710"),
            city("Q3", "Ebu", None, None, object_value="Landia"),
            city("Q3", "Ebu", None, None),
            city("Q3", "Ebu", "Q2", "Abu", property_id="P19"),
            city("Q3", "Ebu", "Q2", "Abu", property_id="P999"),
            city("Q3", "Ebu", "Q9", "city", property_id="P31"),
            city("Q3", "Ebu", "Q2", "Abu", property_id="P190"),
            city("Q2", "Abu", "Q3", "Ebu", property_id="P190"),
            city("Q4", "Q4", "Q10", "Landia"),
            city("Q5", "  ", "Q10", "Landia"),
            city("Q2", "Abu", "Q10", "Landia"),
        ],
    )
    rows = assemble(with_ids(folder, TOPICS, RELATIONS, EXCLUDED), RELATIONS, resolved=True)
    assert with_reason(rows) == [
        ("Abu", "P17", "Q10", None),
        ("Abu", "P2044", "12 Q11573", None),
        ("Abu", "P2044", "12 Q3710", "unit_not_asked"),
        ("Ebu", "P17", "Landia", "wrong_kind"),
        ("Ebu", "P17", "", "empty"),
        ("Ebu", "P19", "Q2", "not_asked_in_topic"),
        ("Ebu", "P999", "Q2", "unknown_relation"),
        ("Ebu", "P31", "Q9", "excluded_relation"),
        ("Ebu", "P190", "Q2", "mirrored"),
        ("Abu", "P190", "Q3", None),
        (None, "P17", "Q10", "no_label"),
        (None, "P17", "Q10", "no_label"),
        ("Abu", "P17", "Q10", "duplicate"),
    ]
    first = rows.row(0, named=True)
    assert first["subject_aliases"] == ["Abo", "Abu"]
    assert (first["subject_sitelinks"], first["object_title"]) == (7, "L")
    assert rows.row(1, named=True)["object_label"] == "12 metres"
    assert rows.row(1, named=True)["objects_of_pair"] == 2, "another unit is another object until proved equal"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_counts_are_read_though_empty_cells_beside_them_made_them_floats(tmp_path: Path, ending: str) -> None:
    rows = pl.DataFrame([city("Q2", "Abu", "Q10", "Landia", subject_sitelinks=7.0, object_sitelinks=None)])
    frame = rows.with_columns(pl.col("object_sitelinks").cast(pl.Float64))
    path = tmp_path / f"places_city.{ending}"
    if ending == "csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    entities = with_ids(tmp_path, TOPICS, RELATIONS, EXCLUDED).entities
    assert entities.select("qid", "sitelinks").rows() == [("Q2", 7), ("Q10", None)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([city("Paris", "Paris", "Q1", "x")], r"line 2: subject_qid: 'Paris' is not of the form Q90"),
        ([city("Q1", "a", "Q2", "b"), city("", "a", "Q2", "b")], r"line 3: subject_qid: is empty"),
        ([city("Q1", "a", "q2", "b")], r"line 2: object_qid: 'q2'"),
        ([city("Q1", "a", "Q2", "b", property_id="capital")], r"line 2: property_id: 'capital'"),
        ([city("Q1", "a", None, None)], r"no column|neither object_qid nor object_value"),
        ([city("Q1", "a", "Q2", "b", subject_sitelinks="many")], r"subject_sitelinks: 'many'"),
        ([city("Q1", "a", "Q2", "b", subject_sitelinks="3.5")], r"subject_sitelinks: '3.5' is not of the form 31"),
        ([city("Q1", "a", "Q2", "b", subject_title="A|B")], r"line 2: subject_title: 'A\|B' is not of the form Paris"),
        (
            [city("Q1", "a", "Q2", "b", object_title="A\x7fB")],
            r"object_title: 'A\\x7fB' .* without # \| .* or control char",
        ),
        (
            [city("Q1", "a", "Q2", "b", subject_title="C#")],
            r"subject_title: 'C#' .* without # \|",
        ),
        ([city("Q1", "a", "Q2", "b", object_sitelinks="9" * 23)], r"object_sitelinks: '9{23}' is not of the form 31"),
        (
            [city("Q1", "a", "Q2", "b"), city("Q3", "c", "Q1", "other")],
            r"line 3: Q1 has the label 'other' here and 'a' in .*places_city.csv: line 2; an id has one label",
        ),
        (
            [city("Q1", "a", "Q2", "b", subject_sitelinks="7"), city("Q3", "c", "Q1", "a", object_sitelinks="8")],
            r"line 3: Q1 has the sitelinks '8' here and '7' in .*line 2; give an entity the same number in every row",
        ),
        (
            [city("Q1", "a", "Q2", "b", subject_title="A"), city("Q3", "c", "Q1", "a", object_title="B")],
            r"line 3: Q1 has the title 'B' here and 'A' in .*line 2; give an entity the same title in every row",
        ),
    ],
)
def test_bad_ids(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    folder = write(tmp_path / "t", "places_city.csv", rows)
    with pytest.raises(InputError, match=message) as caught:
        with_ids(folder, TOPICS, RELATIONS, EXCLUDED)
    assert "places_city.csv" in str(caught.value)


def test_one_count_and_one_title_may_be_written_in_several_ways(tmp_path: Path) -> None:
    written = [("7", "IPhone"), ("7.0", "iPhone"), ("07", "\xa0")]
    rows = [city("Q1", "a", "Q2", "b", subject_sitelinks=count, subject_title=title) for count, title in written]
    rows += [city("Q3", "c", "Q4", "d", subject_title=title) for title in ("\xa0", "New York", "New_York")]
    entities = with_ids(write(tmp_path / "t", "places_city.csv", rows), TOPICS, RELATIONS, EXCLUDED).entities
    assert entities.filter(qid="Q1")["sitelinks"].to_list() == [7]


def test_spellings_of_a_label_that_are_read_as_one_are_one(tmp_path: Path) -> None:
    rows = [
        city("Q1", "Caf\u00e9", "Q2", "b"),
        city("Q1", "Cafe\u0301 ", "Q3", "c"),
        city("Q4", "d", "Q1", "Caf\u00e9"),
    ]
    entities = with_ids(write(tmp_path / "t", "places_city.csv", rows), TOPICS, RELATIONS, EXCLUDED).entities
    assert entities.filter(qid="Q1")["label"].to_list() == ["Caf\u00e9"]


def test_bad_ids_of_several_rows_and_kinds_are_told_at_once_in_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [city("Q1", "a", "Q2", "b", property_id="capital"), city("Q1", "a", "Q2", "other"), city("", "c", None, "d")]
    path = write(tmp_path / "t", "places_city.csv", rows) / "places_city.csv"
    with pytest.raises(InputError) as caught:
        with_ids(path.parent, TOPICS, {}, {})
    assert [line.partition(";")[0] for line in str(caught.value).splitlines()] == [
        f"{path}: line 2: property_id: 'capital' is not of the form P36",
        f"{path}: line 3: Q2 has the label 'other' here and 'b' in {path}: line 2",
        f"{path}: line 4: subject_qid: is empty",
    ]
    write(path.parent, path.name, [city(f"q{number}", "a", "x", "b") for number in range(11)])
    with pytest.raises(InputError) as caught:
        with_ids(path.parent, TOPICS, {}, {})
    *told, more = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in told] == [f"line {2 + number // 2}" for number in range(10)]
    assert more == "there are more such faults"


@pytest.mark.parametrize("side", ["subject", "object"])
def test_titles_are_in_the_normal_form_that_wikipedia_answers_in(tmp_path: Path, side: str) -> None:
    written = unicodedata.normalize("NFD", " São  Tomé")
    rows = [
        city("Q1", "a", "Q2", "b", **{f"{side}_title": " "}),
        city("Q1", "a", "Q2", "b", **{f"{side}_title": written}),
    ]
    folder = write(tmp_path / "t", "places_city.csv", rows[1:])
    titles = dict(with_ids(folder, TOPICS, RELATIONS, EXCLUDED).entities.select("qid", "title").iter_rows())
    assert titles == {"Q1": None, "Q2": None} | {"Q1" if side == "subject" else "Q2": "São Tomé"}
    blank = write(tmp_path / "blank", "places_city.csv", rows[:1])
    assert with_ids(blank, TOPICS, RELATIONS, EXCLUDED).entities["title"].null_count() == 2


@pytest.mark.parametrize(("read", "columns"), [(with_ids, ID_COLUMNS), (read_labels, LABEL_COLUMNS)])
def test_tables_without_rows_are_refused(tmp_path: Path, read: Any, columns: tuple[str, ...]) -> None:
    (tmp_path / "places_city.csv").write_text(",".join(columns) + "\n")
    with pytest.raises(InputError, match="no table there has a row"):
        read(tmp_path, TOPICS, RELATIONS, EXCLUDED)


def test_a_table_must_be_named_after_a_topic(tmp_path: Path) -> None:
    folder = write(tmp_path / "t", "places_moon.csv", [city("Q1", "a", "Q2", "b")])
    with pytest.raises(
        InputError, match=r"line 2: 'places_moon' is not a topic.*Known topics: places_city, human_writer"
    ):
        with_ids(folder, TOPICS, RELATIONS, EXCLUDED)


def label(subject: str | None, name: str | None, target: str | None) -> dict[str, Any]:
    return {"subjectLabel": subject, "relation": name, "objectLabel": target}


def test_tables_with_labels_alone(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "t",
        "places_city.csv",
        [
            label("Abu", "country", "Landia"),
            label(" Abu", "country", "Landia"),
            label("Abu", "elevation", "1,200 Q11573"),
            label("Abu", "elevation", "high"),
            label("Abu", "place of birth", "Landia"),
            label("Abu", "instance of", "city"),
            label("Abu", "sex", "none"),
            label("Q77", "country", "Landia"),
            label("Abu", "country", "Q78"),
            label("Abu", "country", None),
            label("Abu", "twin", "Ebu"),
            label("Ebu", "twin", "Abu"),
        ],
    )
    write(
        folder,
        "human_writer.csv",
        [label("Ann", "place of birth", "Abu"), label("Ann", "date of birth", "31 May 1907"), label("Ann", "sex", "x")],
    )
    rows = assemble(unresolved(read_labels(folder, TOPICS, RELATIONS, EXCLUDED)), RELATIONS, resolved=False)
    kept_twin = min(label_id("Abu"), label_id("Ebu"))
    twins = [None if label_id(name) == kept_twin else "mirrored" for name in ("Abu", "Ebu")]
    assert rows["reason"].to_list() == [
        None,
        "duplicate",
        None,
        "wrong_kind",
        "not_asked_in_topic",
        "excluded_relation",
        "unknown_relation",
        "no_label",
        "no_label",
        "empty",
        *twins,
        None,
        None,
        "excluded_relation",
    ]
    first = rows.row(0, named=True)
    assert first["subject_qid"] == label_id("Abu")
    assert first["object_qid"] == first["object_value"] == label_id("Landia")
    assert (first["subject_label"], first["object_label"], first["property_id"]) == ("Abu", "Landia", "P17")
    assert first["objects_of_pair"] == 2, "the nameless object makes the pair ambiguous too"
    assert rows.row(2, named=True)["object_value"] == "1200 Q11573"
    born = rows.row(13, named=True)
    assert (born["object_kind"], born["object_value"], born["object_label"]) == ("date", "1907", "1907")
    assert born["object_qid"] is None
    assert rows.row(5, named=True)["property_id"] == label_id("instance of")
    assert not rows["resolved"].any()


def test_a_relation_may_be_named_by_its_property(tmp_path: Path) -> None:
    rows = [
        label("Abu", "P17", "Landia"), label("Abu", "country", "Landia"), label("Abu", "P19", "Landia"),
        label("Abu", "P99", "x"), label("Abu", "P31", "city"),
    ]  # fmt: skip
    folder = write(tmp_path / "t", "places_city.csv", rows)
    facts = assemble(unresolved(read_labels(folder, TOPICS, RELATIONS, EXCLUDED)), RELATIONS, resolved=False)
    assert facts["reason"].to_list() == [
        None,
        "duplicate",
        "not_asked_in_topic",
        "unknown_relation",
        "excluded_relation",
    ]
    assert facts["property_id"].to_list() == ["P17", "P17", "P19", label_id("P99"), label_id("P31")]


def test_mentions_are_the_triplets_that_name_a_label(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "t",
        "places_city.csv",
        [
            label("Abu", "country", "Landia"),
            label("Abu", "country", "Landia"),
            label("Ebu", "country", "Landia"),
            label("Landia", "instance of", "Landia"),
        ],
    )
    rows = assemble(unresolved(read_labels(folder, TOPICS, RELATIONS, EXCLUDED)), RELATIONS, resolved=False)
    assert rows["subject_mentions"].to_list() == [1, 1, 1, 3]
    assert rows["object_mentions"].to_list() == [3, 3, 3, 3]
