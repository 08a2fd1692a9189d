"""Content hashes and whole files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.engine.tables import content_hash, read_parquet
from dual_data.ids import digest
from dual_data.system.files import write_parquet
from tests.faults.disk import no_room

ROWS = st.lists(
    st.tuples(st.text(), st.one_of(st.none(), st.integers(-(2**40), 2**40)), st.lists(st.text(), max_size=3))
)


def frame(rows: list[tuple[str, int | None, list[str]]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Int64, "c": pl.List(pl.String)}, orient="row")


@given(ROWS, st.randoms())
def test_the_hash_ignores_the_order_of_rows(rows: list[tuple[str, int | None, list[str]]], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert content_hash(frame(rows)) == content_hash(frame(shuffled))


@given(ROWS, ROWS)
def test_the_hash_tells_rows_apart(
    first: list[tuple[str, int | None, list[str]]], second: list[tuple[str, int | None, list[str]]]
) -> None:
    assert (content_hash(frame(first)) == content_hash(frame(second))) == (
        sorted(map(repr, first)) == sorted(map(repr, second))
    )


def test_names_and_types_belong_to_the_hash() -> None:
    frame = pl.DataFrame({"a": [1]})
    assert content_hash(frame) != content_hash(frame.rename({"a": "b"}))
    assert content_hash(frame) != content_hash(frame.cast(pl.Int32))


NUMBERS = st.one_of(st.none(), st.floats(width=32).map(lambda number: number + 0.0))
NESTED = st.lists(st.tuples(NUMBERS, st.lists(NUMBERS, max_size=3), st.one_of(st.none(), st.tuples(NUMBERS, NUMBERS))))
Nested = list[tuple[float | None, list[float | None], tuple[float | None, float | None] | None]]


def numbers(rows: Nested) -> pl.DataFrame:
    dtype = pl.Struct({"x": pl.Float64, "y": pl.Float32})
    columns = {
        "a": pl.Series([number for number, _, _ in rows], dtype=pl.Float64),
        "b": pl.Series([many for _, many, _ in rows], dtype=pl.List(pl.Float64)),
        "c": pl.Series([pair and {"x": pair[0], "y": pair[1]} for _, _, pair in rows], dtype=dtype),
    }
    return pl.DataFrame(columns)


@given(NESTED, NESTED, st.randoms())
def test_the_hash_tells_absent_infinite_and_undefined_numbers_apart(
    first: Nested, second: Nested, random: object
) -> None:
    equal = sorted(map(repr, first)) == sorted(map(repr, second))
    assert (content_hash(numbers(first)) == content_hash(numbers(second))) == equal
    shuffled = list(first)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert content_hash(numbers(first)) == content_hash(numbers(shuffled))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"x": x}, lambda x: [{"x": [x, None]}]])
def test_numbers_that_json_has_no_word_for_have_hashes_of_their_own(wrap: Callable[[float | None], object]) -> None:
    odd = [None, float("nan"), float("inf"), float("-inf")]
    dtype = pl.Series([wrap(0.0)]).dtype
    hashes = {content_hash(pl.DataFrame({"a": pl.Series([wrap(1.5), wrap(x)], dtype=dtype)})) for x in odd}
    assert len(hashes) == len(odd)


def test_an_array_of_undefined_numbers_is_no_array_of_absent_ones() -> None:
    dtype = pl.Array(pl.Float64, 2)
    absent, undefined = (pl.DataFrame({"a": pl.Series([[1.0, x]], dtype=dtype)}) for x in (None, float("nan")))
    assert content_hash(absent) != content_hash(undefined)


def test_the_hash_of_numbers_is_what_it_always_was() -> None:
    rows: Nested = [(0.1, [1.0, None], (2.5, 1e-3)), (None, [], None)]
    assert content_hash(numbers(rows)) == "c2cf498eb4ab81e3be9ab2f3927532670c75f944aff108d50e1daac27d9909b0"


def test_the_hash_is_what_it_always_was() -> None:
    assert content_hash(frame([("é", None, ["x"]), ("a", 1, [])])) == (
        "5728efce8992d4a4fc18cb208387a50c0b87aab452a507a062a0226638dc05fb"
    )


def test_parquet_keeps_the_hash(tmp_path: Path) -> None:
    rows = frame([("é", None, ["x"]), ("a", 1, [])])
    path = tmp_path / "deep" / "x.parquet"
    write_parquet(rows, path)
    assert content_hash(pl.read_parquet(path)) == content_hash(rows)


def test_a_table_for_which_the_disk_has_no_room_is_an_error_of_the_system(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match="File too large"):
        write_parquet(pl.DataFrame({"a": [digest(str(n)) for n in range(10_000)]}), tmp_path / "x.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_path_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a[1]", "a1"):
        write_parquet(frame([(name, 1, [])]), tmp_path / name / "x.parquet")
    assert read_parquet(tmp_path / "a[1]" / "x.parquet", "dual-data build")["a"].to_list() == ["a[1]"]
