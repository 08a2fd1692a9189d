"""What else a selection by popularity selects: relations, answers and classes of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from benchmarks.rebuild.world import Rehearsal
from dual_data.audit.auc import auc
from dual_data.config import POOLED
from dual_data.sampling import SIDES

CITIES, COUNTRIES = "city", "places_country"


def confounds(rehearsal: Rehearsal, path: Path) -> dict[str, Any]:
    """How one-sided the 5 % forget splits of a recipe are: those of cities, and the medians over the other topics."""
    countries = set(rehearsal.members.get(COUNTRIES, ()))
    rows = pl.read_parquet(path, glob=False).with_columns(
        country=pl.col("object_qid").is_in(countries).fill_null(False),
        name=pl.col("split").str.extract("^(.*)_forget_(?:rare|popular)_5$"),
    )
    by_topic = {}
    for (name,), topic_rows in rows.filter(pl.col("name").is_not_null()).group_by("name", maintain_order=True):
        sides = [topic_rows.filter(pl.col("split") == f"{name}_forget_{side}_5") for side in SIDES]
        if all(side.height for side in sides):
            by_topic[str(name)] = one_sided(*sides)
    others = [topic for name, topic in by_topic.items() if name not in (CITIES, POOLED)]
    return {**by_topic.get(CITIES, {}), "others": _median(others)}


def published_confounds(rehearsal: Rehearsal, folder: Path) -> dict[str, Any]:
    """The same for the published rows, which are of cities alone; empty if the files are missing."""
    paths = [folder / f"city_forget_{side}_5.parquet" for side in SIDES]
    if not all(path.is_file() for path in paths):
        return {}
    countries = set(rehearsal.members.get(COUNTRIES, ()))
    labels = [label for label, qid in rehearsal.ids.items() if qid in countries]
    return one_sided(
        *(pl.read_parquet(path, glob=False).with_columns(country=pl.col("answer").is_in(labels)) for path in paths)
    )


def one_sided(rare: pl.DataFrame, popular: pl.DataFrame) -> dict[str, Any]:
    """Shares of the commonest relation and answer and of countries on both sides, and how well the relation alone and
    the answer alone tell the sides apart: an area under the ROC curve, 0.5 for not at all.

    Columns: relation, answer, country (whether the object is a country).
    """
    areas = {name: auc(rare[name], popular[name]) for name in ("relation", "answer")}
    return {
        **{side: shares(rows) for side, rows in zip(SIDES, (rare, popular), strict=True)},
        "auc": {name: None if area is None else round(area, 3) for name, area in areas.items()},
    }


def shares(rows: pl.DataFrame) -> dict[str, Any]:
    """How one-sided a split is."""
    relations, answers = (
        rows[name].value_counts().sort("count", name, descending=[True, False]) for name in ("relation", "answer")
    )
    return {
        "rows": rows.height,
        "relation": relations["relation"][0],
        "commonest_relation": round(relations["count"][0] / rows.height, 3),
        "commonest_answer": round(answers["count"][0] / rows.height, 3),
        "distinct_answers": rows["answer"].n_unique(),
        "countries": round(int(rows["country"].sum()) / rows.height, 3),
    }


def _median(topics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over topics; for the largest share of an answer also the maximum."""
    if not topics:
        return {"topics": 0}
    areas = [area for topic in topics if (area := topic["auc"]["relation"]) is not None]
    medians: dict[str, Any] = {"topics": len(topics), "auc": round(median(areas), 3) if areas else None}
    for side in SIDES:
        relations, answers = (
            [topic[side][name] for topic in topics] for name in ("commonest_relation", "commonest_answer")
        )
        medians[side] = {
            "commonest_relation": round(median(relations), 3),
            "commonest_answer": round(median(answers), 3),
            "largest_answer": max(answers),
        }
    return medians
