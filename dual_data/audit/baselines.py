"""Scores of trivial rules, which know no fact: a model must beat them before its score means anything.

Every score is ROUGE-L recall with the stemmer of rouge_score, over all rows, as a model is scored on them: an answer
without a letter from A to Z or a digit has a score of 0, whatever is answered. The rules:

subject_copy       answers with the subject's label
majority_answer    always answers with the split's most frequent answer
relation_majority  answers with the most frequent answer of the relation within the split
shuffled_answers   answers with the answer of another row of the relation: the exact mean over all of them or, for
                   answers of many words in relations of many, an estimate from a hundred of them
subject_prefix     answers with the first letters of the subject's label, case and accents folded, as many as the answer
                   has

A rule that has no answer to a row scores 0 there: an answer that one row alone has is no most frequent one, since
knowing it is knowing that row, and a relation with one row has no other.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache

import polars as pl

from dual_data.audit.columns import standard
from dual_data.sampling import hash_rank
from dual_data.text.rouge import is_scorable, longest_common_subsequence, plain_tokens, recall_l
from dual_data.text.words import fold

NAMES = ("subject_copy", "majority_answer", "relation_majority", "shuffled_answers", "subject_prefix")
_DIGITS = 9
"""Decimals of a table's scores."""
_LONG = 8
"""Words of an answer, in the quadratic mean over a relation, beyond which most answers share words in two orders."""
_COMPARED = 100
"""How many other answers of its relation a long answer is compared with, besides those of more than a hundredth of the
rows."""


def baselines(frame: pl.DataFrame) -> dict[str, float]:
    """Mean score of each rule on one split, with the published column names or ours.

    A rule that the columns do not allow is left out. The largest score is the `b` of the chance-corrected score
    (s - b) / (1 - b).
    """
    means = mean_scores(rule_scores(standard(frame).rows))
    return {name: score for name, score in means.items() if score is not None}


def mean_scores(scored: pl.DataFrame) -> dict[str, float | None]:
    """Mean of each rule's scores (`rule_scores`) over the rows that it applies to; None if there are none."""
    known = {column.name: column.drop_nulls().to_list() for column in scored}
    return {name: sum(scores) / len(scores) if scores else None for name, scores in known.items()}


def scorable(rows: pl.DataFrame) -> pl.Series:
    """Whether the answer of each row can be scored; null where there is none."""
    return pl.Series([None if answer is None else is_scorable(answer) for answer in rows["answer"]], dtype=pl.Boolean)


