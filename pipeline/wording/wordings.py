"""Wordings: every template of the relation files, rendered over a table of facts at once."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from dual_data import templates
from dual_data.config import Relation

PARAPHRASES = ("paraphrases_validation", "paraphrases_training", "paraphrases_test")
_VALUES = ("subject", "answer", "named_answer")
"""The columns that replace the variables of their names."""
_ANSWER = re.compile(r"(?<!\bthe )(?<!\ba )(?<!\ban )\{answer\}", re.IGNORECASE)
"""An answer without an article."""
_TEXTS, _NAMES = ("text_0", "text_1", "text_2"), ("name_0", "name_1")
"""The texts of a template and the variables between them; a template with fewer is padded with empty ones."""


def with_questions(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Add question, paraphrases_{validation, training, test} and statement to rows of relation, subject and answer.

    A statement has `named_answer` for the answer, unless its template has an article there.
    """
    sentence = templates.rendered([pl.col(text) for text in _TEXTS], [_value(pl.col(name)) for name in _NAMES])
    # Lazily, so that common subexpressions of `sentence` are evaluated once.
    sentences = (
        rows.lazy()
        .select("fact_id", "relation", *_VALUES)
        .join(_templates(relations).lazy(), on="relation", maintain_order="left_right")
        .select("fact_id", "column", sentence=sentence)
        .drop_nulls("sentence")
        .collect()
    )
    for column in ("question", *PARAPHRASES, "statement"):
        by_fact = sentences.filter(pl.col("column") == column).group_by("fact_id", maintain_order=True)
        rows = rows.join(by_fact.agg(pl.col("sentence").alias(column)), on="fact_id", how="left", maintain_order="left")
    nothing = pl.lit([], dtype=pl.List(pl.String))
    return rows.with_columns(pl.col("question", "statement").list.first(), pl.col(PARAPHRASES).fill_null(nothing))


def _value(name: pl.Expr) -> pl.Expr:
    """The text that replaces a variable; null where the row has none."""
    values = [pl.when(name == column).then(column) for column in _VALUES]
    return pl.when(name != "").then(pl.coalesce(values)).otherwise(name)


def _templates(relations: Mapping[str, Relation]) -> pl.DataFrame:
    """One row per template: relation, the column of its sentences, and its pieces."""
    rows = []
    for stem, relation in relations.items():
        wording = relation.questions
        texts = dict(zip(("question", *PARAPHRASES), wording.by_use().values(), strict=True))
        texts["statement"] = (_ANSWER.sub("{named_answer}", wording.statement),) if wording.statement else ()
        for column, wordings in texts.items():
            for pieces in map(templates.cut, wordings):
                rows.append((stem, column, *[*pieces.texts, ""][:3], *[*pieces.variables, ""][:2]))
    return pl.DataFrame(rows, schema=dict.fromkeys(("relation", "column", *_TEXTS, *_NAMES), pl.String), orient="row")
