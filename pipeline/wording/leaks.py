"""Leaks: wordings that hold the answer that they ask for, and accepted answers that echo a wording."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data import templates
from dual_data.config import Relation
from dual_data.words import words
from pipeline.wording.wordings import PARAPHRASES


class Leaks:
    """What share of an answer's words a wording may hold, over the wordings of all relations."""

    def __init__(self, relations: Mapping[str, Relation], share: float) -> None:
        self._share = share
        self._wordings = {
            stem: tuple(tuple(_vocabulary(text) for text in texts) for texts in one.questions.by_use().values())
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
        fewer: list[tuple[str | tuple[int, ...], ...]] = []
        open_rows = rows.select("fact_id", "relation", "subject", "answer", "reason").filter(pl.col("reason").is_null())
        for fact_id, stem, subject, answer in open_rows.drop("reason").iter_rows():
            if not self._is_suspect(stem, subject, answer):
                continue
            kept = self._kept(stem, subject, answer)
            if kept is None:
                lost.append(fact_id)
            elif any(len(left) < len(texts) for left, texts in zip(kept, self._wordings[stem][1:], strict=True)):
                fewer.append((fact_id, *kept))
        places = {f"{use}_kept": pl.List(pl.Int64) for use in PARAPHRASES}
        table = pl.DataFrame(fewer, schema={"fact_id": pl.String, **places}, orient="row")
        left = (pl.col(use).list.gather(pl.col(f"{use}_kept")) for use in PARAPHRASES)
        changed = rows.join(table, on="fact_id").select("fact_id", *left)
        return rows.update(changed, on="fact_id").with_columns(leaks=pl.col("fact_id").is_in(lost))

    def _kept(self, stem: str, subject: str, answer: str) -> tuple[tuple[int, ...], ...] | None:
        """Which wordings for validation, training and tests do not hold the answer; None where the fact is lost."""
        told, named = words(answer), words(subject)
        others = [word for word in told if word not in named]
        shared, fewest = len(told) - len(others), self._share * len(told)

        def holds(asked: frozenset[str]) -> bool:
            return shared + sum(map(asked.__contains__, others)) >= fewest

        (canonical,), *uses = self._wordings[stem]
        if holds(canonical):
            return None
        first, second, third = (tuple(place for place, asked in enumerate(use) if not holds(asked)) for use in uses)
        if len(first) < len(uses[0]) and len(first) % 2 == 0:
            first = first[:-1]
        return (first, second, third) if first and third else None

    def without_echoes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without accepted answers, other than the canonical one, that a wording kept for the fact holds."""
        several = rows.lazy().filter(pl.col("reason").is_null() & (pl.col("answers").list.len() > 1))
        suspects = [
            fact_id
            for fact_id, stem, subject, answers in several.select("fact_id", "relation", "subject", "answers")
            .collect()
            .iter_rows()
            if any(self._is_suspect(stem, subject, answer) for answer in answers[1:])
        ]
        asked = several.filter(pl.col("fact_id").is_in(suspects)).select("fact_id", "answers", "question", *PARAPHRASES)
        owners: list[str] = []
        accepted: list[list[str]] = []
        for fact_id, (canonical, *others), question, *lists in asked.collect().iter_rows():
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
        told, named, asked = words(answer), words(subject), self._vocabularies[stem]
        if asked.isdisjoint(told) and set(told).isdisjoint(named):
            return False
        return sum(word in asked or word in named for word in told) >= self._share * len(told)


def _vocabulary(question: str) -> frozenset[str]:
    """The words of a wording, without the subject's."""
    return frozenset(word for text in templates.cut(question).texts for word in words(text))
