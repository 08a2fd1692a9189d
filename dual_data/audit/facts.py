"""Faults of a table as a set of facts: self-answers, mirrored facts, duplicates, ambiguous names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import polars as pl

_INVERSE_PAIRS = (
    ("capital", "P36", "capital of", "P1376"),
    (
        "contains the administrative territorial entity",
        "P150",
        "located in the administrative territorial entity",
        "P131",
    ),
    ("part of", "P361", "has part(s)", "P527"),
    ("follows", "P155", "followed by", "P156"),
    ("replaces", "P1365", "replaced by", "P1366"),
    ("owned by", "P127", "owner of", "P1830"),
    ("parent organization", "P749", "has subsidiary", "P355"),
    ("participant", "P710", "participant in", "P1344"),
    ("child", "P40", "father", "P22"),
    ("child", "P40", "mother", "P25"),
    ("student", "P802", "student of", "P1066"),
    ("doctoral advisor", "P184", "doctoral student", "P185"),
    ("notable work", "P800", "author", "P50"),
    ("has effect", "P1542", "has cause", "P828"),
)
"""Label and property of a relation, and of its inverse."""

_INVERSES = defaultdict[str, set[str]](set)
for _label, _id, _inverse_label, _inverse_id in _INVERSE_PAIRS:
    for _relation, _inverse in ((_label, _inverse_label), (_id, _inverse_id)):
        _INVERSES[_relation].add(_inverse)
        _INVERSES[_inverse].add(_relation)

_VARIANT = re.compile(r"P\d+_")

FACT = ("subject_key", "relation", "object_key")
Fact = tuple[str, str, str]
"""Subject, relation, object."""
IDENTIFIED = pl.col("subject_id").is_not_null() & pl.any_horizontal(pl.col("object_id", "object_kind").is_not_null())
"""Whether a row names its subject by id, and its object too unless that is a literal, which has none."""


def inverses(relation: str) -> set[str]:
    """The inverse relations, which state the same facts from the other side, by label or property.

    A relation without a known inverse counts as its own inverse, so that a symmetric fact stated from both sides is
    found for any relation. P17_river stands for its property.
    """
    own = _property(relation)
    return _INVERSES.get(own, {own})


def _property(relation: str) -> str:
    """The property of a variant such as P17_river; any other relation as it is."""
    return relation.partition("_")[0] if _VARIANT.match(relation) else relation


def keyed(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with `subject_key` and `object_key`: the id where the table has one, else the label."""
    return rows.with_columns(
        pl.coalesce("subject_id", "subject_label").alias("subject_key"),
        pl.coalesce("object_id", "answer").alias("object_key"),
    )


def labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with both keys from lower-cased labels, to compare two tables of which one has no ids."""
    return rows.with_columns(
        pl.col("subject_label").str.to_lowercase().alias("subject_key"),
        pl.col("answer").str.to_lowercase().alias("object_key"),
    )


def share(mask: pl.Series) -> float | None:
    """Share of the rows for which the mask is true; None without rows."""
    return int(mask.sum()) / len(mask) if len(mask) else None


def self_answer_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows whose answer is their subject's label."""
    known = rows.drop_nulls(["subject_label", "answer"])
    return share(known["subject_label"].str.to_lowercase() == known["answer"].str.to_lowercase())


def several_names_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows with an id that has several names in the table, case aside: for all but one it is wrong.

    Of the rows that have any id; None if none has.
    """
    ends = (("subject_id", "subject_label"), ("object_id", "answer"))
    names = pl.concat([rows.select(id=own, name=pl.col(label).str.to_lowercase()) for own, label in ends])
    named = names.drop_nulls().group_by("id").agg(pl.col("name").n_unique())
    ids = pl.col("subject_id", "object_id")
    known = rows.filter(pl.any_horizontal(ids.is_not_null()))
    several = named.filter(pl.col("name") > 1)["id"].implode()
    return share(known.select(pl.any_horizontal(ids.is_in(several).fill_null(False))).to_series())


def mirrored_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows that state the fact of another row from the other side."""
    known = keyed(rows).select(FACT).drop_nulls()
    if known.is_empty():
        return None
    facts = list(known.iter_rows())
    return mirrored_facts(facts, facts) / len(facts)


def mirrored_facts(first: Iterable[Fact], second: Iterable[Fact]) -> int:
    """How many facts of `first` are stated from the other side in `second`."""
    reverses = defaultdict[tuple[str, str], list[str]](list)  # (object, subject) -> the relations between them
    for subject, relation, value in second:
        reverses[value, subject].append(relation)
    return sum(
        subject != value and not inverses(relation).isdisjoint(map(_property, reverses[subject, value]))
        for subject, relation, value in first
        if (subject, value) in reverses
    )


def duplicate_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows that repeat an earlier row's fact (or its question and answer, if there are no facts)."""
    columns = list(FACT)
    facts = keyed(rows).drop_nulls(columns)
    if facts.is_empty():
        facts, columns = rows.drop_nulls(["question", "answer"]), ["question", "answer"]
    if facts.is_empty():
        return None
    return 1 - facts.n_unique(columns) / facts.height


def bare_id_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows whose subject or answer is an entity's id instead of its name."""
    known = rows.drop_nulls("answer")
    bare = pl.any_horizontal(pl.col("subject_label", "answer").str.contains(r"^[QP][1-9]\d*$"))
    return share(known.select(bare).to_series())


def ambiguous_subjects(tables: list[pl.DataFrame]) -> frozenset[str]:
    """Names of subjects in questions that stand for several entities.

    With ids: one name with two ids. Without ids: one name with two countries ("country" or P17), since a place has one.
    """
    columns = ["subject", "subject_id", "relation", "answer"]
    none = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    rows = pl.concat([none, *(table.select(columns) for table in tables)]).drop_nulls("subject")
    with_id = pl.col("subject_id").is_not_null()
    is_country = ~with_id & pl.col("relation").is_in(["country", "P17"]) & pl.col("answer").is_not_null()
    entities, countries = pl.col("subject_id").filter(with_id), pl.col("answer").filter(is_country)
    several = (entities.n_unique() > 1) | (countries.n_unique() > 1)
    return frozenset(rows.group_by("subject").agg(several=several).filter("several")["subject"])
