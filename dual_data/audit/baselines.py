"""Scores of answers that know nothing: what a model must beat before its score says anything.

Every score is ROUGE-L recall with the stemmer of rouge_score, mean over the rows.
"""

from __future__ import annotations

import polars as pl

from dual_data.audit.columns import standard
from dual_data.rouge import longest_common_subsequence, plain_tokens, recalls_l
from dual_data.words import fold

NAMES = ("subject_copy", "majority_answer", "relation_majority", "shuffled_answers", "subject_prefix")


def baselines(frame: pl.DataFrame) -> dict[str, float]:
    """Trivial baselines of one split, with the published column names or ours.

    subject_copy       answering with the subject's label
    majority_answer    always answering with the split's most frequent answer
    relation_majority  answering with the most frequent answer of the relation within the split
    shuffled_answers   answering with the answer of a row drawn from the same relation: the exact mean over all draws
    subject_prefix     answering with the first letters of the subject's label, as many as the answer has

    A baseline that the columns cannot tell is left out. The largest of them is the `b` of the chance-corrected score
    (s - b) / (1 - b).
    """
    rows = standard(frame).rows
    scores = {
        "subject_copy": subject_copy(rows),
        "majority_answer": majority(rows),
        "relation_majority": relation_majority(rows),
        "shuffled_answers": shuffled(rows),
        "subject_prefix": subject_prefix(rows),
    }
    return {name: score for name, score in scores.items() if score is not None}


def subject_copy(rows: pl.DataFrame) -> float | None:
    """Mean score of the subject's label as the answer; None without labels."""
    known = rows.drop_nulls(["answer", "subject_label"])
    return _mean(recalls_l(known["answer"], known["subject_label"]))


def subject_prefix(rows: pl.DataFrame) -> float | None:
    """Mean score of the first letters of the subject's label, as many as the answer has; None without labels."""
    known = rows.drop_nulls(["answer", "subject_label"])
    return _mean(recalls_l(known["answer"], prefixes(known)))


def prefixes(rows: pl.DataFrame) -> list[str]:
    """The beginning of each subject's label, case and accents folded, as long as its answer. Without nulls."""
    return [prefix(label, answer) for label, answer in rows.select("subject_label", "answer").iter_rows()]


def prefix(label: str, answer: str) -> str:
    """The beginning of a subject's label, case and accents folded, as long as the answer."""
    return fold(label)[: len(answer)]


def most_frequent(values: pl.Series) -> tuple[str, float] | None:
    """The most frequent value and its share; of several the first in order of code points."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False])
    if counts.is_empty():
        return None
    value, rows = counts.row(0)
    return value, rows / len(values.drop_nulls())


def majority(rows: pl.DataFrame) -> float | None:
    """Mean score of always giving the split's most frequent answer."""
    top = most_frequent(rows["answer"])
    answers = rows["answer"].drop_nulls()
    return None if top is None else _mean(recalls_l(answers, [top[0]] * len(answers)))


def relation_majority(rows: pl.DataFrame) -> float | None:
    """Mean score of giving the most frequent answer of each row's relation."""
    known = rows.drop_nulls(["answer", "relation"])
    tops = (
        known.group_by("relation", "answer")
        .len()
        .sort(["relation", "len", "answer"], descending=[False, True, False])
        .unique("relation", keep="first", maintain_order=True)
        .select("relation", top="answer")
    )
    paired = known.join(tops, on="relation")
    return _mean(recalls_l(paired["answer"], paired["top"]))


def shuffled(rows: pl.DataFrame) -> float | None:
    """Exact expected score when the answers are shuffled within each relation.

    With c_a rows of answer a among the n rows of a relation, that is the mean over relations, weighted by n, of
    sum_ab c_a c_b recall(a, b) / n^2. Summing over the shared words instead of over all pairs of answers keeps it
    linear in the rows: the longest common subsequence of two answers is the number of words they share, but where they
    share words in different orders, and those few pairs are corrected one by one.
    """
    known = rows.drop_nulls(["answer", "relation"])
    return float(shuffled_sums(known)["sum"].sum()) / known.height if known.height else None


def shuffled_sums(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns relation and sum: what `shuffled` takes the mean of, summed over the rows of each relation.

    `rows` has answer and relation, without nulls. Relations whose answers share no word are absent.
    """
    cells = rows.group_by("relation", "answer").len("rows").with_row_index("cell")
    tokens = [plain_tokens(answer) for answer in cells["answer"]]
    numbered = [_numbered(row) for row in tokens]
    flat = pl.DataFrame(
        {
            "cell": [cell for cell, row in enumerate(numbered) for _ in row],
            "length": [len(row) for row in numbered for _ in row],
            "place": [place for row in numbered for place in range(len(row))],
            "word": [word for row in numbered for word in row],
        },
        schema={"cell": pl.UInt32, "length": pl.Int64, "place": pl.Int64, "word": pl.String},
    )
    words = flat.join(cells.select("cell", "relation", "rows"), on="cell")
    sizes = cells.group_by("relation").agg(pl.col("rows").sum().alias("size"))
    shared = (
        words.group_by("relation", "word")
        .agg((pl.col("rows") / pl.col("length")).sum().alias("gold"), pl.col("rows").sum().alias("given"))
        .join(sizes, on="relation")
        .select("relation", (pl.col("gold") * pl.col("given") / pl.col("size")).alias("sum"))
    )
    crossed = _crossed(words).join(sizes, on="relation")
    too_much = [
        (overlap - longest_common_subsequence(tokens[gold], tokens[given])) / len(tokens[gold])
        for gold, given, overlap in crossed.select("gold", "given", "overlap").iter_rows()
    ]
    weight = pl.col("rows") * pl.col("rows_given") / pl.col("size")
    excess = crossed.select("relation", (-weight * pl.Series(too_much, dtype=pl.Float64)).alias("sum"))
    return pl.concat([shared, excess]).group_by("relation").agg(pl.col("sum").sum())


def _numbered(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words made distinct by counting their repeats, so that a set of them is a multiset of the words."""
    seen: dict[str, int] = {}
    numbered = []
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        numbered.append(f"{word} {seen[word]}")
    return tuple(numbered)


def _crossed(words: pl.DataFrame) -> pl.DataFrame:
    """Pairs of cells of a relation that share two words in different orders, with how many words they share."""
    right = words.select("cell", second="word", place_second="place")
    orders = words.join(right, on="cell").filter(pl.col("place") < pl.col("place_second"))
    # A pair of words matters only where some cell has it in the other order.
    reversed_orders = orders.select("relation", word="second", second="word", given="cell", rows_given="rows")
    pairs = (
        orders.join(reversed_orders, on=["relation", "word", "second"])
        .select("relation", "rows", "rows_given", gold="cell", given="given")
        .unique()
    )
    gold = pairs.join(words.select("word", gold="cell"), on="gold")
    overlaps = (
        gold.join(words.select("word", given="cell"), on=["given", "word"]).group_by("gold", "given").len("overlap")
    )
    return pairs.join(overlaps, on=["gold", "given"])


def _mean(scores: list[float]) -> float | None:
    return sum(scores) / len(scores) if scores else None
