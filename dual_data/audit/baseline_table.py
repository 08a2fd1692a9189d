"""The trivial baselines of many splits at once: the figures of `baselines`, each distinct pair of texts scored once."""

from __future__ import annotations

import polars as pl

from dual_data.audit.baselines import NAMES, most_frequent_by, prefixes, shuffled
from dual_data.rouge import plain_tokens, recalls_l

DIGITS = 9
"""Decimals kept."""


def baseline_table(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row a value of `by`, in the order of first appearance: rows, the baselines, and `chance`, their largest.

    `rows` has answer, relation and subject_label, without nulls.
    """
    relation = [by, "relation"]
    guesses = {
        "subject_copy": rows.select(by, gold="answer", text="subject_label"),
        "subject_prefix": rows.select(by, gold="answer", text=pl.Series(prefixes(rows), dtype=pl.String)),
        "majority_answer": rows.join(most_frequent_by(rows, [by]), on=by).select(by, gold="answer", text="top"),
        "relation_majority": rows.join(most_frequent_by(rows, relation), on=relation).select(
            by, gold="answer", text="top"
        ),
    }
    scores = pair_scores(pl.concat([guess.select("gold", "text") for guess in guesses.values()]))
    table = rows.group_by(by, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("rows"))
    for name, guess in guesses.items():
        scored = guess.join(scores, on=["gold", "text"], how="left")
        means = scored.group_by(by).agg((pl.col("score").sum() / pl.len()).alias(name))
        table = table.join(means, on=by, how="left", maintain_order="left")
    drawn = shuffled(rows.select(pl.struct(relation).alias("relation"), "answer")).unnest("relation")
    means = drawn.group_by(by).agg(
        ((pl.col("rows") * pl.col("score")).sum() / pl.col("rows").sum()).alias("shuffled_answers")
    )
    table = table.join(means, on=by, how="left", maintain_order="left")
    # Sums over groups are added up in no fixed order: rounding keeps the table the same on every machine.
    figures = table.select(by, "rows", pl.col(NAMES).round(DIGITS))
    return figures.with_columns(chance=pl.max_horizontal(NAMES))


def pair_scores(pairs: pl.DataFrame) -> pl.DataFrame:
    """Columns gold, text, score: the ROUGE-L recall of each distinct pair that has a word in common; others score 0."""
    distinct = pairs.unique().with_row_index("pair")
    texts = pl.concat([distinct["gold"], distinct["text"]]).unique().to_list()
    found = [(text, plain_tokens(text)) for text in texts]
    words = pl.DataFrame(
        {
            "gold": [text for text, tokens in found for _ in tokens],
            "word": [word for _, tokens in found for word in tokens],
        },
        schema={"gold": pl.String, "word": pl.String},
    )
    gold = distinct.select("pair", "gold").join(words, on="gold")
    text = distinct.select("pair", gold="text").join(words, on="gold")
    common = gold.join(text, on=["pair", "word"], how="semi").select("pair")
    sharing = distinct.join(common, on="pair", how="semi")
    scores = pl.Series(recalls_l(sharing["gold"], sharing["text"]), dtype=pl.Float64)
    return sharing.select("gold", "text", score=scores)
