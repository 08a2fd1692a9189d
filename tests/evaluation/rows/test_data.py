"""Reading rows: whose columns are known, and what is wrong in a table."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.audit.columns import POPULARITY
from dual_data.errors import InputError
from dual_data.evaluation.rows.data import Item, data_hash, read_paraphrases, read_split
from dual_data.ids import digest
from tests.cli.command import ROOT
from tests.evaluation.questions import cities
from tests.reference import REFERENCE, needs_reference


def test_the_hash_of_rows_follows_content_and_order_but_not_pairs() -> None:
    items = cities()
    assert data_hash(items) == data_hash(list(items))
    assert data_hash(items) != data_hash(items[::-1])
    assert data_hash(items) == data_hash([item._replace(pair=item.id) for item in items])


def test_the_readme_names_the_columns_of_a_row_and_each_is_read(tmp_path: Path) -> None:
    table = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .split("| column | what it is | without it |\n|---|---|---|\n")[1]
    )
    cells = [line.split("|")[1] for line in table.partition("\n\n")[0].splitlines()]
    columns = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    values: dict[str, Any] = {
        "answers": ["b"], "paraphrases_test": ["c"], "object_kind": "date", **dict.fromkeys(POPULARITY, 1),
    }  # fmt: skip
    plain = {"question": "q", "answer": "a"}
    path = tmp_path / "rows.jsonl"

    def item(row: dict[str, Any]) -> Item:
        path.write_text(json.dumps(row))
        return read_split(path)[0]

    changed = set[str]()
    for name in columns:
        read = item(plain | {name: values.get(name, "x")})
        fields = {field for field in Item._fields if getattr(read, field) != getattr(item(plain), field)}
        assert fields, name
        changed |= fields
    assert changed == set(Item._fields)
    assert {name.removeprefix("subject_") for name in POPULARITY} <= set(columns)


def test_rows_of_our_layout(tmp_path: Path) -> None:
    row = {
        "fact_id": "0123456789abcdef",
        "question": "Q?",
        "answer": "A",
        "answers": ["A", "Aa"],
        "subject": "S",
        "property_id": "P1",
        "inbound_links": 5,
        "paraphrases_test": ["T?"],
        "paraphrases_training": ["R?"],
        "object_kind": "date",
    }
    frame = pl.DataFrame([row, row | {"fact_id": None, "answers": None}])
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_ndjson(tmp_path / "rows.jsonl")
    frame.write_json(tmp_path / "rows.json")
    for name in ("rows.parquet", "rows.jsonl", "rows.json"):
        first, second = read_split(tmp_path / name)
        assert first == Item("0123456789abcdef", "Q?", "A", ("A", "Aa"), "S", "P1", 5.0, ("T?",), "date")
        assert second.answers == ("A",)
        assert len(second.id) == 16


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json", "jsonl"])
def test_a_path_is_no_pattern(tmp_path: Path, suffix: str) -> None:
    for name, answer in (("a[1]", "mine"), ("a1", "other")):
        (tmp_path / name).mkdir()
        frame = pl.DataFrame({"question": ["Q?"], "answer": [answer]})
        write = getattr(frame, f"write_{suffix.replace('jsonl', 'ndjson')}")
        write(tmp_path / name / f"rows.{suffix}")
    assert [item.answer for item in read_split(tmp_path / "a[1]" / f"rows.{suffix}")] == ["mine"]


def test_repeated_rows_have_ids_of_their_own(tmp_path: Path) -> None:
    pl.DataFrame({"question": ["Q?"] * 3, "answer": ["A"] * 3}).write_csv(tmp_path / "a.csv")
    ids = [item.id for item in read_split(tmp_path / "a.csv")]
    assert len(set(ids)) == 3
    rows = [{"question": f"{n}?", "answer": "A", "fact_id": name} for n, name in enumerate(("a", "a", "a.2", "a"))]
    (tmp_path / "named.json").write_text("\n".join(map(json.dumps, rows)))
    assert [item.id for item in read_split(tmp_path / "named.json")] == ["a", "a.2", "a.2.2", "a.3"]
    (tmp_path / "numbered.json").write_text('{"question": "Q?", "answer": "A", "fact_id": 0}')
    assert [item.id for item in read_split(tmp_path / "numbered.json")] == ["0"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("lines.json", '{"question": "Q?", "answer": "A"}\n{"question": "R?", "answer": "B"}\n'),
        ("array.JSON", '[{"question": "Q?", "answer": "A"}, {"question": "R?", "answer": "B"}]'),
        ("marked.ndjson", '\ufeff{"question": "Q?", "answer": "A"}\n{"question": "R?", "answer": "B"}\n'),
        ("marked.csv", "\ufeffquestion,answer\nQ?,A\nR?,B\n"),
    ],
)
def test_files_are_read_as_their_writers_write_them(tmp_path: Path, name: str, written: str) -> None:
    (tmp_path / name).write_text(written, encoding="utf-8")
    assert [(item.question, item.answer) for item in read_split(tmp_path / name)] == [("Q?", "A"), ("R?", "B")]


def test_a_text_that_looks_like_a_list_stays_a_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"question": ["Q?", "R?"], "answer": ["[1, 2]", '{"a": 1}']})
    frame.write_ndjson(tmp_path / "a.jsonl")
    frame.write_json(tmp_path / "b.json")
    frame.write_parquet(tmp_path / "c.parquet")
    for name in ("a.jsonl", "b.json", "c.parquet"):
        assert [item.answer for item in read_split(tmp_path / name)] == ["[1, 2]", '{"a": 1}']
    (tmp_path / "d.json").write_text('{\n  "question": "Q?",\n  "answer": "[1, 2]"\n}\n')
    assert [item.answer for item in read_split(tmp_path / "d.json")] == ["[1, 2]"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", r"name of a table ends in \.parquet, .*, not in \.txt"),
        ("b.csv", "question\nx\n", "no column answer; found question"),
        ("c.csv", "question,answer\n", "the table is empty"),
        ("d.csv", "question,answer\nQ?,\n", "row 1 has no question or no answer"),
        ("e.parquet", "no parquet", "not readable as parquet"),
        ("f.jsonl", None, "no such file"),
        (
            "g.jsonl",
            '{"question": "Q?", "answer": ["A"]}',
            r"column answer holds List\(String\); write one text per row",
        ),
        ("m.jsonl", "", "m.jsonl: the table is empty"),
        ("n.json", " ", "n.json: the table is empty"),
        (
            "o.jsonl",
            '{"question": "Q?", "answer": "[A]"}\n\n{"question": "R?", "answer": ["Ä", "B"]}\n',
            r'row 2: answer is \["Ä", "B"\], not a text; write one text per row',
        ),
        ("p.json", '{"question": {"a": 1}, "answer": "A"}\n{"question": "R?", "answer": "B"}', "row 1: question is {"),
        ("h.jsonl", '{"question": "Q?", "answer": "A", "pop_sum": "n/a"}', "row 1: pop_sum is 'n/a', not a number"),
        ("i.csv", "question,answer,popularity\nQ?,A,1\nR?,A,many\n", "row 2: popularity is 'many', not a number"),
        ("j.csv", "question,answer,answers\nQ?,A,A|Aa\n", r"row 1: answers is 'A\|Aa', not a list of texts: write"),
        (
            "k.jsonl",
            '{"question": "Q?", "answer": "A", "paraphrases_test": "T?"}',
            "paraphrases_test is 'T.', not a list",
        ),
        *(
            (
                "q.jsonl",
                f'{{"question": "Q?", "answer": "A", "{name}": ["A"]}}\n' * 2
                + f'{{"question": "Q?", "answer": "A", "{name}": "B"}}',
                f"row 3: {name} is 'B', not a list of texts: write a list",
            )
            for name in ("answers", "paraphrases_test")
        ),
        ("l.jsonl", '{"question": "Q?", "answer": "A", "answers": {"text": ["A"]}}', "answers is .*, not a list"),
        (
            "r.csv",
            "question,answer,object_kind\nQ?,A,\nR?,A,Date\n",
            "row 2: object_kind is 'Date'; it is one of entity,",
        ),
        ("s.csv", "question,answer,popularity\nQ?,A,inf\n", "row 1: popularity is 'inf', not a number"),
        ("t.csv", "question,answer\nQ?,A\nR?,\u00a0\n", "row 2 has no question or no answer"),
        (
            "u.jsonl",
            '{"question": "Q?", "answer": 1990}\n{"question": "R?", "answer": 2.5}\n',
            r"u\.jsonl: column answer holds numbers with decimals; write them as texts",
        ),
        (
            "v.jsonl",
            '{"question": "Q?", "answer": "1990", "answers": [1990, 2.5]}\n',
            "row 1: answers holds numbers with decimals; write them as texts",
        ),
        ("m.jsonl", '{"question": "Q?", "answer": "A", "answers": [{"text": "A"}]}', "answers is .*, not a list"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_split(tmp_path / name)


def test_cells_that_pandas_left_empty_are_empty(tmp_path: Path) -> None:
    nothing = pl.Series([math.nan], dtype=pl.Float64)
    rows = pl.DataFrame(
        {"question": ["Q?"], "answer": ["A"], "pair": nothing, "fact_id": nothing, "popularity": nothing}
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    (item,) = read_split(tmp_path / "rows.parquet")
    assert (item.pair, item.popularity, item.id) == ("", None, digest("Q?\nA"))


def test_the_codes_that_pandas_gives_to_names_count_from_0(tmp_path: Path) -> None:
    codes = {"subject": [0, 1, None], "relation": [0.0, 1.0, math.nan]}
    pl.DataFrame({"question": ["q", "r", "s"], "answer": ["a", "b", "c"], **codes}).write_parquet(
        tmp_path / "t.parquet"
    )
    assert [(item.subject, item.relation) for item in read_split(tmp_path / "t.parquet")] == [
        ("0", "0.0"),
        ("1", "1.0"),
        ("", ""),
    ]


def test_facts_of_two_files_are_not_one_because_their_ids_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(f"fact_id,question,answer\n1,{name}?,A\n2,Q?,A\n")
    first, second = (read_split(tmp_path / f"{name}.csv") for name in ("a", "b"))
    assert [item.id for item in first] == [item.id for item in second]
    assert [one.cluster == other.cluster for one, other in zip(first, second, strict=True)] == [False, True]


def test_bytes_are_no_text(tmp_path: Path) -> None:
    pl.DataFrame({"question": [b"Q?"], "answer": ["A"]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"rows\.parquet: column question holds Binary; write one text per row"):
        read_split(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Popularity", "popularity"),
        ("pop_sums", "pop_sum"),
        ("Relation", "relation"),
        ("Subject", "subject"),
        ("subjectlabel", "subjectLabel"),
        ("Answers", "answers"),
        ("paraphrase_test", "paraphrases_test"),
        ("object_kinds", "object_kind"),
        ("FACT_ID", "fact_id"),
        ("pairs", "pair"),
    ],
)
def test_a_misspelt_column_is_refused(tmp_path: Path, name: str, meant: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "Q?", "answer": "A", name: "5"}))
    with pytest.raises(InputError, match=rf"rows\.jsonl: column {name} is not read; name it {meant} if it is that, or"):
        read_split(path)


def test_columns_that_are_not_misspelt_are_left_alone(tmp_path: Path) -> None:
    row = {"question": "Q?", "answer": "A", "popularity_rank": 1, "object_sitelinks": 2, "objectLabel": "A", "topic": 3}
    # The third is nearly a name of which the row has another.
    row |= {"subject": "S", "property_id": "P1", "property_pid": "P2"}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    (item,) = read_split(path)
    assert (item.subject, item.relation, item.popularity) == ("S", "P1", None)


def test_rows_are_counted_as_in_the_file_whichever_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,split,row,index\nQ?,A,a,,\nR?,A,b,,\nS?,A,a,,\nT?,,b,,\n")
    assert len(read_split(path, split="a")) == 2
    with pytest.raises(InputError, match="row 4 has no question or no answer"):
        read_split(path, split="b")


def test_a_paraphrase_table_without_its_columns_is_named(tmp_path: Path) -> None:
    rows, table = tmp_path / "rows.csv", tmp_path / "table.csv"
    rows.write_text("question,answer\n1?,A\n")
    table.write_text("question,wording\n1?,W?\n")
    with pytest.raises(InputError, match=r"table\.csv: no column paraphrase; found question, wording"):
        read_paraphrases(table)
    table.write_text("question,paraphrase\n1?,W?\n1?,\n,V?\n")
    assert read_split(rows, read_paraphrases(table))[0].paraphrases == ("W?",)


def test_values_of_a_csv_file_are_as_they_stand_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(
        "question,answer,fact_id,split,pop_sum,answers\n"
        "The code of Brazil?,076,007,1,12,\nThe area?,1.50,8,1,,\nMoons of Venus?,0,9,1,nan,\nOf Mars?,2,10,0,3,\n"
    )
    first, *others = read_split(path, split="1")
    assert first == Item("007", "The code of Brazil?", "076", ("076",), popularity=12.0)
    assert [(item.answer, item.popularity) for item in others] == [("1.50", None), ("0", None)]
    path.write_text("question,answer\n" + "".join(f"{n}?,{n}\n" for n in range(200)) + "How many?,about five\n")
    assert [item.answer for item in read_split(path)[198:]] == ["198", "199", "about five"]


def test_columns_of_json_are_known_by_all_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": f"{n}?", "answer": n, "pop_sum": None} for n in range(200)]
    rows.append({"question": "R?", "answer": 7, "pop_sum": 0.5, "answers": [7, 8, None]})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    for name in ("rows.jsonl", "rows.json"):
        first, *_, last = read_split(tmp_path / name)
        assert (first.answer, first.popularity) == ("0", None)
        assert (last.answers, last.popularity) == (("7", "8"), 0.5)


def test_some_rows_of_a_table(tmp_path: Path) -> None:
    rows = [
        {"question": f"{n}?", "answer": "A", "split": split, "relation": relation}
        for n, (split, relation) in enumerate([("a", "P1"), ("a", "P2"), ("b", "P1"), ("a", "P3")])
    ]
    path = tmp_path / "rows.parquet"
    pl.DataFrame(rows).write_parquet(path)
    assert [item.question for item in read_split(path, split="a", relations=("P1", "P3"))] == ["0?", "3?"]
    assert [item.question for item in read_split(path, relations=("P1",))] == ["0?", "2?"]
    with pytest.raises(InputError, match="no row of split c; it has a, b"):
        read_split(path, split="c")
    with pytest.raises(InputError, match="no row of relation P9; it has P1, P2, P3"):
        read_split(path, relations=("P1", "P9"))
    pl.DataFrame([*rows, {"question": "4?", "answer": "A"}]).write_parquet(path)
    with pytest.raises(InputError, match=r"no row of split c; it has a, b$"):
        read_split(path, split="c")
    assert [item.question for item in read_split(path, split="b")] == ["2?"]
    pl.DataFrame(rows).with_columns(split=pl.Series([1, 1, 2, 1])).write_parquet(path)
    assert [item.question for item in read_split(path, split="2")] == ["2?"]
    pl.DataFrame(rows).drop("split").write_parquet(path)
    with pytest.raises(InputError, match="no column split"):
        read_split(path, split="a")


@needs_reference
def test_published_rows_are_read_with_their_popularity_and_paraphrases() -> None:
    folder = REFERENCE / "duet"
    items = read_split(folder / "city_forget_popular_5.parquet", read_paraphrases(folder / "paraphrases.parquet"))
    assert len(items) == 482
    assert len({item.id for item in items}) == 482
    assert all(item.popularity is not None and item.relation and item.subject for item in items)
    assert sum(bool(item.paraphrases) for item in items) > 400
    retain = read_split(folder / "city_fast_retain_500.parquet")
    assert len(retain) == 500
    assert retain[0].popularity is None
    assert json.dumps(retain[0])


@pytest.mark.parametrize(
    "change",
    [
        *({name: "x"} for name in ("id", "question", "answer", "subject", "relation")),
        {"answers": ("a", "b")}, {"popularity": 7.5}, {"paraphrases": ("other words",)}, {"kind": "date"},
    ],
)  # fmt: skip
def test_the_hash_of_rows_follows_every_field_but_the_pair(change: dict[str, Any]) -> None:
    first, second = cities(2)
    assert data_hash([first._replace(**change), second]) != data_hash([first, second])
    assert data_hash([first._replace(pair="x"), second]) == data_hash([first, second])
