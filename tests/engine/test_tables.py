"""Content hashes and whole writes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.engine.tables import content_hash, write_table, write_whole

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
    one: list[tuple[str, int | None, list[str]]], other: list[tuple[str, int | None, list[str]]]
) -> None:
    assert (content_hash(frame(one)) == content_hash(frame(other))) == (
        sorted(map(repr, one)) == sorted(map(repr, other))
    )


def test_names_and_types_belong_to_the_hash() -> None:
    one = pl.DataFrame({"a": [1]})
    assert content_hash(one) != content_hash(one.rename({"a": "b"}))
    assert content_hash(one) != content_hash(one.cast(pl.Int32))


def test_the_hash_is_what_it_always_was() -> None:
    assert content_hash(frame([("é", None, ["x"]), ("a", 1, [])])) == (
        "5728efce8992d4a4fc18cb208387a50c0b87aab452a507a062a0226638dc05fb"
    )


def test_parquet_keeps_the_hash(tmp_path: Path) -> None:
    rows = frame([("é", None, ["x"]), ("a", 1, [])])
    write_table(rows, tmp_path / "deep" / "x.parquet")
    assert content_hash(pl.read_parquet(tmp_path / "deep" / "x.parquet")) == content_hash(rows)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "x", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"
