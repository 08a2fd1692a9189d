"""Rare and popular facts selected in four ways: as published, or matched (see `STYLES`)."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data import sampling
from dual_data.errors import InputError

STYLES = ("published", "matched", "matched_answer", "matched_unguessable")
"""matched: on the length of the answer; matched_answer: on the answer; matched_unguessable: on the length, of facts
whose country the letters of the name do not give away."""
ROLES = ("retain_train", "retain_train", "retain_eval", "neighbor_relation", "format")
"""A city that is not to be forgotten gets one of these by hash."""
ANSWER_SHARE = 0.05
_FEWEST = 2


def splits(known: pl.DataFrame, style: str, most: int) -> dict[str, pl.DataFrame]:
    """Sets by name: rare and popular of at most `most` facts each, and what is kept, trained on or only measured.

    `known` are facts that the model knows, with a column popularity. published: the first and the last by popularity,
    whatever they ask for. The others take the lowest and the highest third and pair their facts, on the length of the
    answer or on the answer itself. No answer has more facts than 5 % of `most` on either side; with fewer pairs than
    `most` that is more than 5 % of them, but an exact limit would cost a quarter of them. Of their other sets, no
    answer has more than 5 %: else naming the commonest country would keep a third of the facts. Raises InputError where
    there is hardly a pair.
    """
    pool = sampling.with_rank(known.filter(pl.col("popularity").is_not_null()), "study")
    if style == "published":
        ordered = pool.sort("popularity", "rank")
        size = min(most, pool.height // 3)
        sides = {"rare": ordered.head(size), "popular": ordered.tail(size)}
    else:
        sides = _paired(pool.filter(~pl.col("guessable")) if style == "matched_unguessable" else pool, style, most)
    if sides["rare"].height < _FEWEST:
        raise InputError(
            f"{style}: {sides['rare'].height} pairs of {pool.height} known facts; ask the model more facts (--limit)"
        )
    forgotten = pl.concat([rows.select("subject") for rows in sides.values()])
    remaining = pool.join(forgotten, on="subject", how="anti").sort("rank")
    role = sampling.hash_rank(remaining["subject"], "role") % len(ROLES)
    with_roles = remaining.with_columns(
        role=role.cast(pl.Int64).replace_strict(dict(enumerate(ROLES)), return_dtype=pl.String)
    )
    others = {name: with_roles.filter(pl.col("role") == name) for name in dict.fromkeys(ROLES)}
    if style != "published":
        others = {name: _balanced(rows) for name, rows in others.items()}
    return {name: rows.drop("rank", "role", strict=False) for name, rows in (sides | others).items()}


def balance(sets: Mapping[str, pl.DataFrame]) -> dict[str, dict[str, float]]:
    """By set of known facts: numbers of facts and of distinct answers, share of the most frequent answer, and means of
    columns."""
    return {name: {
        "facts": float(rows.height),
        "answers": float(rows["answer"].n_unique()),
        "most_frequent_answer": rows["answer"].value_counts()["count"].to_numpy().max() / rows.height,
        "guessable": _mean(rows["guessable"]),
        "log_probability": _mean(rows["log_probability"]),
        "popularity": _mean(rows["popularity"]),
        "answer_length": _mean(rows["answer"].str.len_chars()),
    } for name, rows in sets.items() if rows.height}  # fmt: skip


def _balanced(rows: pl.DataFrame) -> pl.DataFrame:
    """The first rows such that no answer has more than its share of them."""
    answers = rows.select(sampling.numbered("answer")).to_series().to_numpy()
    return rows[sampling.within_share([answers], [ANSWER_SHARE], rows.height)]


def _paired(pool: pl.DataFrame, style: str, most: int) -> dict[str, pl.DataFrame]:
    cell = ["answer"] if style == "matched_answer" else ["length"]
    sided = sampling.thirds(
        pool.with_columns(
            length=pl.col("answer").str.len_chars(),
            bond=pl.col("fact_id"),
            most=pl.lit(sampling.most_of(most, ANSWER_SHARE)),
        ),
        "popularity",
        ["relation"],
    )
    columns = ["fact_id", "side", "rank", "subject", "bond", "answer", "most", "length"]
    pairs = sampling.matched_pairs(sided.select(columns), cell)
    chosen = pairs.sort("rank").head(most)
    return {
        side: chosen.select(fact_id=f"fact_id_{side}").join(pool, on="fact_id", maintain_order="left")
        for side in sampling.SIDES
    }


def _mean(values: pl.Series) -> float:
    mean = values.cast(pl.Float64).mean()
    return float(mean) if isinstance(mean, float) else 0.0