def baseline_table(rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row for each value of `by`, in order of first appearance: rows, the baselines, and `chance`, their maximum.

    The same as :func:`baselines` for many splits at once. `rows` has answer, relation and subject_label, without nulls.
    """
    scored = rule_scores(rows, by).with_columns(rows[by])
    # Groups are summed in no fixed order: rounding makes the table the same on every machine.
    means = pl.col(NAMES).mean().round(_DIGITS)
    table = scored.group_by(by, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("rows"), means)
    return table.with_columns(chance=pl.max_horizontal(NAMES))


def rule_scores(rows: pl.DataFrame, by: str | None = None) -> pl.DataFrame:
    """The score of each rule on each row; null if the row lacks what the rule needs.

    All rows are one split, or with `by`, those with one value of this column.
    """
    rows = rows.select("answer", "relation", "subject_label", split=by or pl.lit(0))
    known = rows.drop_nulls(["answer", "relation"])
    cell = ["split", "relation"]
    tops = (_most_frequent_by(rows.drop_nulls("answer"), ["split"]), _most_frequent_by(known, cell))
    shuffled = _shuffled(known.select("answer", relation=pl.struct(cell))).unnest("relation")
    joined = rows.join(tops[0], on="split", how="left", maintain_order="left")
    joined = joined.join(tops[1], on=cell, how="left", maintain_order="left", suffix="_of_relation")
    joined = joined.join(shuffled, on=[*cell, "answer"], how="left", maintain_order="left")
    texts = {
        "subject_copy": rows["subject_label"].to_list(),
        "majority_answer": joined["top"].to_list(),
        "relation_majority": joined["top_of_relation"].to_list(),
        "subject_prefix": _prefixes(rows),
    }
    answers, recall = rows["answer"].to_list(), cache(_recall)  # pairs repeat
    scores = [pl.Series(name, [*map(recall, answers, guesses)], pl.Float64) for name, guesses in texts.items()]
    return pl.DataFrame([*scores, joined["score"].alias("shuffled_answers")]).select(NAMES)


def _recall(gold: str | None, text: str | None) -> float | None:
    return None if gold is None or text is None else recall_l(gold, text)


def _prefixes(rows: pl.DataFrame) -> list[str | None]:
    """The beginning of each subject's label, as long as its answer."""
    pairs = rows.select("subject_label", "answer").iter_rows()
    return [None if label is None or answer is None else fold(label)[: len(answer)] for label, answer in pairs]


def most_frequent(values: pl.Series) -> tuple[str, float] | None:
    """The most frequent value and its share; ties go to the first by code points."""
    counts = values.drop_nulls().value_counts(name="rows").sort(["rows", values.name], descending=[True, False])
    if counts.is_empty():
        return None
    value, rows = counts.row(0)
    return value, rows / len(values.drop_nulls())


def _most_frequent_by(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Columns `by` and top: the most frequent answer of each group, empty if none repeats; ties go to the first by code
    points."""
    counts = rows.group_by(*by, "answer").len("rows")
    ordered = counts.sort(*by, "rows", "answer", descending=[False] * len(by) + [True, False])
    return ordered.unique(by, keep="first", maintain_order=True).select(
        *by, top=pl.when(pl.col("rows") > 1).then("answer").otherwise(pl.lit(""))
    )


def _shuffled(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns relation, answer, rows and score: the mean score of the relation's other rows against each answer.

    `rows` has answer and relation, without nulls. With c_b rows of answer b among the n of the relation, answer a has
    the score (sum_b c_b recall(a, b) - recall(a, a)) / (n - 1).
    """
    cells = rows.group_by("relation", "answer").len("rows").with_row_index("cell")
    tokens = [plain_tokens(answer) for answer in cells["answer"]]
    words = pl.Series("words", [len(row) for row in tokens], dtype=pl.Int64)
    is_long = (pl.col("words") ** 2).mean().over("relation") > _LONG**2
    short, long = (cells.with_columns(words).filter(which) for which in (~is_long, is_long))
    overlaps = pl.concat([_overlaps(short, tokens), _sampled_overlaps(long, tokens)])
    sizes = cells.group_by("relation").agg(size=pl.col("rows").sum())
    joined = cells.join(sizes, on="relation").join(overlaps, on="cell", how="left")
    itself = pl.Series([float(bool(row)) for row in tokens], dtype=pl.Float64)[joined["cell"]]
    others = pl.max_horizontal(pl.col("overlap").fill_null(0.0) - itself, 0.0) / (pl.col("size") - 1)
    return joined.select("relation", "answer", "rows", score=pl.when(pl.col("size") > 1).then(others).otherwise(0.0))


def _overlaps(cells: pl.DataFrame, tokens: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    """Columns cell and overlap: sum_b c_b recall(a, b) for each answer a of `cells`, whose words are in `tokens`.

    Summing over shared words instead of over all pairs of answers keeps this linear in the rows: the length of the
    longest common subsequence of two answers is the number of words they share, except where they share words in
    different orders; those pairs, few among short answers, are corrected one by one.
    """
    distinct_words = {cell: _numbered(tokens[cell]) for cell in cells["cell"]}
    flat = pl.DataFrame(
        {
            "cell": [cell for cell, row in distinct_words.items() for _ in row],
            "length": [len(row) for row in distinct_words.values() for _ in row],
            "place": [place for row in distinct_words.values() for place in range(len(row))],
            "word": [word for row in distinct_words.values() for word in row],
        },
        schema={"cell": pl.UInt32, "length": pl.Int64, "place": pl.Int64, "word": pl.String},
    )
    words = flat.join(cells.select("cell", "relation", "rows"), on="cell")
    rows_of_word = words.group_by("relation", "word").agg(pl.col("rows").sum().alias("given"))
    shared = words.join(rows_of_word, on=["relation", "word"]).select(
        "cell", overlap=pl.col("given") / pl.col("length")
    )
    crossed = _crossed(words)
    corrections = [
        (longest_common_subsequence(tokens[gold], tokens[given]) - overlap) / len(tokens[gold])
        for gold, given, overlap in crossed.select("gold", "given", "overlap").iter_rows()
    ]
    corrected = crossed.select(cell="gold", overlap=pl.col("rows_given") * pl.Series(corrections, dtype=pl.Float64))
    return pl.concat([shared, corrected]).group_by("cell").agg(pl.col("overlap").sum())


def _sampled_overlaps(cells: pl.DataFrame, tokens: Sequence[tuple[str, ...]]) -> pl.DataFrame:
    """`_overlaps` of long answers, of which most share words in two orders: exact over the frequent answers of the
    relation, and over the others estimated from `_COMPARED` of them, those that follow in the order of hashes, in a
    circle; exact where there are no more."""
    overlaps = []
    ranked = cells.with_columns(hash_rank(cells["answer"], "shuffled")).sort("rank")
    for _, group in ranked.group_by("relation", maintain_order=True):
        rows: dict[int, int] = dict(group.select("cell", "rows").iter_rows())
        total = sum(rows.values())
        # A sample would miss most of the rows, or take one answer for most of them.
        frequent = {cell for cell, number in rows.items() if number * _COMPARED > total}
        seldom = [cell for cell in rows if cell not in frequent]
        following = itertools.accumulate(cell not in frequent for cell in rows)

        def shared(gold: int, others: Collection[int], rows: Mapping[int, int] = rows) -> int:
            return sum(rows[cell] * longest_common_subsequence(tokens[gold], tokens[cell]) for cell in others)

        for gold, place in zip(rows, following, strict=True):
            others = frequent - {gold}
            size = min(len(seldom) - (gold not in frequent), _COMPARED)
            sample = [seldom[(place + step) % len(seldom)] for step in range(size)]
            left = total - rows[gold] - sum(rows[cell] for cell in others)
            sampled = shared(gold, sample) * left / max(sum(rows[cell] for cell in sample), 1)
            words = shared(gold, others) + sampled
            overlaps.append((gold, rows[gold] * bool(tokens[gold]) + words / max(len(tokens[gold]), 1)))
    return pl.DataFrame(overlaps, schema={"cell": pl.UInt32, "overlap": pl.Float64}, orient="row")


def _numbered(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words made distinct by numbering their repeats, so that a set of them represents a multiset of words."""
    numbers = defaultdict[str, Iterator[int]](itertools.count)
    return tuple(f"{word} {next(numbers[word])}" for word in words)


def _crossed(words: pl.DataFrame) -> pl.DataFrame:
    """Pairs of cells of a relation that share two words in different orders, and the number of words they share."""
    right = words.select("cell", second="word", place_second="place")
    orders = words.join(right, on="cell").filter(pl.col("place") < pl.col("place_second"))
    # Joined with the pairs of words that some cell has in the opposite order.
    reversed_orders = orders.select("relation", word="second", second="word", given="cell", rows_given="rows")
    pairs = (
        orders.join(reversed_orders, on=["relation", "word", "second"])
        .select("rows_given", "given", gold="cell")
        .unique()
    )
    gold = pairs.join(words.select("word", gold="cell"), on="gold")
    overlaps = (
        gold.join(words.select("word", given="cell"), on=["given", "word"]).group_by("gold", "given").len("overlap")
    )
    return pairs.join(overlaps, on=["gold", "given"])
