"""Sample questions, to be filtered by topic, relation, split and text."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dual_data.report.read import Built
from dual_data.report.tables import Section, paragraph, table
from dual_data.text.markup import Html, element, joined, label

_MOST = 800
"""About how many questions a page holds."""
_PER_SPLIT = 6
_PRINTED = 40
"""Questions on a printed page; page.css has the same number."""


def section(built: Built) -> Section:
    """Questions of every split, or of the whole build if there are no splits."""
    title = "Sample questions"
    facts, questions = built.table("facts"), built.table("questions")
    if facts is None or questions is None or questions.is_empty():
        missing = next((stage for stage in ("facts", "questions") if stage in built.missing), None)
        why = built.why_missing(missing) if missing else "The stage questions has no rows."
        return Section.without("samples", title, f"{why} There are no questions to show.")
    chosen = _chosen(built.table("splits"), questions)
    known = facts.select("fact_id", "topic", "relation")
    rows = chosen.join(questions.join(known, on="fact_id"), on="fact_id", maintain_order="left")
    rows = rows.sort("fact_id")
    topics, relations = (rows[name].unique().sort().to_list() for name in ("topic", "relation"))
    splits = rows["splits"].explode().drop_nulls().unique().sort().to_list()
    cells, data = [], []
    for row in rows.iter_rows(named=True):
        members = row["splits"] or []
        answers = " | ".join(row["answers"])
        cells.append((row["question"], answers, row["topic"], row["relation"], _list(members)))
        # The filters compare positions, so that no name from outside is ever parsed.
        places = " ".join(str(splits.index(name)) for name in members)
        data.append(
            {
                "topic": str(topics.index(row["topic"])),
                "relation": str(relations.index(row["relation"])),
                "split": f" {places} ",
            }
        )
    about = (
        f"{rows.height:,} of {questions.height:,} questions, chosen by hash: the same build always shows the same "
        "ones. Accepted answers are set apart by a bar, the canonical one first."
    )
    html = table(
        "Sample questions", ("question", "accepted answers", "topic", "relation", "splits"), cells,
        identifier="questions", data=data,
    )  # fmt: skip
    printed = element("p", f"Printed are the first {_PRINTED}; the page has all.", class_="printed-only")
    body = joined(_filters(topics, relations, splits, rows.height), html, printed if rows.height > _PRINTED else None)
    return Section("samples", title, (paragraph(about), body))


def _chosen(splits: pl.DataFrame | None, questions: pl.DataFrame) -> pl.DataFrame:
    """fact_id and the splits with the fact, for the first facts of every split, up to about `_MOST`."""
    if splits is None or splits.is_empty():
        return questions.sort("fact_id").head(_MOST // 4).select("fact_id", splits=pl.lit([], dtype=pl.List(pl.String)))
    members = splits.select("fact_id", "position", split=pl.col("recipe") + "/" + pl.col("split"))
    each = max(1, min(_PER_SPLIT, _MOST // members["split"].n_unique()))
    first = members.filter(pl.col("position") < each).select("fact_id").unique()
    return members.join(first, on="fact_id").group_by("fact_id").agg(splits=pl.col("split").sort())


def _list(names: Sequence[str]) -> Html | None:
    tags = [element("span", label(name), class_="tag") for name in names]
    if len(tags) <= 2:
        return element("span", *tags) if tags else None
    return element("details", element("summary", f"{len(tags)} splits"), *tags, class_="tags")


def _filters(topics: Sequence[str], relations: Sequence[str], splits: Sequence[str], rows: int) -> Html:
    """Filters, hidden until the script shows them, since they do not work without it."""
    fields = [_select("topic", topics), _select("relation", relations), _select("split", splits)]
    text = element("label", "containing ", element("input", type="search", id="filter-text", autocomplete="off"))
    clear = element("button", "Show all", type="reset")
    count = element("output", f"{rows:,} questions", id="filter-count", role="status")
    return element(
        "form", *fields, text, clear, count, id="filters", hidden=True, aria_label="Filter the sample questions"
    )


def _select(name: str, choices: Sequence[str]) -> Html:
    options = [element("option", "all", value="")]
    options += [element("option", choice, value=number) for number, choice in enumerate(choices)]
    return element("label", f"{name} ", element("select", *options, id=f"filter-{name}", data_filter=name))
