"""What two splits share, and how far one feature alone tells them apart."""

from __future__ import annotations

from typing import Any

import polars as pl

from dual_data.audit import facts
from dual_data.audit.auc import auc, length_bin


def compare(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, Any]:
    """All measurements of a pair of splits under standard names; None where the columns cannot tell.

    Subjects are compared by id where both splits have ids, else by label; questions and answers by lower-cased text.
    `shared_*` count distinct values, `shared_*_rows` how many rows of the first and of the second split hold them.
    """
    by_id = facts.has_ids(first) and facts.has_ids(second)
    left, right = (facts.keyed(rows) if by_id else facts.labelled(rows) for rows in (first, second))
    return {
        "shared_questions": _shared(first, second, pl.col("question").str.to_lowercase()),
        "shared_subjects": _shared(left, right, pl.col("subject_key")),
        "shared_answers": _shared(first, second, pl.col("answer").str.to_lowercase()),
        "shared_subject_rows": _sharing(left, right, pl.col("subject_key")),
        "shared_answer_rows": _sharing(first, second, pl.col("answer").str.to_lowercase()),
        "mirrored_facts": facts.mirrored_facts(left, right),
        "auc_relation": _auc(first, second, pl.col("relation")),
        "auc_answer": _auc(first, second, pl.col("answer").str.to_lowercase()),
        "auc_answer_length": _auc(first, second, length_bin(pl.col("answer"))),
        "auc_subject_length": _auc(first, second, length_bin(pl.col("subject_label"))),
    }


def _shared(first: pl.DataFrame, second: pl.DataFrame, value: pl.Expr) -> int | None:
    left, right = (frame.select(value.alias("value")).drop_nulls().unique() for frame in (first, second))
    return None if left.is_empty() or right.is_empty() else left.join(right, on="value", how="semi").height


def _sharing(first: pl.DataFrame, second: pl.DataFrame, value: pl.Expr) -> list[int] | None:
    left, right = (frame.select(value.alias("value")).drop_nulls() for frame in (first, second))
    if left.is_empty() or right.is_empty():
        return None
    return [a.join(b, on="value", how="semi").height for a, b in ((left, right), (right, left))]


def _auc(first: pl.DataFrame, second: pl.DataFrame, value: pl.Expr) -> float | None:
    left, right = (frame.select(value.alias("value"))["value"] for frame in (first, second))
    return auc(left, right)
