"""Tables are read strictly, and faults are reported with file and line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dual_data.errors import InputError
from dual_data.sources.tables.files import hash_of, hashes, read_folder, table_files


def folder(tmp_path: Path, data: bytes, name: str = "city.csv") -> Path:
    target = tmp_path / "tables"
    target.mkdir(exist_ok=True)
    (target / name).write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"city.csv: is empty"),
        (b" \n \n", r"city.csv: is empty"),
        (b"s,q\na,b\n", r"city.csv: no column r; it has: s, q\. Needed: s, r"),
        (b"s;r\na;b\n", r"city.csv: no column s, r; it has: s;r\. Needed: s, r; semicolons seem to separate"),
        (b"s,r,s\na,b,c\n", r"city.csv: line 1: column 's' appears 2 times"),
        (b"s,r\na,b\nc,d,e\n", r"city.csv: line 3: 3 values for 2 columns"),
        (b"s,r\na,b\nc\n", r"city.csv: line 3: 1 value for 2 columns"),
        (b's,r\n"a\nb",c\nd\n', r"city.csv: line 4: 1 value for"),
        (b's,r\na,b\n"c,d\n', r"city.csv: line 3: not well-formed CSV"),
        (b's,r\na,"b"c\n', r"city.csv: line 2: not well-formed CSV"),
        (b"s,r\na,b\nc,\0d\n", r"city.csv: line 3: holds a NUL byte"),
        (b"s,r\na,b\ncaf\xe9,d\n", r"city.csv: line 3: not UTF-8 \(byte 0xe9\)"),
        ("s,r\na,b\n".encode("utf-16"), r"city.csv: not UTF-8; it looks like UTF-16"),
        ("s,r\na,b\n".encode("utf-16-le"), r"city.csv: not UTF-8; it looks like UTF-16"),
        (b's;r\n"a";b\n', r"city.csv: line 2: not well-formed CSV .*; semicolons seem to separate its columns"),
        (b"s;r\na,b;c\n", r"city.csv: line 2: 2 values for 1 column; semicolons seem"),
    ],
)
def test_bad_csv(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_folder(folder(tmp_path, data), ["s", "r"])


def test_bad_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"city.parquet: not a readable Parquet file"):
        read_folder(folder(tmp_path, b"PAR1 no", "city.parquet"), ["s"])


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"b\.csv: no file can have a NUL byte in its name; take it out"):
        hash_of(tmp_path / "a\0b.csv")


def test_no_folder_and_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such folder"):
        table_files(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds no .csv or .parquet file"):
        table_files(tmp_path)


def test_a_table_in_another_format_is_not_overlooked(tmp_path: Path) -> None:
    tables = folder(tmp_path, b"s\na\n")
    (tables / "gems.tsv").write_bytes(b"s\na\n")
    (tables / "README.md").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match=r"gems.tsv: is not read; save it as .csv or .parquet, or move it elsewhere"):
        table_files(tables)
    (tables / "gems.csv").write_bytes(b"s\na\n")
    (tables / "._gems.csv").write_bytes(b"\x00\x05\x16\x07")  # as macOS leaves beside a file
    assert [path.name for path in table_files(tables)] == ["city.csv", "gems.csv"]


@pytest.mark.parametrize("name", ["gems.csv.gz", "gems.PARQUET.zst", "gems.tsv.bz2"])
def test_a_compressed_table_is_not_overlooked(tmp_path: Path, name: str) -> None:
    tables = folder(tmp_path, b"s\na\n")
    (tables / "notes.txt.gz").write_bytes(b"")
    (tables / "code.zip").write_bytes(b"")
    assert [path.name for path in table_files(tables)] == ["city.csv"]
    (tables / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"{name}: is not read; save it as .csv or .parquet, or move it elsewhere"):
        table_files(tables)
    (tables / "gems.csv").write_bytes(b"s\na\n")
    assert [path.name for path in table_files(tables)] == ["city.csv", "gems.csv"]


def test_a_link_to_a_table_that_is_not_there_is_not_overlooked(tmp_path: Path) -> None:
    tables = folder(tmp_path, b"s\na\n")
    (tables / "gems.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=rf"gems.csv: is a link to {tmp_path}/gone.csv, which is not there; correct"):
        table_files(tables)
    (tmp_path / "gone.csv").write_bytes(b"s\na\n")
    assert [path.name for path in table_files(tables)] == ["city.csv", "gems.csv"]


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    tables = folder(tmp_path, b"s\na\n")
    (tables / "city.d.csv").write_bytes(b"s\na\n")
    (tables / "city.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"city\.parquet: is a second table beside city\.csv, of the same name"):
        table_files(tables)


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\u202e", "\x07", "\x7f", "\u00ad", "\u2060"])
def test_a_character_that_cannot_be_seen_is_refused_in_labels(tmp_path: Path, sign: str) -> None:
    tables = folder(tmp_path, f"subjectLabel,note\nParis,{sign}\nPar{sign}is,x\n".encode())
    with pytest.raises(InputError, match=r"line 3: subjectLabel: 'Par\\.*is' holds a character that cannot be seen"):
        read_folder(tables, ("subjectLabel", "note"))


@pytest.mark.parametrize("sign", ["\u200c", "\u200d", "\u200f", "\u00a0"])
def test_characters_that_scripts_need_are_read(tmp_path: Path, sign: str) -> None:
    tables = folder(tmp_path, f"subjectLabel\na{sign}b\n".encode())
    assert read_folder(tables, ("subjectLabel",))["subjectLabel"].to_list() == [f"a{sign}b"]


def test_csv_and_parquet_give_the_same(tmp_path: Path) -> None:
    frame = pl.DataFrame({"s": ["a", None, 'x "y", z\n'], "r": ["é", "", "|"], "topic": ["", "b", None]})
    (tmp_path / "csv").mkdir()
    (tmp_path / "parquet").mkdir()
    frame.write_csv(tmp_path / "csv" / "city.csv")
    frame.write_parquet(tmp_path / "parquet" / "city.parquet")
    from_csv, from_parquet = (read_folder(tmp_path / kind, ["s", "r"], ["o"]) for kind in ("csv", "parquet"))
    assert from_csv.drop("file", "line").equals(from_parquet.drop("file", "line"))
    assert from_csv.columns == ["s", "r", "o", "topic", "file", "line"]
    assert from_csv["line"].to_list() == [2, 3, 4]
    assert from_parquet["line"].to_list() == [1, 2, 3]
    assert from_csv["topic"].to_list() == ["city", "b", "city"]
    assert from_csv["r"].to_list() == ["é", None, "|"]


def test_a_column_names_the_topic_and_lists_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "any.parquet"
    pl.DataFrame({"s": ["a", "b"], "topic": ["city", None], "names": [["x", "y"], []]}).write_parquet(path)
    rows = read_folder(tmp_path, ["s"], ["names"])
    assert rows["topic"].to_list() == ["city", "any"]
    assert rows["names"].to_list() == ["x|y", None]


@pytest.mark.parametrize("cell", [{"a": 1}, [[["x"]]], [{"a": 1}]])
def test_a_column_of_other_nested_values_is_refused(tmp_path: Path, cell: object) -> None:
    pl.DataFrame({"s": [cell]}).write_parquet(tmp_path / "city.parquet")
    with pytest.raises(InputError, match=r"city\.parquet: column s is of type \S.*; text is expected"):
        read_folder(tmp_path, ["s"])


def test_a_list_of_what_is_no_text_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"s": ["a"], "names": [[b"\xff"]]}).write_parquet(tmp_path / "city.parquet")
    with pytest.raises(InputError, match=r"city\.parquet: a column cannot be read as text"):
        read_folder(tmp_path, ["s"], ["names"])


def test_a_list_of_labels_is_no_label(tmp_path: Path) -> None:
    pl.DataFrame({"objectLabel": [["Norway", "Peru"]]}).write_parquet(tmp_path / "city.parquet")
    with pytest.raises(InputError, match=r"column objectLabel is of type List\(String\); text is expected"):
        read_folder(tmp_path, ["objectLabel"])


def test_a_text_of_a_list_that_would_be_read_as_two_is_refused(tmp_path: Path) -> None:
    names = [["x", None], None, ["y", "v|w"]]
    pl.DataFrame({"s": ["a", "b", "c"], "names": names}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: line 3: names: a text of the list holds '\|'; take it out"):
        read_folder(tmp_path, ["s"], ["names"])


def test_a_cell_may_hold_an_article(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text(f'id,text\n1,"two\nlines"\n2,{"x" * 200_000}\n')
    assert read_folder(tmp_path, ("id", "text"))["text"].str.len_chars().to_list() == [9, 200_000]


def test_a_byte_order_mark_and_other_line_ends(tmp_path: Path) -> None:
    rows = read_folder(folder(tmp_path, b"\xef\xbb\xbfs , r\r\na,b\r\n\r\nc,d\r\n"), ["s", "r"])
    assert rows.select("s", "r", "line").rows() == [("a", "b", 2), ("c", "d", 4)]


@pytest.mark.parametrize("name", ["subject_alias", "subjectAliases", "Subject_Aliases", "subject_aliasses"])
def test_a_misspelt_optional_column_is_refused(tmp_path: Path, name: str) -> None:
    target = folder(tmp_path, f"s,{name}\na,b\n".encode())
    with pytest.raises(InputError, match=rf"city\.csv: column {name} is not read; name it subject_aliases if"):
        read_folder(target, ["s"], ["subject_title", "subject_aliases", "object_aliases"])


def test_a_column_in_the_singular_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column Alias is not read; name it aliases if"):
        read_folder(folder(tmp_path, b"s,Alias\na,b\n"), ["s"], ["aliases", "class"])


@pytest.mark.parametrize("name", ["note", "subject_aliases_de", "object_aliases", "subject_country"])
def test_a_column_of_another_name_is_ignored(tmp_path: Path, name: str) -> None:
    target = folder(tmp_path, f"s,{name}\na,b\n".encode())
    assert read_folder(target, ["s"], ["subject_aliases", "object_aliases"])["s"].to_list() == ["a"]


CELLS = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS).filter(any), max_size=8))
def test_what_csv_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("s", "r"), *rows])
    target = folder(tmp_path_factory.mktemp("t"), buffer.getvalue().encode())
    cells = read_folder(target, ["s", "r"]).select("s", "r").rows()
    assert cells == [(s or None, r or None) for s, r in rows]


@settings(max_examples=500)
@example('s,r\n"a,b","c""d"\n, x \n')
@example("s,r\r\na,b\r\nc,\r\n")
@example('s,r\n"a\nb",c\n')
@given(st.text(alphabet='ab",\n\r ', max_size=14).map("s,r\n".__add__))
def test_any_text_reads_as_the_csv_module_reads_it(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    target = folder(tmp_path_factory.mktemp("t"), text.encode())
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    expected: list[tuple[str | None, str | None, int]] = []
    last_line, well_formed = 0, True
    try:
        for row in reader:
            well_formed = well_formed and len(row) in (0, 2)
            if len(row) == 2:
                expected.append((row[0] or None, row[1] or None, last_line + 1))
            last_line = reader.line_num
    except csv.Error:
        well_formed = False
    if well_formed:
        assert read_folder(target, ["s", "r"]).select("s", "r", "line").rows() == expected[1:]
    else:
        with pytest.raises(InputError, match=r"city.csv: line \d+: "):
            read_folder(target, ["s", "r"])


def test_hashes_follow_the_bytes(tmp_path: Path) -> None:
    target = folder(tmp_path, b"s\na\n")
    first = hashes(target)
    assert list(first) == ["city.csv"]
    folder(tmp_path, b"s\nb\n")
    assert hashes(target) != first
