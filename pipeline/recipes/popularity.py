"""Popularity: how well known the subject and the object of a fact are, by the signal named in a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from dual_data.errors import InputError
from dual_data.schema import FACT_ID
from dual_data.sources.tables.files import location, read_file

EntitySignal = Literal["inbound_links", "sitelinks", "mentions"]
Signal = Literal[EntitySignal, "salience", "given"]
Side = Literal["subject", "object", "sum"]
CAPPED = ("capped_subject", "capped_object")
"""Columns of `signals` that mark capped counts; no table that is written has them, for `links` has `capped`."""


def signals(facts: pl.DataFrame, links: pl.DataFrame, salience: pl.DataFrame) -> pl.DataFrame:
    """One row per fact: every signal of its subject and object, and the judge's salience; null where unknown.

    Columns: fact_id; {inbound_links, sitelinks, mentions}_{subject, object}; capped_{subject, object}, whether there
    may be more inbound links than counted; salience, its spread and low_mass. A literal object has no signals.
    """
    counts = links.select("qid", "inbound_links", "sitelinks", "capped")
    rows = facts
    for side in ("subject", "object"):
        names = {name: f"{name}_{side}" for name in ("inbound_links", "sitelinks", "capped")}
        of_side = counts.rename({"qid": f"{side}_qid", **names})
        rows = rows.join(of_side, on=f"{side}_qid", how="left").with_columns(
            pl.col(f"capped_{side}").fill_null(value=False),
            pl.coalesce(f"sitelinks_{side}", f"{side}_sitelinks").alias(f"sitelinks_{side}"),
            pl.when(pl.col(f"{side}_qid").is_not_null()).then(f"{side}_mentions").alias(f"mentions_{side}"),
        )
    judged = salience.select("fact_id", salience="score", salience_spread="spread", salience_low_mass="low_mass")
    return rows.join(judged, on="fact_id", how="left").select(
        "fact_id",
        *(f"{signal}_{side}" for signal in get_args(EntitySignal) for side in ("subject", "object")),
        *CAPPED,
        "salience",
        "salience_spread",
        "salience_low_mass",
    )


def read_given(path: Path) -> pl.DataFrame:
    """Columns fact_id and given: the popularity of facts by a measure of the user's own, from a CSV or Parquet table.

    Raises InputError, with the line, for what is no id or no finite number, and for a fact that is there twice.
    """
    fact, value = pl.col("fact_id"), pl.col("popularity").cast(pl.Float64, strict=False)
    no_id = "fact_id {fact_id!r} is not the id of a fact, 16 hexadecimal digits as in facts/data.parquet"
    faults = {
        "fact_id is empty": fact.is_null(),
        no_id: ~fact.str.contains(FACT_ID),
        "popularity is empty; leave out facts whose popularity is unknown": pl.col("popularity").is_null(),
        "popularity {popularity!r} is not a number": ~value.is_finite(),
        "the fact {fact_id} has more than one row; keep one": fact.is_duplicated(),
    }
    rows = read_file(path, ("fact_id", "popularity"))
    for fault, has_it in faults.items():
        for row in rows.filter(has_it.fill_null(value=True)).head(1).iter_rows(named=True):
            raise InputError(f"{location(row)}: {fault.format(**row)}")
    return rows.select(fact, given=value)


def popularity(signal: Signal, side: Side) -> pl.Expr:
    """The popularity of a fact over the columns of `signals`; salience and given are of the fact and have no sides."""
    if signal in ("salience", "given"):
        return pl.col(signal)
    if side == "sum":
        return pl.col(f"{signal}_subject") + pl.col(f"{signal}_object")
    return pl.col(f"{signal}_{side}")


def capped(signal: Signal, side: Side) -> pl.Expr:
    """Whether `popularity` is only a lower bound, because counting stopped at the cap."""
    if signal != "inbound_links":
        return pl.lit(value=False)
    return pl.any_horizontal(CAPPED) if side == "sum" else pl.col(f"capped_{side}")


def stopped(where: str) -> str:
    """The reason for a split that a capped count makes impossible."""
    return f"counting stopped at links.cap {where}; raise it, or set links.method to cirrusdoc or dump"
