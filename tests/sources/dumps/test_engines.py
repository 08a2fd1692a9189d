"""What an engine does in its own way: the same rows as the plain relational form gives."""

from __future__ import annotations

from pathlib import Path

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dual_data.sources.dumps.engines import Polars

DENSE = pl.DataFrame({"number": [7, 2, 3], "value": [1, 5, 5]}, schema={"number": pl.Int64, "value": pl.Int32})
ROWS = pl.DataFrame({"number": [3, 7, 7, None, 0, -1, 1, 8, 9, 2**40], "row": range(10)})


def looked_up(table: pl.DataFrame, rows: pl.DataFrame = ROWS) -> tuple[pl.DataFrame, bool]:
    """What a lookup finds, and whether it needed a join."""
    engine = Polars()
    frame = engine.lookup(table, on="number")(engine.local(rows))
    plan = frame.to_native().explain()
    return engine.collect(frame).select("row", "number", "value").sort("row", "value"), "JOIN" in plan


def joined(table: pl.DataFrame, rows: pl.DataFrame = ROWS) -> pl.DataFrame:
    return rows.join(table, on="number").select("row", "number", "value").sort("row", "value")


@pytest.mark.parametrize(
    ("table", "by_join"),
    [
        (DENSE, False),
        (pl.concat([DENSE, DENSE.select(pl.lit(None, pl.Int64).alias("number"), "value").head(1)]), False),
        (DENSE.with_columns(pl.col("value").cast(pl.Int64) + 2**40), False),
        (pl.concat([DENSE, DENSE.select(number="number", value=pl.col("value") + 1)]), True),
        (DENSE.with_columns(pl.col("number") * 100), True),
        (DENSE.with_columns(pl.col("number") - 2), True),
        (DENSE.clear(), True),
    ],
    ids=["numbers", "nothing", "large", "repeated", "far apart", "zero", "empty"],
)
def test_a_lookup_is_a_join(table: pl.DataFrame, by_join: bool) -> None:
    rows, needed_join = looked_up(table)
    assert rows.equals(joined(table))
    assert rows.schema == joined(table).schema
    assert needed_join == by_join


def test_titles_are_looked_up_too() -> None:
    table, rows = (frame.with_columns(pl.col("number").cast(pl.String)) for frame in (DENSE, ROWS))
    assert looked_up(table, rows)[0].equals(joined(table, rows))
    assert joined(table, rows).height == 3


def test_a_path_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a[1]", "a1"):
        (tmp_path / name).mkdir()
        pl.DataFrame({"name": [name]}).write_parquet(tmp_path / name / "rows.parquet")
    frame = Polars().scan([tmp_path / "a[1]" / "rows.parquet"])
    assert Polars().collect(frame)["name"].to_list() == ["a[1]"]


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 2, 2**32 - 1]))))
def test_a_tally_counts_what_differs(pairs: list[tuple[int, int]]) -> None:
    rows = pl.DataFrame(pairs, schema={"by": pl.Int32, "value": pl.Int64}, orient="row")
    counts = Polars().tally(nw.from_native(rows.lazy()), by="by", value="value")
    assert dict(counts.iter_rows()) == {by: len({value for key, value in pairs if key == by}) for by, _ in pairs}
