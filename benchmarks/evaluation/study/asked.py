"""What the model answers before any training: about the facts, and about invented names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import ItemRow
from dual_data.evaluation.rows.data import Item
from dual_data.ids import digest
from dual_data.text.matching import contains_answer

TOKENS = 24


class ProbeResult(NamedTuple):
    """The facts with the model's answers, and how often another city's answer holds the right country."""

    facts: pl.DataFrame
    """With known, answered (the canonical question), log_probability of the answer."""
    control: float
    """Share of facts whose country is in the answer about another city: the effect of luck and a favourite country."""


def ask(loaded: Loaded, facts: pl.DataFrame, *, rows: int) -> ProbeResult:
    """Ask every fact in its canonical and its validation wordings.

    known: most of the validation wordings, which no evaluation uses, are answered with the country.
    """
    items = [
        Item(row["fact_id"], row["question"], row["answer"], tuple(row["answers"]), row["subject"],
             paraphrases=tuple(row["paraphrases_validation"]))
        for row in facts.iter_rows(named=True)
    ]  # fmt: skip
    answers = _measured(loaded, items, rows)
    correct = [[wording["scores"]["contains_answer"] for wording in item["paraphrases"]] for item in answers]
    shuffled = sorted(range(len(items)), key=lambda index: digest(f"control|{items[index].id}"))
    control = [
        contains_answer(answers[other]["generation"], items[index].answers)
        for index, other in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True)
        if not set(items[index].answers) & set(items[other].answers)
    ]
    return ProbeResult(
        facts.with_columns(
            known=pl.Series([2 * sum(flags) > len(flags) for flags in correct]),
            answered=pl.Series([item["scores"]["contains_answer"] > 0 for item in answers]),
            log_probability=pl.Series([item["scores"]["mean_log_probability"] for item in answers]),
        ),
        sum(control) / len(control) if control else 0.0,
    )


def countries_of(loaded: Loaded, questions: Sequence[str], countries: Sequence[str], *, rows: int) -> list[str]:
    """The country in the model's answer to each question; empty where it names none of `countries`."""
    items = [Item(digest(text), text, "none", ("none",)) for text in questions]
    longest = sorted(set(countries), key=len, reverse=True)  # "Guinea" is in "Equatorial Guinea"
    return [
        next((name for name in longest if contains_answer(item["generation"], [name])), "")
        for item in _measured(loaded, items, rows)
    ]


def _measured(loaded: Loaded, items: Sequence[Item], rows: int) -> Sequence[ItemRow]:
    workload = build_workload(loaded.tokenizer, {"asked": items}, "chat", MeasureOptions(distractors=0))
    return measure(open_engine(loaded, rows=rows, max_new_tokens=TOKENS), workload)[0].items["asked"]
