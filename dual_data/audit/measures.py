"""The measurements of one split."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import polars as pl

from dual_data.audit import baselines, facts, grammar
from dual_data.audit.columns import Table
from dual_data.templates import overlap

ANSWER_IN_QUESTION = 0.5
"""Share of the answer's words in the question from which on the question gives the answer away."""

_WORD = re.compile(r"[^\W_]+")


def measure(table: Table, ambiguous: frozenset[str] = frozenset()) -> dict[str, Any]:
    """All measurements of a split; None for those that the columns do not allow.

    `ambiguous`: subjects that stand for several entities (see `facts.ambiguous_subjects`), over all splits. Shares are
    of the rows with the necessary values. Time is linear in the rows.
    """
    rows = table.rows
    relation = baselines.most_frequent(rows["relation"])
    answer = baselines.most_frequent(rows["answer"])
    trivial = baselines.mean_scores(baselines.rule_scores(rows))
    return {
        "rows": rows.height,
        "empty_questions": None if table.lists_objects else rows["question"].null_count(),
        "empty_answers": rows["answer"].null_count(),
        "distinct_questions": _distinct(rows["question"]),
        "distinct_answers": _distinct(rows["answer"]),
        "top_relation": relation and relation[0],
        "top_relation_share": relation and relation[1],
        "top_answer": answer and answer[0],
        "top_answer_share": answer and answer[1],
        "subject_copy_rouge": trivial["subject_copy"],
        "subject_prefix_rouge": trivial["subject_prefix"],
        "majority_answer": answer and answer[0],
        "majority_rouge": trivial["majority_answer"],
        "relation_majority_rouge": trivial["relation_majority"],
        "shuffled_rouge": trivial["shuffled_answers"],
        "answer_in_question_share": answer_in_question_share(rows),
        "same_id_share": same_id_share(rows),
        "several_names_share": facts.several_names_share(rows),
        **malformed_shares(rows),
        "ambiguous_subject_share": ambiguous_subject_share(table, ambiguous),
        "many_objects_share": many_objects_share(table),
        "self_answer_share": facts.self_answer_share(rows),
        "mirrored_share": facts.mirrored_share(rows),
        "duplicate_share": facts.duplicate_share(rows),
        "bare_id_share": facts.bare_id_share(rows),
        "popularity": popularity(rows),
    }


def answer_in_question_share(rows: pl.DataFrame) -> float | None:
    """Share of the questions with half or more of their answer's words, lower-cased, with small words or without.

    Words are compared as written, but for their case, as in the figures about the published dataset.
    """
    known = rows.select("question", "answer").drop_nulls()
    given_away = [
        overlap(answer, set(_words(question)), _words) >= ANSWER_IN_QUESTION for question, answer in known.iter_rows()
    ]
    return facts.share(pl.Series(given_away, dtype=pl.Boolean))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def same_id_share(rows: pl.DataFrame) -> float | None:
    """Share of the rows whose subject and object are the same entity; a literal object never is the subject."""
    known = rows.filter(facts.IDENTIFIED)
    return facts.share(known["subject_id"] == known["object_id"])


def malformed_shares(rows: pl.DataFrame) -> dict[str, float | None]:
    """Share of malformed questions, and of each kind; a question counts once, in the first kind that applies.

    Whether a question is inverted or vacuous depends on its relation. Where neither a column nor the form of the
    questions names one, both shares are None, and `malformed_share` counts ungrammatical questions alone.
    """
    known = rows.drop_nulls("question")
    if known.is_empty():
        return dict.fromkeys(("malformed_share", *(f"{kind}_share" for kind in grammar.KINDS)))
    questions = known.select("question", pl.col("answer").fill_null(""), "stated_relation", "subject", "property_id")
    counts = Counter(grammar.malformed(*row) for row in questions.iter_rows())
    kinds = grammar.KINDS if known["relation"].count() else ("ungrammatical",)
    shares: dict[str, float | None] = {"malformed_share": sum(counts[kind] for kind in kinds) / known.height}
    return shares | {f"{kind}_share": counts[kind] / known.height if kind in kinds else None for kind in grammar.KINDS}


def ambiguous_subject_share(table: Table, ambiguous: frozenset[str]) -> float | None:
    """Share of the rows whose subject, as the question names it, stands for several entities.

    None if there is no evidence: ids that were guessed from labels give each label one id, so that a share of 0 means
    nothing. A table with both the subject's name in the question and its bare label provides evidence.
    """
    subjects = table.rows["subject"].drop_nulls()
    share = facts.share(subjects.is_in(list(ambiguous)))
    has_evidence = table.names_subjects and table.rows["subject_id"].null_count() < table.rows.height
    return share if share or has_evidence else None


def many_objects_share(table: Table) -> float | None:
    """Share of the rows whose subject has several objects of the relation.

    From the column objects_of_pair; else from the rows if they are triplets, which list all objects; else None.
    """
    rows = table.rows
    counted = rows["objects_of_pair"].drop_nulls()
    if not counted.is_empty():
        return facts.share(counted > 1)
    if not table.lists_objects:
        return None
    known = facts.keyed(rows).drop_nulls(facts.FACT)
    objects = known.select(pl.col("object_key").n_unique().over("subject_key", "relation"))
    return facts.share(objects["object_key"] > 1)


def popularity(rows: pl.DataFrame) -> dict[str, float] | None:
    """Smallest, median and largest popularity, in the table's own unit."""
    known = rows.select(pl.col("popularity").drop_nulls())
    if known.is_empty():
        return None
    value = pl.col("popularity")
    return known.select(min=value.min(), median=value.median(), max=value.max()).row(0, named=True)


def _distinct(values: pl.Series) -> int | None:
    return values.drop_nulls().n_unique() or None
