"""The hash of a schema covers its columns and rules, and nothing else."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from dual_data.schema import describe


def ordered(strictly: bool) -> type[dy.Schema]:
    """One of two schemas with the same name whose rules differ in their body alone."""
    if strictly:

        class Spans(dy.Schema):
            start = dy.Int64()
            end = dy.Int64()

            @dy.rule()
            def in_order(cls) -> pl.Expr:  # noqa: N805 - dataframely hands it the class
                return pl.col("start") < pl.col("end")

        return Spans

    class Spans(dy.Schema):  # type: ignore[no-redef]
        start = dy.Int64()
        end = dy.Int64()

        @dy.rule()
        def in_order(cls) -> pl.Expr:  # noqa: N805 - dataframely hands it the class
            return pl.col("start") <= pl.col("end")

    return Spans


def test_a_rule_belongs_to_the_hash() -> None:
    assert describe(ordered(True)) != describe(ordered(False))
    assert describe(ordered(True)) == describe(ordered(True))


def test_an_inherited_rule_belongs_to_the_hash() -> None:
    def named(base: type[dy.Schema]) -> str:
        return describe(type("Named", (base,), {"note": dy.String()}))

    assert named(ordered(True)) != named(ordered(False))


def test_a_column_and_its_bounds_belong_to_the_hash() -> None:
    def hash_of(column: dy.Column) -> str:
        return describe(type("One", (dy.Schema,), {"a": column}))

    assert len({hash_of(column) for column in (dy.Int64(), dy.Int64(min=0), dy.Int32(), dy.Int64(nullable=True))}) == 4
    assert hash_of(dy.Int64(min=0)) == hash_of(dy.Int64(min=0))


def test_the_hash_is_the_same_in_every_process() -> None:
    assert describe(ordered(True)) == "390c1383f5ae26970eb732ce0d386bb45108ea394880edc777f21c306c0e075b"
