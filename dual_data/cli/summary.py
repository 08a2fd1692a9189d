"""The text of `dual-data show`: what a build made."""

from __future__ import annotations

import polars as pl

from dual_data.cli.text import printable, table
from dual_data.engine.manifest import Manifest, read_manifest
from dual_data.engine.run import read_rows
from dual_data.errors import DualDataError
from dual_data.ids import digest
from dual_data.project import Project


def summary(project: Project, sample: int) -> str:
    """Rows and rejects of every stage, the recipes and their splits, sample questions, and where it all lies."""
    manifests = {
        stage.name: found for stage in project.stages if (found := read_manifest(project.artifacts / stage.name))
    }
    if not manifests:
        raise DualDataError(f"{project.artifacts}: nothing is built here yet; run: dual-data build")
    parts = [f"Built in {project.artifacts}", _rows(manifests), _rejects(manifests)]
    parts += _tables(project, manifests)
    if sample and "questions" in manifests:
        parts.append(_samples(project, sample))
    return "\n\n".join(part for part in parts if part)


def _rows(manifests: dict[str, Manifest]) -> str:
    rows = []
    for name, manifest in manifests.items():
        calls = manifest.calls.values()
        rows.append(
            (
                name,
                manifest.outcome["data"].rows,
                sum(manifest.rejected.values()),
                sum(counts.made for counts in calls),
                sum(counts.replayed for counts in calls),
                f"{manifest.build.get('seconds', 0):.1f}",
            )
        )
    return table(("stage", "rows", "rejected", "calls made", "replayed", "seconds"), rows)


def _rejects(manifests: dict[str, Manifest]) -> str:
    rows = [(name, reason, count) for name, found in manifests.items() for reason, count in found.rejected.items()]
    return table(("stage", "rejected because", "rows"), rows) if rows else "Nothing was rejected."


def _tables(project: Project, manifests: dict[str, Manifest]) -> list[str]:
    """The small tables that the splits stage writes: recipes, and rows a split."""
    if "splits" not in manifests:
        return []
    parts = []
    if "recipes" in manifests["splits"].outcome:
        recipes = read_rows(project.root, project.profile, "splits", "recipes")
        parts.append(table(recipes.columns, recipes.rows()))
    splits = read_rows(project.root, project.profile, "splits")
    counts = splits.group_by("recipe", "split").len("rows").sort("recipe", "split")
    parts.append(table(counts.columns, counts.rows()))
    return parts


def _samples(project: Project, sample: int) -> str:
    """The first questions by hash, so that the same build always shows the same ones."""
    questions = read_rows(project.root, project.profile, "questions")
    ranked = questions.with_columns(rank=pl.col("fact_id").map_elements(digest, return_dtype=pl.String)).sort("rank")
    rows = ranked.head(sample).select("question", "answers").rows()
    return "\n".join(f"{printable(question)}  ->  {printable(' | '.join(answers))}" for question, answers in rows)
