"""Leaks: wordings that hold the answer that they ask for, and accepted answers that occur in a wording.

Words are compared once stemmed, as the evaluation's ROUGE does: to it, "record" is a word of "Epic Records". The share
is the larger of two (`templates.overlap`): with the answer's small words ("of", "de", "The"), and without.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data import templates
from dual_data.config import Relation
from dual_data.text.rouge import unicode_tokens
from pipeline.wording.wordings import PARAPHRASES


class Leaks:
    """Finds leaks: wordings that hold at least `share` of an answer's words."""

    def __init__(self, relations: Mapping[str, Relation], share: float) -> None:
        self._share = share
        self._wordings = {
            stem: tuple(tuple(_vocabulary(text) for text in texts) for texts in relation.questions.by_use().values())
            for stem, relation in relations.items()
        }
        self._vocabularies = {
            stem: frozenset[str]().union(*(vocabulary for use in uses for vocabulary in use))
            for stem, uses in self._wordings.items()
        }

    def without_leaking_wordings(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with column `leaks`; in those that can be asked, no paraphrase holds the canonical answer.

        `leaks` is "question" where the question itself holds it, "wordings" where no wording is left for validation or
        for tests, and null elsewhere.
        """
        leaks: list[tuple[str, str]] = []
        reduced: list[tuple[str | tuple[int, ...], ...]] = []
        open_rows = rows.select("fact_id", "relation", "subject", "answer", "reason").filter(pl.col("reason").is_null())
        for fact_id, stem, subject, answer in open_rows.drop("reason").iter_rows():
            if not self._is_suspect(stem, subject, answer):
                continue
            fair = self._fair_wordings(stem, subject, answer)
            if fair is None:
                leaks.append((fact_id, "question"))
            elif not (fair[0] and fair[2]):
                leaks.append((fact_id, "wordings"))
            elif any(len(left) < len(texts) for left, texts in zip(fair, self._wordings[stem][1:], strict=True)):
                reduced.append((fact_id, *fair))
        places = {f"{use}_fair": pl.List(pl.Int64) for use in PARAPHRASES}
        table = pl.DataFrame(reduced, schema={"fact_id": pl.String, **places}, orient="row")
        remaining = (pl.col(use).list.gather(pl.col(f"{use}_fair")) for use in PARAPHRASES)
        changed = rows.join(table, on="fact_id").select("fact_id", *remaining)
        found = pl.DataFrame(leaks, schema=dict.fromkeys(("fact_id", "leaks"), pl.String), orient="row")
        return rows.update(changed, on="fact_id").join(found, on="fact_id", how="left", maintain_order="left")

    def _fair_wordings(self, stem: str, subject: str, answer: str) -> tuple[tuple[int, ...], ...] | None:
        """Places of the validation, training and test wordings without the answer; None where the question has it."""
        subject_words = unicode_tokens(subject)

        def holds(wording: frozenset[str]) -> bool:
            return templates.overlap(answer, wording.union(subject_words)) >= self._share

        (canonical,), *uses = self._wordings[stem]
        if holds(canonical):
            return None
        validation, training, test = (
            tuple(place for place, wording in enumerate(use) if not holds(wording)) for use in uses
        )
        if len(validation) % 2 == 0:  # of a relation there are oddly many
            validation = validation[:-1]
        return validation, training, test

    def without_echoes(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without accepted answers, other than the canonical one, that occur in a wording of the fact."""
        columns = ("fact_id", "answers", "question", *PARAPHRASES)
        several = rows.select(*columns, "relation", "subject", "reason").filter(
            pl.col("reason").is_null() & (pl.col("answers").list.len() > 1)
        )
        suspect = [
            any(self._is_suspect(stem, subject, answer) for answer in answers[1:])
            for stem, subject, answers in several.select("relation", "subject", "answers").iter_rows()
        ]
        suspects = several.select(columns).filter(pl.Series(suspect, dtype=pl.Boolean))
        accepted: list[tuple[str, list[str]]] = []
        for fact_id, (canonical, *others), question, *lists in suspects.iter_rows():
            wordings = (question, *(text for texts in lists for text in texts))
            vocabularies = [frozenset(unicode_tokens(text)) for text in wordings]
            fair = [
                answer
                for answer in others
                if all(templates.overlap(answer, vocabulary) < self._share for vocabulary in vocabularies)
            ]
            accepted.append((fact_id, [canonical, *fair]))
        table = pl.DataFrame(accepted, schema={"fact_id": pl.String, "answers": pl.List(pl.String)}, orient="row")
        return rows.update(table, on="fact_id")

    def _is_suspect(self, stem: str, subject: str, answer: str) -> bool:
        """Whether all wordings together hold enough of the answer for a leak; most facts need no closer look."""
        return templates.overlap(answer, self._vocabularies[stem].union(unicode_tokens(subject))) >= self._share


def _vocabulary(question: str) -> frozenset[str]:
    """The words of a wording, without the subject's."""
    return frozenset(word for text in templates.cut(question).texts for word in unicode_tokens(text))
