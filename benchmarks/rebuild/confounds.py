"""What a selection by popularity drags in beside popularity: relations, answers and classes of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from benchmarks.rebuild.world import Rehearsal
from dual_data.audit.auc import auc
from dual_data.sampling import SIDES

CITIES, COUNTRIES = "city", "places_country"
POOLED = "all"


def confounds(rehearsal: Rehearsal, path: Path) -> dict[str, Any]:
    """What popularity drags into the 5 % forget splits of a recipe: of cities, and the median of the other topics."""
    countries = set(rehearsal.members.get(COUNTRIES, ()))
    rows = pl.read_parquet(path).with_columns(
        country=pl.col("object_qid").is_in(countries).fill_null(False),
        name=pl.col("split").str.extract("^(.*)_forget_(?:rare|popular)_5$"),
    )
    found = {}
    for (name,), part in rows.filter(pl.col("name").is_not_null()).group_by("name", maintain_order=True):
        sides = [part.filter(pl.col("split") == f"{name}_forget_{side}_5") for side in SIDES]
        if all(side.height for side in sides):
            found[str(name)] = one_sided(*sides)
    others = [one for name, one in found.items() if name not in (CITIES, POOLED)]
    return {**found.get(CITIES, {}), "others": _median(others)}


def published_confounds(rehearsal: Rehearsal, folder: Path) -> dict[str, Any]:
    """The same of the published rows, where they are at hand; those are of cities alone."""
    paths = [folder / f"city_forget_{side}_5.parquet" for side in SIDES]
    if not all(path.is_file() for path in paths):
        return {}
    countries = set(rehearsal.members.get(COUNTRIES, ()))
    labels = [label for label, qid in rehearsal.ids.items() if qid in countries]
    return one_sided(*(pl.read_parquet(path).with_columns(country=pl.col("answer").is_in(labels)) for path in paths))


def one_sided(rare: pl.DataFrame, popular: pl.DataFrame) -> dict[str, Any]:
    """Shares of the commonest relation and answer and of countries on both sides, and how well the relation alone and
    the answer alone tell the sides apart: an area under the ROC curve, 0.5 where not at all.

    Columns: relation, answer, country (whether the object is one).
    """
    areas = {name: auc(rare[name], popular[name]) for name in ("relation", "answer")}
    return {
        **{side: shares(part) for side, part in zip(SIDES, (rare, popular), strict=True)},
        "auc": {name: None if area is None else round(area, 3) for name, area in areas.items()},
    }


def shares(part: pl.DataFrame) -> dict[str, Any]:
    """How one-sided a split is."""
    relations, answers = (
        part[name].value_counts().sort("count", name, descending=[True, False]) for name in ("relation", "answer")
    )
    return {
        "rows": part.height,
        "relation": relations["relation"][0],
        "commonest_relation": round(relations["count"][0] / part.height, 3),
        "commonest_answer": round(answers["count"][0] / part.height, 3),
        "distinct_answers": part["answer"].n_unique(),
        "countries": round(int(part["country"].sum()) / part.height, 3),
    }


def _median(topics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over topics; of the largest share of an answer also the maximum."""
    if not topics:
        return {"topics": 0}
    known = [area for one in topics if (area := one["auc"]["relation"]) is not None]
    found: dict[str, Any] = {"topics": len(topics), "auc": round(median(known), 3) if known else None}
    for side in SIDES:
        relations, answers = (
            [one[side][name] for one in topics] for name in ("commonest_relation", "commonest_answer")
        )
        found[side] = {
            "commonest_relation": round(median(relations), 3),
            "commonest_answer": round(median(answers), 3),
            "largest_answer": max(answers),
        }
    return found
