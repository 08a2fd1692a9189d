"""SQL dumps: what was written comes back, whichever way it is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dual_data.errors import InputError
from dual_data.sources.dumps import sql_frames
from dual_data.sources.dumps.kept import LAYOUTS
from dual_data.sources.dumps.sql import Column, Statement, rows, statements, unescape
from tests.sources.dumps.mysqldump import COLUMNS, dump, escape

MIXED = {"a": "int(8) NOT NULL", "b": "varbinary(255) NOT NULL", "c": "varbinary(255) DEFAULT NULL", "d": "double"}
TRICKY = st.lists(
    st.sampled_from([b"'", b"\\", b"),(", b"\n", b'"', b",", b"(", b"\0", b"\x1a", b"_binary ", b"NULL", b"a", b"\xc3",
                     b"\xc3\xa9", b"\r", b"--", b";", b" "]), max_size=6,
).map(b"".join)  # fmt: skip
TEXTS = TRICKY | st.binary(max_size=12) | st.text(max_size=8).map(str.encode)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**62), 2**62),
        TEXTS,
        st.none() | TEXTS,
        st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    ),
    min_size=1,
    max_size=8,
)


def text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def blocks(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    """Whole lines, as a Source gives them."""
    lines = data.splitlines(keepends=True) if b"\r" not in data else [line + b"\n" for line in data.split(b"\n")]
    for start in range(0, len(lines), 3):
        yield b"".join(lines[start : start + 3])


def parsed(data: bytes, table: str) -> list[tuple[object, ...]]:
    values: list[tuple[object, ...]] = []
    for line in statements(blocks(data), table, "x.sql"):
        values += rows(line.values, line.columns, "x.sql")
    return values


@given(st.binary(max_size=40) | TRICKY)
def test_unescaping_undoes_escaping(value: bytes) -> None:
    assert unescape(escape(value)) == value
    assert b"\n" not in escape(value)


def test_escapes_mean_what_mysql_says() -> None:
    assert unescape(rb"\0\b\n\r\t\Z\'\"\\\%\_\x") == b"\0\b\n\r\t\x1a'\"\\" + rb"\%\_" + b"x"
    assert unescape(b"it''s") == b"it's"


@given(ROWS, st.booleans(), st.booleans(), st.integers(1, 4))
@example([(1, b"x,_binary ", None, None), (2, b"_binary '", b"NULL", 0.5)], True, False, 2)
@example([(1, b"),(", b"\\", None), (2, b"\\'),('", None, None)], False, True, 2)
def test_rows_come_back_exactly_and_fast(
    given_rows: list[tuple[int, bytes, bytes | None, float | None]], mark: bool, row_a_line: bool, a_line: int
) -> None:
    data = dump("t", given_rows, MIXED, mark=mark, row_a_line=row_a_line, a_line=a_line)
    assert parsed(data, "t") == given_rows
    results = [
        sql_frames.read(batch, ["a", "c", "b"], "x.sql")
        for batch in sql_frames.batches(statements(blocks(data), "t", "x.sql"), 40)
    ]
    table = [row for result in results for row in result.frame.rows()]
    assert table == [(a, text_of(c), text_of(b)) for a, b, c, _ in given_rows]
    invalid = sum(1 for _, b, c, _ in given_rows for value in (b, c) if value is not None and not is_utf8(value))
    assert sum(result.invalid for result in results) == invalid


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("mark", [False, True])
def test_ordinary_titles_take_the_fast_way(mark: bool) -> None:
    titles = [b"O'Brien", b'"Weird_Al"', b"AC\\DC", b"\xc3\x89t\xc3\xa9", b"a),(b", b"(x)", b"NULL", b""]
    data = dump("linktarget", [(n, 0, title) for n, title in enumerate(titles)], mark=mark)
    (batch,) = sql_frames.batches(statements(blocks(data), "linktarget", "x.sql"), 1 << 20)
    result = sql_frames.read(batch, ["lt_id", "lt_title"], "x.sql")
    assert not result.exactly
    assert result.frame["lt_title"].to_list() == [title.decode() for title in titles]


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        (b",'", b", '"),  # as phpMyAdmin writes
        (b"'Rome'", b"0x526f6d65"),  # mysqldump --hex-blob, which leaves empty strings as they are
    ],
)
def test_what_other_programs_write_is_read_alike(plain: bytes, written: bytes) -> None:
    data = dump("linktarget", [(1, 0, b""), (2, 0, b"Rome")])
    (batch,) = sql_frames.batches(statements(blocks(data.replace(plain, written)), "linktarget", "x.sql"), 1 << 20)
    assert sql_frames.read(batch, ["lt_id", "lt_title"], "x.sql").frame.rows() == [(1, ""), (2, "Rome")]


def test_marks_that_the_first_row_lacks_are_no_part_of_the_strings() -> None:
    data = dump("t", [(1, b"", None, None), (2, b"Rome", b"it", None)], MIXED, mark=True).replace(
        b"(1,_binary ", b"(1,"
    )
    (batch,) = sql_frames.batches(statements(blocks(data), "t", "x.sql"), 1 << 20)
    assert sql_frames.read(batch, ["a", "b", "c"], "x.sql").frame.rows() == [(1, "", None), (2, "Rome", "it")]


def test_columns_are_found_by_name_in_any_order() -> None:
    columns = {"pl_from": "int", "pl_target_id": "bigint", "pl_from_namespace": "int"}
    data = dump("pagelinks", [(7, 99, 0), (8, 98, 4)], columns)
    (batch,) = sql_frames.batches(statements(blocks(data), "pagelinks", "x.sql"), 1 << 20)
    assert sql_frames.read(batch, ["pl_from_namespace", "pl_target_id"], "x").frame.rows() == [(0, 99), (4, 98)]
    named = data.replace(b"`pagelinks` VALUES", b"`pagelinks` (`pl_target_id`, `pl_from`,`pl_from_namespace`) VALUES")
    (batch,) = sql_frames.batches(statements(blocks(named), "pagelinks", "x.sql"), 1 << 20)
    assert sql_frames.read(batch, ["pl_target_id"], "x").frame["pl_target_id"].to_list() == [7, 8]


def test_positions_are_those_of_the_lines() -> None:
    data = dump("pagelinks", [(n, 0, n) for n in range(10)], a_line=3)
    for line in statements(blocks(data), "pagelinks", "x.sql"):
        assert data[: line.end].endswith(b";\n")
        assert line.values in data[: line.end].rsplit(b"INSERT", 1)[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no CREATE TABLE `page`"),
        (dump("linktarget", [(1, 0, b"A")]), "rows of 'linktarget' without its CREATE TABLE"),
        (dump("page", [(1, 0, b"A", 0, 0.5, None)]).partition(b";\nUNLOCK")[0], "ends inside a statement"),
        (dump("page", [(1, 0, b"A", 0, 0.5)]), "5 values for 6 columns"),
        (dump("page", [(1, 0, b"A", 0, 0.5, None, 3)]), "6 values are expected"),
        (dump("page", [(1, 0, b"A", 0, 0.5, None)]).replace(b"VALUES (", b"VALUES 5"), r"'\(' is expected"),
        (
            dump("page", [(1, 0, b"A", 0, 0.5, None)]).replace(b"VALUES (1", b"VALUES ('x'"),
            "\"'x',\" is no value of page_id",
        ),
        (dump("page", [(1, 0, b"A", 0, 0.5, None)]).replace(b"'A'", b"0x414"), "b'0x414,' is no value of page_title"),
    ],
)
def test_what_is_no_dump_of_the_table_is_said(data: bytes, message: str) -> None:
    batches = sql_frames.batches(statements(blocks(data), "page", "page.sql"), 1 << 20)
    with pytest.raises(InputError, match=message):
        [sql_frames.read(batch, ["page_id"], "page.sql") for batch in batches]


def test_a_batch_of_wrong_width_is_no_row_of_nulls() -> None:
    columns = tuple(Column(name, int, False) for name in "ab")
    with pytest.raises(InputError, match="1 value for 2 columns"):
        sql_frames.read(Statement(columns, b"(1,2),(3)", 0), ["a"], "x.sql")


def test_every_table_has_columns_that_the_import_takes() -> None:
    assert COLUMNS.keys() == LAYOUTS.keys()
    for name, layout in LAYOUTS.items():
        assert set(layout.columns) <= COLUMNS[name].keys(), name
