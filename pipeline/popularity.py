"""Popularity: how well known the subject and the object of a fact are, by the signal that a recipe names."""

from __future__ import annotations

from typing import Literal

import polars as pl

EntitySignal = Literal["inbound_links", "sitelinks", "mentions"]
Signal = Literal["inbound_links", "sitelinks", "mentions", "salience"]
Side = Literal["subject", "object", "sum"]


def signals(facts: pl.DataFrame, links: pl.DataFrame, salience: pl.DataFrame) -> pl.DataFrame:
    """One row a fact: every signal of its subject and object, and the judge's salience; null where it is not known.

    Columns: fact_id; {inbound_links, sitelinks, mentions}_{subject, object}; salience, its spread and low_mass. A
    literal object has none.
    """
    counted = links.select("qid", "inbound_links", "sitelinks")
    rows = facts.select(
        "fact_id",
        "subject_qid",
        "object_qid",
        "subject_sitelinks",
        "object_sitelinks",
        "subject_mentions",
        "object_mentions",
    )
    for side in ("subject", "object"):
        of_side = counted.rename(
            {"qid": f"{side}_qid", "inbound_links": f"inbound_links_{side}", "sitelinks": f"sitelinks_{side}"}
        )
        rows = rows.join(of_side, on=f"{side}_qid", how="left").with_columns(
            pl.coalesce(f"sitelinks_{side}", f"{side}_sitelinks").alias(f"sitelinks_{side}"),
            pl.when(pl.col(f"{side}_qid").is_not_null()).then(f"{side}_mentions").alias(f"mentions_{side}"),
        )
    judged = salience.select("fact_id", salience="score", salience_spread="spread", salience_low_mass="low_mass")
    return rows.join(judged, on="fact_id", how="left").select(
        "fact_id",
        *(
            f"{signal}_{side}"
            for signal in ("inbound_links", "sitelinks", "mentions")
            for side in ("subject", "object")
        ),
        "salience",
        "salience_spread",
        "salience_low_mass",
    )


def popularity(signal: Signal, side: Side) -> pl.Expr:
    """The popularity of a fact over the columns of `signals`; salience has no sides: it is of the fact."""
    if signal == "salience":
        return pl.col("salience")
    if side == "sum":
        return pl.col(f"{signal}_subject") + pl.col(f"{signal}_object")
    return pl.col(f"{signal}_{side}")
