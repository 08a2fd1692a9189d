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
        self._vocabularies = {stem: _vocabulary(relation) for stem, relation in relations.items()}

    def without_leaking_wordings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with column `leaks`; in those that can be asked, no paraphrase holds the canonical answer.

        `leaks` says that the question itself holds it, or that no wording for validation or none for tests is left.
        """
        open_rows = rows.filter(pl.col("reason").is_null()).select("fact_id", "relation", "subject", "answer")
        suspects = [one for one, *rest in open_rows.iter_rows() if self._is_suspect(*rest)]
        asked = rows.filter(pl.col("fact_id").is_in(suspects)).select("fact_id", "answer", "question", *PARAPHRASES)
        lost: list[str] = []
        kept: list[str] = []
        lists: tuple[list[list[str]], ...] = ([], [], [])
        for fact_id, answer, question, validation, training, test in asked.iter_rows():
            if self._echoes(answer, question):
                lost.append(fact_id)
                continue
            first, second, third = (
                [text for text in texts if not self._echoes(answer, text)] for texts in (validation, training, test)
            )
            if len(first) < len(validation) and len(first) % 2 == 0:
                first = first[:-1]
            if first and third:
                kept.append(fact_id)
                for texts, left in zip(lists, (first, second, third), strict=True):
                    texts.append(left)
            else:
                lost.append(fact_id)
        columns = {
            use: pl.Series(texts, dtype=pl.List(pl.String)) for use, texts in zip(PARAPHRASES, lists, strict=True)
        }
        table = pl.DataFrame({"fact_id": pl.Series(kept, dtype=pl.String), **columns})
        return rows.update(table, on="fact_id").with_columns(leaks=pl.col("fact_id").is_in(lost))

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
        told, asked, named = words(answer), self._vocabularies[stem], words(subject)
        return sum(word in asked or word in named for word in told) >= self._share * len(told) > 0

    def _echoes(self, answer: str, wording: str) -> bool:
        return templates.overlap(answer, frozenset(words(wording))) >= self._share


def _vocabulary(relation: Relation) -> frozenset[str]:
    """The words of all wordings, without the subject's."""
    texts = [text for question in relation.questions.questions() for text in templates.cut(question).texts]
    return frozenset(word for text in texts for word in words(text))
