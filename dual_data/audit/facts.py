"""Faults of a table as a set of facts: self-answers, mirrored facts, duplicates, ambiguous names."""

from __future__ import annotations

import polars as pl

INVERSES = {
    frozenset(pair)
    for pair in (
        ("capital", "capital of"),
        ("P36", "P1376"),
        ("contains the administrative territorial entity", "located in the administrative territorial entity"),
        ("P150", "P131"),
        ("part of", "has part(s)"),
        ("P361", "P527"),
        ("follows", "followed by"),
        ("P155", "P156"),
        ("replaces", "replaced by"),
        ("P1365", "P1366"),
        ("owned by", "owner of"),
        ("P127", "P1830"),
        ("parent organization", "has subsidiary"),
        ("P749", "P355"),
        ("participant", "participant in"),
        ("P710", "P1344"),
        ("child", "father"),
        ("child", "mother"),
        ("P40", "P22"),
        ("P40", "P25"),
        ("student", "student of"),
        ("P802", "P1066"),
        ("doctoral advisor", "doctoral student"),
        ("P184", "P185"),
        ("notable work", "author"),
        ("P800", "P50"),
        ("cause of", "has cause"),
        ("has effect", "has cause"),
        ("P1542", "P828"),
    )
}
"""Pairs of relations of which each states the other's facts from the other side. Any other relation counts as its own
inverse, so that a symmetric fact stated from both sides is found whatever the relation is called."""

_CANONICAL = {name: "|".join(sorted(pair)) for pair in INVERSES for name in pair}


def keyed(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with `subject_key` and `object_key`: the id where the table has one, else the label."""
    return rows.with_columns(
        pl.coalesce("subject_id", "subject_label").alias("subject_key"),
        pl.coalesce("object_id", "answer").alias("object_key"),
    )


def labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with both keys made of lower-cased labels, for tables of which one has no ids."""
    return rows.with_columns(
        pl.col("subject_label").str.to_lowercase().alias("subject_key"),
        pl.col("answer").str.to_lowercase().alias("object_key"),
    )


def has_ids(rows: pl.DataFrame) -> bool:
    """Whether the table names subjects and objects by id."""
    return not (rows["subject_id"].drop_nulls().is_empty() or rows["object_id"].drop_nulls().is_empty())


def self_answer_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows whose answer is their subject's label."""
    known = rows.drop_nulls(["subject_label", "answer"])
    if known.is_empty():
        return None
    same = known["subject_label"].str.to_lowercase() == known["answer"].str.to_lowercase()
    return int(same.sum()) / known.height


def mirrored_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows that state the fact of another row from the other side."""
    known = keyed(rows).drop_nulls(["subject_key", "relation", "object_key"])
    if known.is_empty():
        return None
    return _mirrored(known, known).height / known.height


def mirrored_facts(first: pl.DataFrame, second: pl.DataFrame) -> int | None:
    """How many distinct facts of `first` stand in `second` from the other side; both with keys, None without facts."""
    columns = ["subject_key", "relation", "object_key"]
    left, right = first.drop_nulls(columns).unique(columns), second.drop_nulls(columns)
    return None if left.is_empty() or right.is_empty() else _mirrored(left, right).height


def _mirrored(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    canonical = pl.col("relation").replace(_CANONICAL).alias("both_ways")
    turned = right.with_columns(canonical).select(
        "both_ways", subject_key="object_key", object_key="subject_key", other="relation"
    )
    matched = left.filter(pl.col("subject_key") != pl.col("object_key")).with_row_index().with_columns(canonical)
    pairs = matched.join(turned, on=["subject_key", "object_key", "both_ways"])
    # Of a pair of inverse relations only the two different ones mirror each other; any other relation mirrors itself.
    inverse = pl.col("relation").is_in(list(_CANONICAL))
    return pairs.filter(inverse == (pl.col("relation") != pl.col("other"))).unique("index")


def duplicate_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows that repeat an earlier row's fact (its question and answer, where there are no facts)."""
    facts = keyed(rows).drop_nulls(["subject_key", "relation", "object_key"])
    columns = ["subject_key", "relation", "object_key"]
    if facts.is_empty():
        facts, columns = rows.drop_nulls(["question", "answer"]), ["question", "answer"]
    if facts.is_empty():
        return None
    return 1 - facts.n_unique(columns) / facts.height


def bare_id_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows whose subject or answer is an entity's id instead of its name."""
    known = rows.drop_nulls("answer")
    bare = [
        pl.col(column).str.contains(r"^[QP][1-9]\d*$").fill_null(value=False) for column in ("subject_label", "answer")
    ]
    return known.filter(pl.any_horizontal(bare)).height / known.height if known.height else None


def ambiguous_subjects(tables: list[pl.DataFrame]) -> frozenset[str]:
    """Subjects, as questions name them, that stand for several entities.

    By id: one name with two ids. Without ids: one name with two countries ("country" or P17), since a place has one.
    """
    columns = ["subject", "subject_id", "relation", "answer"]
    rows = (
        pl.concat([table.select(columns) for table in tables])
        if tables
        else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    )
    with_id = (
        rows.drop_nulls(["subject", "subject_id"]).group_by("subject").agg(pl.col("subject_id").n_unique().alias("n"))
    )
    countries = (
        rows.filter(pl.col("subject_id").is_null() & pl.col("relation").is_in(["country", "P17"]))
        .drop_nulls("subject")
        .group_by("subject")
        .agg(pl.col("answer").n_unique().alias("n"))
    )
    several = [frame.filter(pl.col("n") > 1)["subject"] for frame in (with_id, countries)]
    return frozenset(pl.concat(several).to_list())
