"""Contents of the build: rows and rejects of the stages, topics, relations, and recipes, made or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from dual_data.config import Relation
from dual_data.report.figures import INK, SERIES, Figure, whole_ticks
from dual_data.report.read import Built
from dual_data.report.tables import Section, paragraph, share, table
from dual_data.text.display import visible
from dual_data.text.markup import Html


def stages(built: Built) -> Section:
    """Rows and rejects of every stage, and the reasons."""
    rows, reasons = [], []
    for name, manifest in built.manifests.items():
        kept, rejected = manifest.outcome["data"].rows, sum(manifest.rejected.values())
        total = kept + rejected
        rows.append((name, total, kept, rejected, share(rejected, total)))
        reasons += [(name, reason, count, share(count, total)) for reason, count in manifest.rejected.items()]
    header = ("stage", "rows made", "kept", "rejected", "share rejected")
    parts: list[Html | Figure] = [
        paragraph(
            "Every stage stores the rows that it rejects, with the reason. A row is a fact; in links, an entity; in "
            "knowledge, a fact and a model; in splits, a fact in a split."
        ),
        table("Rows through the stages", header, rows),
        _flow([(name, kept, rejected) for name, _, kept, rejected, _ in rows]),
    ]
    if reasons:
        parts.append(
            table("Rejected rows by reason", ("stage", "reason", "rows", "share of the stage's rows"), reasons)
        )
    else:
        parts.append(paragraph("No stage rejected a row."))
    return Section("stages", "Rows through the stages", tuple(parts))


def _flow(rows: list[tuple[str, int, int]]) -> Figure:
    def draw(canvas: Any) -> None:
        from matplotlib.patches import Patch

        axes = canvas.subplots()
        names = [visible(name) for name, _, _ in rows]
        kept, rejected = [row[1] for row in rows], [row[2] for row in rows]
        axes.barh(names, kept, color=SERIES[1], label="kept", height=0.62)
        # A bar of length 0 would still show its outline, as if something had been rejected.
        lines = [0.8 if count else 0.0 for count in rejected]
        hollow = {"color": "none", "edgecolor": SERIES[0], "hatch": "////", "linewidth": lines}
        axes.barh(names, rejected, left=kept, height=0.62, **hollow)
        canvas.legend(
            handles=[Patch(color=SERIES[1]), Patch(facecolor="none", edgecolor=SERIES[0], hatch="////")],
            labels=["kept", "rejected"], loc="outside upper right", ncols=2,
        )  # fmt: skip
        widest = max((k + r for _, k, r in rows), default=1)
        for place, (_, k, r) in enumerate(rows):
            text = f"{k:,}" + (f" + {r:,}" if r else "")
            axes.text(k + r + widest * 0.01, place, text, va="center", color=INK, fontsize=8)
        axes.set_xlim(0, max(widest, 1) * 1.14)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        whole_ticks(axes.xaxis)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("rows")

    description = "; ".join(f"{name}: {kept:,} kept, {rejected:,} rejected" for name, kept, rejected in rows)
    caption = "Rows kept (solid) and rejected (hatched) by each stage."
    return Figure("stages", caption, f"Bar chart. {description}.", (7.2, 0.9 + 0.34 * len(rows)), draw)


def topics(built: Built) -> Section:
    """One row for each topic."""
    facts, questions = built.table("facts"), built.table("questions")
    if facts is None or facts.is_empty():
        return Section.without("topics", "Topics", "There are no facts, and so no topics.")
    counts = _counted(facts, questions, "topic", pl.col("relation").n_unique().alias("relations"))
    rows = counts.select("topic", "facts", "subjects", "relations", "questions", "functional").rows()
    header = ("topic", "facts", "subjects", "relations", "questions", "one right answer")
    return Section(
        "topics",
        "Topics",
        (
            paragraph(
                "A fact is counted under the first topic that its subject was found in. One right answer: questions of "
                'relations that are asked for one object alone (unique = "one"); the matched recipes use only these.'
            ),
            table("Facts and questions by topic", header, rows),
        ),
    )


def relations(built: Built, known: Mapping[str, Relation]) -> Section:
    """One row for each relation, with its canonical question."""
    facts, questions = built.table("facts"), built.table("questions")
    if facts is None or facts.is_empty():
        return Section.without("relations", "Relations", "There are no facts, and so no relations.")
    counts = _counted(facts, questions, "relation", pl.col("object_kind").first())
    rows = []
    for stem, *numbers in counts.select("relation", "object_kind", "facts", "questions", "functional").iter_rows():
        relation = known.get(stem)
        asked = (relation.name, relation.questions.canonical) if relation else (None, None)
        rows.append((stem, *asked, *numbers))
    header = ("relation", "name", "question", "object", "facts", "questions", "one right answer")
    return Section("relations", "Relations", (table("Facts and questions by relation", header, rows),))


def _counted(facts: pl.DataFrame, questions: pl.DataFrame | None, by: str, more: pl.Expr) -> pl.DataFrame:
    counts = facts.group_by(by).agg(pl.len().alias("facts"), pl.col("subject_qid").n_unique().alias("subjects"), more)
    if questions is None:
        return counts.with_columns(questions=None, functional=None).sort("facts", by, descending=[True, False])
    rows = facts.select("fact_id", by).join(questions.select("fact_id", "functional"), on="fact_id")
    sums = rows.group_by(by).agg(pl.len().alias("questions"), pl.col("functional").sum())
    joined = counts.join(sums, on=by, how="left").with_columns(pl.col("questions", "functional").fill_null(0))
    return joined.sort("facts", by, descending=[True, False])


def recipes(built: Built) -> Section:
    """The recipes and splits that were made, and why others were not."""
    summary, capacity = built.table("splits", "recipes"), built.table("splits", "capacity")
    title = "Recipes and splits"
    if summary is None:
        return Section.without("recipes", title, f"{built.why_missing('splits')} Run {built.command} splits.")
    reason = pl.col("reason").replace("", None)
    rows = summary.select("recipe", "splits", "rows", reason).rows()
    tables = [table("Recipes", ("recipe", "splits", "memberships", "why not made"), rows)]
    if capacity is not None and capacity.height:
        header = ("split", "recipe", "rows", "rows wanted", "rows to choose from", "why not made, or fewer")
        split_rows = capacity.select("split", "recipe", "rows", "wanted", "holds", reason).rows()
        tables.append(table("Every split", header, split_rows))
    return Section("recipes", title, tuple(tables))
