"""The trivial baselines of many splits at once: the figures of `baselines`, each distinct pair of texts scored once."""

from __future__ import annotations

import polars as pl

from dual_data.audit.baselines import NAMES, shuffled_sums
from dual_data.rouge import plain_tokens, recalls_l


def baseline_table(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row a value of `by`, in the order of first appearance: rows, the four baselines, and `chance`, their largest.

    `rows` has answer, relation and subject_label, without nulls.
    """
    copy = scored(rows.select(by, gold="answer", text="subject_label"))
    majority = scored(rows.join(_tops(rows, [by]), on=by).select(by, gold="answer", text="top"))
    relation = [by, "relation"]
    of_relation = scored(rows.join(_tops(rows, relation), on=relation).select(by, gold="answer", text="top"))
    cell = rows.select(pl.struct(by, "relation").alias("relation"), "answer")
    sums = shuffled_sums(cell).unnest("relation").group_by(by).agg(pl.col("sum").sum())
    means = [
        scores.group_by(by).agg(pl.col("score").mean().alias(name))
        for name, scores in zip(NAMES, (copy, majority, of_relation), strict=False)
    ]
    table = rows.group_by(by, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("rows"))
    for mean in (*means, sums):
        table = table.join(mean, on=by, how="left", maintain_order="left")
    shuffled = (pl.col("sum").fill_null(0.0) / pl.col("rows")).alias(NAMES[3])
    return table.select(by, "rows", *NAMES[:3], shuffled).with_columns(chance=pl.max_horizontal(NAMES))


def scored(pairs: pl.DataFrame) -> pl.DataFrame:
    """The frame with `score`, the ROUGE-L recall of each `gold` in its `text`; pairs without a common word are 0."""
    distinct = pairs.select("gold", "text").unique().with_row_index("pair")
    texts = pl.concat([distinct["gold"], distinct["text"].rename("gold")]).unique()
    lists = pl.Series("word", [list(plain_tokens(text)) for text in texts], dtype=pl.List(pl.String))
    words = pl.DataFrame([texts.rename("gold"), lists]).explode("word").drop_nulls("word").unique()
    gold = distinct.select("pair", "gold").join(words, on="gold")
    text = distinct.select("pair", gold="text").join(words, on="gold")
    common = gold.join(text, on=["pair", "word"], how="semi").select("pair").unique()
    sharing = distinct.join(common, on="pair", how="semi")
    scores = sharing.with_columns(
        score=pl.Series(recalls_l(sharing["gold"], sharing["text"]), dtype=pl.Float64)
    ).select("gold", "text", "score")
    return pairs.join(scores, on=["gold", "text"], how="left").with_columns(pl.col("score").fill_null(0.0))


def _tops(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """The most frequent answer of each group; of several the first in order of code points."""
    counts = rows.group_by(*by, "answer").len("rows")
    ordered = counts.sort(*by, "rows", "answer", descending=[False] * len(by) + [True, False])
    return ordered.unique(by, keep="first", maintain_order=True).select(*by, top="answer")
