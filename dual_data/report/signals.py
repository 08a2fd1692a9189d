"""Popularity of the subject and the object of every fact, by the best available signal."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from dual_data.released import IN_DEGREE
from dual_data.report.read import Built

METHODS = {
    "cirrusdoc": "Wikipedia pages that link there (cirrusdoc, approximate)",
    "linkshere": "Wikipedia pages that link there (linkshere, exact)",
    "dump": "Wikipedia pages that link there (dump, exact)",
    IN_DEGREE: "subjects of the embedded graph that state something about it",
}


class Popularity(NamedTuple):
    """A signal and its values."""

    name: str
    """Short, for axes."""
    meaning: str
    """A sentence for captions."""
    counts: pl.DataFrame
    """One row for each fact: fact_id, subject_qid, subject and object (Float64, null where unknown)."""
    is_links: bool
    """Whether it counts links, as the section on salience prefers."""


def popularity(built: Built) -> Popularity | None:
    """Inbound links if they were counted; else sitelinks; else how often the input names the entity."""
    facts, links = built.table("facts"), built.table("links")
    if facts is None or facts.is_empty():
        return None
    if links is not None and links["inbound_links"].null_count() < links.height:
        counts = facts.select("fact_id", "subject_qid", "object_qid")
        for side in ("subject", "object"):
            of_side = links.select(pl.col("qid").alias(f"{side}_qid"), pl.col("inbound_links").alias(side))
            counts = counts.join(of_side, on=f"{side}_qid", how="left")
        name = "in-degree" if (links["method"] == IN_DEGREE).all() else "inbound links"
        return Popularity(name, f"{name.capitalize()}: {_meaning(links)}.", _values(counts), is_links=True)
    if facts["subject_sitelinks"].null_count() < facts.height:
        counts = facts.rename({"subject_sitelinks": "subject", "object_sitelinks": "object"})
        return Popularity("sitelinks", "Sitelinks: Wikimedia pages about the entity.", _values(counts), is_links=False)
    counts = facts.with_columns(
        subject=pl.col("subject_mentions"), object=pl.when(pl.col("object_qid").is_not_null()).then("object_mentions")
    )
    meaning = "Mentions: distinct triplets of the whole input that name the entity."
    return Popularity("mentions", meaning, _values(counts), is_links=False)


def _meaning(links: pl.DataFrame) -> str:
    """The meaning of most counts, then of those counted in other ways because of gaps in the search index."""
    counted = links.drop_nulls("inbound_links")
    methods = counted.group_by("method").len().sort("len", "method", descending=[True, False])
    meanings = [(METHODS.get(method, f"links counted by {method}"), n) for method, n in methods.iter_rows()]
    remarks = [f"; for {n:,} of {counted.height:,} entities: {meaning}" for meaning, n in meanings[1:]]
    stopped = counted["capped"].sum()
    cut = f"; for {stopped:,} of {counted.height:,} entities there may be more, for counting stopped at the cap"
    return meanings[0][0] + "".join(remarks) + (cut if stopped else "")


def _values(counts: pl.DataFrame) -> pl.DataFrame:
    return counts.select("fact_id", "subject_qid", pl.col("subject", "object").cast(pl.Float64))
