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

    def question(use: str, index: int) -> pl.Expr:
        return templates.rendered([pl.col(f"{use}_{index}_{piece}") for piece in range(2)], [subject])

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
    return asked.drop(*(name for name in table.columns if name != "relation")).collect()


def _template_table(relations: Mapping[str, Relation]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The pieces of every template, one row a relation, and the most templates of each use."""
    wordings = [relation.questions.by_use() for relation in relations.values()]
    counts = {use: [len(wording[use]) for wording in wordings] for use in USES}
    most = {use: max(found, default=0) for use, found in counts.items()}
    columns: dict[str, list[str | None]] = {"relation": list(relations)}
    for use in USES:
        for index in range(most[use]):
            texts = [wording[use][index] if index < len(wording[use]) else None for wording in wordings]
            cuts = [templates.cut(text).texts if text else (None, None) for text in texts]
            for piece in range(2):
                columns[f"{use}_{index}_{piece}"] = [pieces[piece] for pieces in cuts]
    statements = [
        templates.cut(relation.questions.statement) if relation.questions.statement else None
        for relation in relations.values()
    ]
    for piece in range(3):
        columns[f"statement_{piece}"] = [cut.texts[piece] if cut else None for cut in statements]
    columns["statement_starts"] = [cut.variables[0] if cut else None for cut in statements]
    numbers = {f"{use}_count": found for use, found in counts.items()}
    schema = dict.fromkeys(columns, pl.String) | dict.fromkeys(numbers, pl.Int64)
    return pl.DataFrame(columns | numbers, schema=schema), most
