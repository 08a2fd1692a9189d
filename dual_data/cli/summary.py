"""The text of `dual-data show`: the results of a build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dual_data.cli.outdated import read_current, reading
from dual_data.cli.text import printable, table
from dual_data.engine.manifest import Manifest
from dual_data.engine.places import command
from dual_data.engine.run import read_rows
from dual_data.ids import is_property
from dual_data.project.loading import Project
from dual_data.report.read import Built, empty_answers
from dual_data.text.display import count

MOST_LINES = 60
"""Most rows of one table that are printed."""
MOST_LABELS = 10
"""Most labels of unknown relations that are printed."""
UNKNOWN = "unknown_relation"
"""Reason of rejected facts whose relation no file names."""


def summary(project: Project, sample: int) -> str:
    """Rows and rejects of every stage, the recipes and their splits, sample questions, and the folder of the build."""
    built = read_current(project)
    stale = [f"Out of date: {built.outdated}"] if built.outdated else []
    notes = [*stale, *map(built.why_missing, built.missing), *built.edited]
    place = "\n".join([f"Built in {project.artifacts}", *notes])
    with reading(built):
        parts = [place, _rows(built.manifests), _rejects(project, built.manifests)]
        parts += ["\n".join(_remarks(built)), *_tables(built)]
        if sample and (questions := built.table("questions")) is not None:
            parts.append(_samples(questions, sample))
    return "\n\n".join(part for part in parts if part)


def _rows(manifests: Mapping[str, Manifest]) -> str:
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


def _rejects(project: Project, manifests: Mapping[str, Manifest]) -> str:
    rows = [
        (name, reason, rejected)
        for name, manifest in manifests.items()
        for reason, rejected in manifest.rejected.items()
    ]
    if not rows:
        return "Nothing was rejected."
    text = table(("stage", "rejected because", "rows"), rows)
    text += f"\nThey are in {project.artifacts / 'STAGE' / 'rejected.parquet'}."
    is_there = (project.artifacts / "facts" / "rejected.parquet").is_file()  # if not, the build is out of date
    return f"{text}\n{unknown_relations(project)}" if is_there and names_unknown(manifests.get("facts")) else text


def names_unknown(facts: Manifest | None) -> bool:
    """Whether rows of the stage facts were rejected because no relation file names their relation."""
    return facts is not None and facts.basis.stage == "facts" and UNKNOWN in facts.rejected


def unknown_relations(project: Project) -> str:
    """Labels (or properties) of rejected facts that no relation file names, the commonest first, and what to do."""
    rejected = read_rows(project.root, project.profile, "facts", "rejected")
    counts = rejected.filter(pl.col("reason") == UNKNOWN).group_by("relation").len()
    commonest = counts.sort("len", "relation", descending=[True, False])
    labels = [f"{printable(label)} ({rows})" for label, rows in commonest.head(MOST_LABELS).iter_rows()]
    more = [f"{counts.height - MOST_LABELS} more"] if counts.height > MOST_LABELS else []
    new = f"with: {command(project.root, 'relations new P...')}"
    # Tables with ids have no labels of relations.
    has_labels = not all(map(is_property, counts["relation"]))
    advice = (
        f"add it to `labels` in a relation file, or make one {new}" if has_labels else f"make a relation file {new}"
    )
    return f"{UNKNOWN}: {', '.join([*labels, *more])}; to ask about one of these, {advice}"


def missing_recipes(project: Project, manifest: Manifest) -> str:
    """The recipes that a build of the splits could not make, and what tells the reasons; empty where all were made."""
    if "recipes" not in manifest.outcome:
        return ""
    recipes = read_rows(project.root, project.profile, "splits", "recipes")
    missing = recipes.filter(~pl.col("made"))["recipe"].to_list()
    return f"not made: {', '.join(missing)}; for the reasons: {project.command('show')}" if missing else ""


def _remarks(built: Built) -> list[str]:
    """Remarks on the numbers: how links were counted, what models knew, whether the judge fits the scale, and what the
    answers of servers took."""
    remarks = []
    if (links := built.table("links")) is not None:
        remarks.append(_popularity(links))
    if (knowledge := built.table("knowledge")) is not None:
        for (model, rule), rows in knowledge.group_by("model", "rule", maintain_order=True):
            line = f"Knowledge: {model} knows {rows['known'].sum()} of {rows.height} facts asked, by the rule {rule}"
            empty, answers = empty_answers(rows)
            if empty:
                line += (
                    f"; {empty:,} of its {count(answers, 'answer')} were empty, which counts as not knowing: it "
                    "may decline, or be cut off while it reasons (reasoning_tokens of its endpoint)"
                )
            remarks.append(f"{line}.")
    if (salience := built.table("salience")) is not None:
        for (judge,), rows in salience.group_by("judge", maintain_order=True):
            scored = rows["score"].count()
            given = "each" if scored == rows.height else f"{scored}"
            line = f"Salience: {judge} gave {given} of {count(rows.height, 'fact')} a score"
            if low := int(rows["low_mass"].sum()):
                line += (
                    f"; in {low} of them it put little probability on the scale (median mass "
                    f"{rows.select(pl.col('mass').median()).item():.2f}), so its scores show only that the stage runs"
                )
            remarks.append(line + ".")
    for stage in ("knowledge", "salience"):
        if (usage := built.table(stage, f"{stage}_usage")) is not None:
            remarks += [_usage(stage, row) for row in usage.iter_rows(named=True)]
    return remarks


def _usage(stage: str, row: Mapping[str, Any]) -> str:
    """What the answers of one model behind a server took: tokens, and money where its price is set."""
    # More than the calls made: what a server supports is one call in the log for several answers.
    line = (
        f"Usage: {stage}, {row['model']}: {count(row['answers'], 'answer')} (with those that tell what the server "
        f"supports), {row['prompt_tokens']:,} prompt tokens ({row['cached_tokens']:,} of them cached), "
        f"{row['completion_tokens']:,} completion tokens"
    )
    if row["estimated"]:
        line += f", those of {count(row['estimated'], 'answer')} estimated"
    if row["cost"] is not None:
        line += f"; {row['cost']:.4f} {row['currency']} by the price of {row['price_date']}"
    return line + "."


def _popularity(links: pl.DataFrame) -> str:
    """How many entities were counted by which method, and what the others have instead."""
    counted = pl.col("inbound_links").is_not_null()
    groups = links.group_by("method", counted=counted).len().sort("counted", "method", descending=[True, False])
    phrases = []
    for method, known, entities in groups.iter_rows():
        # For entities whose links are not counted, the method names the signal used instead.
        alone = f"by {method} alone" if method in ("sitelinks", "mentions") else "without an article"
        phrases.append(f"{entities:,} entities {f'by {method}' if known else alone}")
    ending = "" if groups["counted"].any() else "; no links were counted"
    return f"Popularity: {', '.join(phrases) or 'no entities'}{ending}."


def _tables(built: Built) -> list[str]:
    """The small tables of the splits stage: recipes, splits made, splits not made and why."""
    splits = built.table("splits")
    if splits is None:
        return []
    parts = []
    whole = True
    if (recipes := built.table("splits", "recipes")) is not None:
        whole = bool(recipes["made"].all())
        parts.append(_first(recipes.with_columns(pl.col("made").replace_strict({True: "yes", False: "no"}))))
    if splits.height:
        parts.append(_first(splits.group_by("recipe", "split").len("rows").sort("recipe", "split")))
    if (capacity := built.table("splits", "capacity")) is not None:
        missing = _sides_together(capacity.filter(~pl.col("made"))).rename({"reason": "not made because"})
        every = "Every split was made." if whole else "Every split of the recipes that were made is there."
        none = "No split was made." if splits.is_empty() else every
        parts.append(_first(missing) if missing.height else none)
    return parts


def _sides_together(missing: pl.DataFrame) -> pl.DataFrame:
    """Columns recipe, split and reason: one row where rare and popular are missing for the same reason."""
    both = pl.col("split").str.replace("_(rare|popular)_", "_(rare|popular)_", literal=False)
    groups = missing.group_by("recipe", "reason", both=both, maintain_order=True).agg(pl.col("split").first(), pl.len())
    name = pl.when(pl.col("len") > 1).then("both").otherwise("split")
    return groups.select("recipe", split=name, reason="reason")


def _first(frame: pl.DataFrame) -> str:
    """The first rows, and the number of further ones."""
    text = table(frame.columns, frame.head(MOST_LINES).rows())
    beyond = frame.height - MOST_LINES
    return f"{text}\n... and {beyond} more" if beyond > 0 else text


def _samples(questions: pl.DataFrame, sample: int) -> str:
    """The first questions by id, which is a hash, so that the same build always shows the same ones."""
    rows = questions.sort("fact_id").head(sample).select("question", "answers").rows()
    return "\n".join(f"{printable(question)}  ->  {printable(' | '.join(answers))}" for question, answers in rows)
