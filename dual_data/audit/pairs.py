"""What two splits share, and how well one feature alone distinguishes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from dual_data.audit import facts
from dual_data.audit.auc import auc
from dual_data.text.words import words

LARGEST_DIFFERENCE = 0.1
"""Of balanced splits: the largest standardised mean difference (Austin 2009, "Balance diagnostics for comparing the
distribution of baseline covariates")."""
LARGEST_DISTANCE = 0.02
"""Of balanced splits: the largest distance of an area under the ROC curve from 0.5."""
UNTOLD = "most rows share their value with no other row, or with too few"
"""Reason for a missing area although both splits have values."""


class Named(NamedTuple):
    """Subjects and facts of a split under one way of naming entities."""

    subjects: Counter[Any]
    facts: set[facts.Fact]


class Counted(NamedTuple):
    """The data of a split that comparisons need, computed once for all of them. Counts are of rows by value."""

    questions: Counter[Any]
    answers: Counter[Any]
    features: Mapping[str, pl.Series]
    """What may tell the split from another, by name."""
    by_id: Named | None
    by_label: Named


def counted(rows: pl.DataFrame) -> Counted:
    """Count a split under standard names."""
    features = features_of(rows)
    return Counted(
        questions=Counter(rows["question"].str.to_lowercase().drop_nulls()),
        answers=Counter(features["answer"].drop_nulls()),
        features=features,
        by_id=None if rows.filter(facts.IDENTIFIED).is_empty() else _named(facts.keyed(rows)),
        by_label=_named(facts.labelled(rows)),
    )


def features_of(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """What may tell these rows from those of another split, by name; lengths are in characters."""
    answers = rows["answer"]
    return {
        "relation": rows["relation"],
        "answer": answers.str.to_lowercase(),
        # Where hardly any answer occurs twice, a word of it may: "US" of US-CA, "Province" of Como Province.
        "answer_first_word": word_at(answers, 0),
        "answer_last_word": word_at(answers, -1),
        "answer_length": answers.str.len_chars(),
        "subject_length": rows["subject_label"].str.len_chars(),
    }


def word_at(texts: pl.Series, place: int) -> pl.Series:
    """The first (0) or the last (-1) word of each text, folded; null for a text without words."""
    tokenised = (words(text) if text is not None else () for text in texts)
    return pl.Series([tokens[place] if tokens else None for tokens in tokenised], dtype=pl.String)


def compare(first: Counted, second: Counted) -> dict[str, Any]:
    """All measurements of a pair of splits; None for those that the columns do not allow.

    Subjects and facts are compared by id if both splits have ids, else by label; questions and answers by their
    lower-cased text. `shared_*` are numbers of distinct values, `shared_*_rows` the numbers of rows of the first and of
    the second split with these values, and `answering_subjects` the numbers of subjects of the first and of the second
    whose names are answers in the other. `untold` says why an area is None although both splits have values.
    """
    left, right = (first.by_id, second.by_id) if first.by_id and second.by_id else (first.by_label, second.by_label)
    comparable = bool(left.facts and right.facts)
    features = {f"auc_{name}": (feature, second.features[name]) for name, feature in first.features.items()}
    areas = {name: auc(*sides) for name, sides in features.items()}
    return {
        "shared_questions": _shared(first.questions, second.questions),
        "shared_subjects": _shared(left.subjects, right.subjects),
        "shared_answers": _shared(first.answers, second.answers),
        "shared_subject_rows": _sharing(left.subjects, right.subjects),
        "shared_answer_rows": _sharing(first.answers, second.answers),
        "answering_subjects": [
            _shared(first.by_label.subjects, second.answers),
            _shared(second.by_label.subjects, first.answers),
        ],
        "mirrored_facts": facts.mirrored_facts(left.facts, right.facts) if comparable else None,
        **areas,
        "untold": {
            name: UNTOLD
            for name, sides in features.items()
            if areas[name] is None and all(feature.count() for feature in sides)
        },
    }


def _named(rows: pl.DataFrame) -> Named:
    known: Iterable[facts.Fact] = rows.select(facts.FACT).drop_nulls().iter_rows()
    return Named(Counter(rows["subject_key"].drop_nulls()), set(known))


def _shared(first: Counter[Any], second: Counter[Any]) -> int | None:
    return len(first.keys() & second.keys()) if first and second else None


def _sharing(first: Counter[Any], second: Counter[Any]) -> list[int] | None:
    if not first or not second:
        return None
    shared = first.keys() & second.keys()
    return [sum(counts[value] for value in shared) for counts in (first, second)]
