"""The judge's scores against link counts, or what stands in for them: their rank correlation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from dual_data.bootstrap import bootstrap_correlation
from dual_data.report.figures import INK, SERIES, Figure
from dual_data.report.read import Built
from dual_data.report.signals import Popularity, popularity
from dual_data.report.tables import Section, paragraph, table
from dual_data.statistics import spearman
from dual_data.text.display import count
from dual_data.text.markup import Html

TITLE = "Salience against popularity"
_FEWEST_SUBJECTS = 3
_DRAWN = 3000
"""Most points of the scatter plot: the first by fact id, which is a hash."""


def section(built: Built) -> Section:
    """Correlation of the judge's score with the popularity of subject, object and both."""
    judged = built.table("salience")
    if judged is None or judged.is_empty():
        why = built.why_missing("salience") if judged is None else "No judge is set in the table [salience]."
        return Section.without("salience", TITLE, f"{why} So there are no scores to hold against the link counts.")
    scored = judged.filter(pl.col("score").is_not_null())
    if scored.is_empty():
        return Section.without("salience", TITLE, "The judge gave no score on its scale for any fact.")
    if (counted := popularity(built)) is None:
        return Section.without("salience", TITLE, "There are no facts, so nothing to hold the scores against.")
    rows = scored.join(counted.counts, on="fact_id").with_columns(both=pl.col("subject") + pl.col("object"))
    parts: list[Html | Figure] = [paragraph(_introduction(judged, scored, counted))]
    parts.append(_correlations(rows, counted))
    if rows["subject"].null_count() < rows.height:
        parts.append(_scatter(rows, counted))
    return Section("salience", TITLE, tuple(parts))


def _introduction(judged: pl.DataFrame, scored: pl.DataFrame, counted: Popularity) -> str:
    judges = ", ".join(scored["judge"].unique().sort())
    methods = ", ".join(scored["method"].unique().sort())
    low = scored.filter("low_mass").height
    text = (
        f"Judge: {judges} ({methods}); {scored.height:,} of {count(judged.height, 'judged fact')} with a score. "
        f"{counted.meaning}"
    )
    if low:
        text += f" The judge put little probability on the scale for {count(low, 'fact')}: such scores say little."
    if not counted.is_links:
        text += " The build has no link counts, so this signal stands in for them."
    return text


def _correlations(rows: pl.DataFrame, counted: Popularity) -> Html:
    results = []
    subsets = [("all scored facts", rows)]
    certain = rows.filter(~pl.col("low_mass"))
    if 0 < certain.height < rows.height:
        subsets.append(("low mass left out", certain))
    for name, subset in subsets:
        for side, phrase in (("subject", "the subject"), ("object", "the object"), ("both", "both together")):
            known = subset.filter(pl.col(side).is_not_null())
            subjects = known["subject_qid"].n_unique()
            rho = _rank_correlation(known, side) if subjects >= _FEWEST_SUBJECTS else (None,) * 3
            results.append((f"{counted.name} of {phrase}", name, known.height, subjects, *rho))
    header = ("salience against", "facts", "number", "subjects", "Spearman's rho", "95 % from", "to")
    caption = (
        f"Rank correlation of salience and {counted.name}; intervals by percentile bootstrap over subjects. "
        "No value: too few subjects, or one side is constant."
    )
    return table(caption, header, results)


def _rank_correlation(rows: pl.DataFrame, side: str) -> tuple[float | None, ...]:
    """Spearman's rho of score and popularity with its 95 % interval; None each where one side is constant."""
    scores, counts = rows["score"].to_numpy(), rows[side].to_numpy()
    rho = bootstrap_correlation(lambda drawn: spearman(scores[drawn], counts[drawn]), rows["subject_qid"].to_list())
    return tuple(None if math.isnan(number) else number for number in rho[:3])


def _scatter(rows: pl.DataFrame, counted: Popularity) -> Figure:
    known = rows.filter(pl.col("subject").is_not_null()).sort("fact_id")
    points = known.head(_DRAWN)
    counts, scores = points["subject"].to_numpy(), points["score"].to_numpy()
    middles = known.with_columns(bin=(pl.col("subject") + 1).log(10).mul(3).floor()).group_by("bin").agg(
        pl.len(), pl.col("subject").median(), pl.col("score").median()
    ).filter(pl.col("len") >= 5).sort("bin")  # fmt: skip

    def draw(canvas: Any) -> None:
        axes = canvas.subplots()
        axes.scatter(1 + counts, scores, s=9, color=SERIES[1], alpha=0.4, linewidths=0, label="a fact")
        axes.plot(
            1 + middles["subject"], middles["score"], color=INK, marker="o", markersize=4, label="median of a bin"
        )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel(f"{counted.name} of the subject, plus one")
        axes.set_ylabel("salience score")
        canvas.legend(loc="outside upper right", ncols=2)

    remark = f" Of {known.height:,} facts {_DRAWN:,} are drawn." if known.height > _DRAWN else ""
    medians = ", ".join(f"{np.round(y, 2):g} at {x:,.0f}" for x, y in middles.select("subject", "score").iter_rows())
    caption = f"Salience of a fact against the {counted.name} of its subject.{remark}"
    return Figure(
        "salience",
        caption,
        f"Scatter plot. Median score by {counted.name}: {medians or 'no bin has five facts'}.",
        (7.2, 3.8),
        draw,
    )
