"""Wordings: every template of the relation files, rendered over a table of facts at once."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dual_data import templates
from dual_data.config import Relation

USES = ("canonical", "validation", "training", "test")


def with_questions(rows: pl.DataFrame, relations: Mapping[str, Relation]) -> pl.DataFrame:
    """Add question, paraphrases_{validation, training, test} and statement to rows of relation, subject and answer."""
    table, most = _template_table(relations)
    subject = pl.col("subject")
    pieces = rows.join(table, on="relation", how="left", maintain_order="left")
    pieces = pieces.join(_subject_forms(rows), on="subject", how="left", maintain_order="left")

    def question(use: str, index: int) -> pl.Expr:
        before, after, form = (pl.col(f"{use}_{index}_{piece}") for piece in range(3))
        if "other" in table[f"{use}_{index}_2"]:
            return templates.rendered([before, after], [subject])
        between = pl.when(form == "begun").then("begun").when(form == "ended").then("ended").otherwise("subject")
        return pl.concat_str(before, between, after)

    def paraphrases(use: str) -> pl.Expr:
        if not most[use]:
            return pl.lit([], dtype=pl.List(pl.String))
        # Lists of equal length, cut to what the relation has, are made many times faster than uneven ones.
        found = pl.concat_arr([question(use, index) for index in range(most[use])]).arr.to_list()
        return found.list.head(pl.when(subject.is_not_null()).then(f"{use}_count").fill_null(0))

    first, second = (
        pl.when(pl.col("statement_starts") == start).then(pl.col("subject")).otherwise(pl.col("answer"))
        for start in ("subject", "answer")
    )
    statement = templates.rendered([pl.col(f"statement_{piece}") for piece in range(3)], [first, second])
    lists = {f"paraphrases_{use}": paraphrases(use) for use in USES[1:]}
    # Lazily, so that what several expressions have in common is worked out once.
    asked = pieces.lazy().with_columns(question=question("canonical", 0), statement=statement, **lists)
    return asked.drop("begun", "ended", *(name for name in table.columns if name != "relation")).collect()


def _subject_forms(rows: pl.DataFrame) -> pl.DataFrame:
    """What a subject becomes at the ends of a sentence: worked out once for each, not for every template."""
    subject = pl.col("subject")
    begun = templates.rendered([pl.lit(""), pl.lit(" ")], [subject]).str.head(-1)
    ended = templates.rendered([pl.lit(" "), pl.lit(".")], [subject]).str.slice(1).str.head(-1)
    return rows.lazy().select(subject.unique()).with_columns(begun=begun, ended=ended).collect()


def _template_table(relations: Mapping[str, Relation]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The pieces of every template, one row a relation, and the most templates of each use."""
    by_use: dict[str, dict[str, tuple[str, ...]]] = {use: {} for use in USES}
    for stem, relation in relations.items():
        wording = relation.questions
        for use, found in zip(
            USES, ((wording.canonical,), wording.validation, wording.training, wording.test), strict=True
        ):
            by_use[use][stem] = found
    most = {use: max((len(found) for found in stems.values()), default=0) for use, stems in by_use.items()}
    columns: dict[str, list[str | None]] = {"relation": list(relations)}
    counts = {f"{use}_count": [len(found) for found in stems.values()] for use, stems in by_use.items()}
    for use, stems in by_use.items():
        for index in range(most[use]):
            cuts = [_pieces(found[index]) if index < len(found) else (None,) * 3 for found in stems.values()]
            for piece in range(3):
                columns[f"{use}_{index}_{piece}"] = [pieces[piece] for pieces in cuts]
    statements = [
        templates.cut(relation.questions.statement) if relation.questions.statement else None
        for relation in relations.values()
    ]
    for piece in range(3):
        columns[f"statement_{piece}"] = [cut.texts[piece] if cut else None for cut in statements]
    columns["statement_starts"] = [cut.variables[0] if cut else None for cut in statements]
    schema = dict.fromkeys(columns, pl.String) | dict.fromkeys(counts, pl.Int64)
    return pl.DataFrame(columns | counts, schema=schema), most


def _pieces(question: str) -> tuple[str, str, str]:
    """Text before and after the subject, and the subject's form between them: as it is, begun, ended, or other."""
    before, after = templates.cut(question).texts
    if before == "" and after.startswith(" ") and not after.endswith(".."):
        return before, after, "begun"
    # A start that no capital would change stays as it is, whatever follows.
    own_start = " " in before or (before != "" and before[0] == before[0].upper())
    if not own_start or after == "" or after.endswith(".."):
        return before, after, "other"
    return templates.capitalised(before) if " " in before else before, after, "ended" if after == "." else "subject"
