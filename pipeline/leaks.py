"""Leaks: wordings that hold the answer that they ask for, and accepted answers that echo a wording."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data import templates
from dual_data.config import Relation
from dual_data.words import words

PARAPHRASES = ("paraphrases_validation", "paraphrases_training", "paraphrases_test")


class Leaks:
    """What share of an answer's words a wording may hold, over the wordings of all relations."""

    def __init__(self, relations: Mapping[str, Relation], share: float) -> None:
        self._share = share
        self._wordings = {
            stem: tuple(
                tuple(_vocabulary(text) for text in texts)
                for texts in (
                    (one.questions.canonical,),
                    one.questions.validation,
                    one.questions.training,
                    one.questions.test,
                )
            )
            for stem, one in relations.items()
        }
        self._vocabularies = {
            stem: frozenset[str]().union(*(words for use in uses for words in use))
            for stem, uses in self._wordings.items()
        }

    def without_leaking_wordings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with column `leaks`; in those that can be asked, no paraphrase holds the canonical answer.

        `leaks` says that the question itself holds it, or that no wording for validation or none for tests is left.
        """
        lost: list[str] = []
        changed: list[tuple[str | list[int], ...]] = []
        open_rows = rows.filter(pl.col("reason").is_null()).select("fact_id", "relation", "subject", "answer")
        for fact_id, stem, subject, answer in open_rows.iter_rows():
            if not self._is_suspect(stem, subject, answer):
                continue
            kept = self._kept(stem, subject, answer)
            if kept is None:
                lost.append(fact_id)
            elif any(len(left) < len(texts) for left, texts in zip(kept, self._wordings[stem][1:], strict=True)):
                changed.append((fact_id, *kept))
        places = {f"{use}_kept": pl.List(pl.Int64) for use in PARAPHRASES}
        table = pl.DataFrame(changed, schema={"fact_id": pl.String, **places}, orient="row")
        left = (
            pl.when(pl.col(f"{use}_kept").is_null())
            .then(use)
            .otherwise(pl.col(use).list.gather(pl.col(f"{use}_kept")))
            .alias(use)
            for use in PARAPHRASES
        )
        joined = rows.join(table, on="fact_id", how="left", maintain_order="left")
        return joined.with_columns(*left, leaks=pl.col("fact_id").is_in(lost)).drop(*places)

    def _kept(self, stem: str, subject: str, answer: str) -> tuple[list[int], ...] | None:
        """Which wordings for validation, training and tests do not hold the answer; None where the fact is lost."""
        (canonical,), *uses = self._wordings[stem]
        if self._holds(canonical, subject, answer):
            return None
        first, second, third = (
            [place for place, asked in enumerate(use) if not self._holds(asked, subject, answer)] for use in uses
        )
        if len(first) < len(uses[0]) and len(first) % 2 == 0:
            first = first[:-1]
        return (first, second, third) if first and third else None

    def without_echoes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without accepted answers, other than the canonical one, that a wording kept for the fact holds."""
        several = rows.filter(pl.col("reason").is_null() & (pl.col("answers").list.len() > 1))
        suspects = [
            fact_id
            for fact_id, stem, subject, answers in several.select(
                "fact_id", "relation", "subject", "answers"
            ).iter_rows()
            if any(self._is_suspect(stem, subject, answer) for answer in answers[1:])
        ]
        asked = several.filter(pl.col("fact_id").is_in(suspects)).select("fact_id", "answers", "question", *PARAPHRASES)
        owners: list[str] = []
        accepted: list[list[str]] = []
        for fact_id, (canonical, *others), question, *lists in asked.iter_rows():
            wordings = (question, *(text for texts in lists for text in texts))
            told = [frozenset(words(text)) for text in wordings]
            fair = [one for one in others if all(templates.overlap(one, text) < self._share for text in told)]
            owners.append(fact_id)
            accepted.append([canonical, *fair])
        answers = pl.Series(accepted, dtype=pl.List(pl.String))
        table = pl.DataFrame({"fact_id": pl.Series(owners, dtype=pl.String), "answers": answers})
        return rows.update(table, on="fact_id")

    def _is_suspect(self, stem: str, subject: str, answer: str) -> bool:
        """Whether all wordings together hold so much of the answer that one of them might; most facts end here."""
        return self._holds(self._vocabularies[stem], subject, answer)

    def _holds(self, asked: frozenset[str], subject: str, answer: str) -> bool:
        told, named = words(answer), words(subject)
        return sum(word in asked or word in named for word in told) >= self._share * len(told) > 0


def _vocabulary(question: str) -> frozenset[str]:
    """The words of a wording, without the subject's."""
    return frozenset(word for text in templates.cut(question).texts for word in words(text))
