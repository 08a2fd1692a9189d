"""Selection by hash: ranks that depend on ids alone, thirds, caps, pairs and nested prefixes.

Nothing here uses a random generator. A row's rank is a hash of its id, so the order of the input does not matter, and
a dataset that grows by a few rows keeps almost all members of every selection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

SIDES = ("rare", "popular")


def hash_rank(keys: pl.Series, salt: str) -> pl.Series:
    """Uniform UInt64 of every key: the first 8 bytes of sha256("salt|key"). Other salts give independent ranks.

    >>> hash_rank(pl.Series(["Q1"]), "retain").to_list()
    [12528306829010356313]
    """
    start = f"{salt}|".encode()
    encoded = keys.cast(pl.Binary).to_list()
    ranks = {key: hashlib.sha256(start + key).digest()[:8] for key in dict.fromkeys(encoded)}
    joined = b"".join([ranks[key] for key in encoded])
    return pl.Series("rank", np.frombuffer(joined, dtype=">u8").astype(np.uint64), dtype=pl.UInt64)


def with_rank(frame: pl.DataFrame, salt: str) -> pl.DataFrame:
    """The frame with the hash rank of fact_id as column `rank`."""
    return frame.with_columns(hash_rank(frame["fact_id"], salt))


def thirds(frame: pl.DataFrame, value: str, within: Sequence[str], lower_bound: str | None = None) -> pl.DataFrame:
    """Rows of the lowest and the highest third of `value` in each group, with column `side`: rare or popular.

    Ties are ordered by the column `rank`, so that each third has floor(n / 3) rows. Rows without a value are dropped
    first. A group is left out if its two thirds touch (the highest value of the lowest third is not below the lowest
    value of the highest third): its rare and popular rows cannot be told apart.

    Where the column `lower_bound` is true, the true value may be higher. Such a row is certainly popular only if it is
    in the highest third; a group with such a row in a lower third is left out too, since its sides are not known.
    """
    ties = ["rank"] if lower_bound is None else [lower_bound, "rank"]
    ordered = frame.filter(pl.col(value).is_not_null()).sort(*within, value, *ties)
    place, size = pl.int_range(pl.len()).over(within), pl.len().over(within)
    third = size // 3
    sided = ordered.with_columns(
        pl.when(place < third).then(pl.lit("rare")).when(place >= size - third).then(pl.lit("popular")).alias("side")
    )
    if lower_bound is not None:
        sided = sided.filter(~(pl.col(lower_bound) & pl.col("side").ne_missing("popular")).any().over(within))
    sided = sided.filter(pl.col("side").is_not_null())
    highest_rare = pl.col(value).filter(pl.col("side") == "rare").max().over(within)
    lowest_popular = pl.col(value).filter(pl.col("side") == "popular").min().over(within)
    return sided.filter(highest_rare < lowest_popular)


def within_share(columns: Sequence[NDArray[np.int64]], shares: Sequence[float], wanted: int) -> NDArray[np.int64]:
    """Indices of the first rows, up to `wanted`, such that no value has more than its share of them.

    Each of `columns` holds a number for every row's value (`numbered`; negative: no value), `shares` the largest share
    of a value of that column. Of n rows a value has at most `most_of(n, share)`, its first ones, in the given order; a
    row that one column leaves out still counts among the first of its other values.
    """
    places = [np.where(values < 0, -1, nth(values)) for values in columns]
    size, possible = -1, wanted
    while possible != size:
        # Fewer rows allow fewer of each value: this decreases to the largest size that satisfies the caps.
        size = possible
        allowed = [place < most_of(size, share) for place, share in zip(places, shares, strict=True)]
        rows = np.flatnonzero(np.logical_and.reduce(allowed))
        possible = min(size, len(rows))
    return rows[:size]


def matched_pairs(frame: pl.DataFrame, cell: Sequence[str]) -> pl.DataFrame:
    """Pair rare with popular rows of the same cell, such that no subject and no bond is in two pairs.

    A cell is a combination of values of the columns `cell`. Needs these, subject, bond, answer, most, fact_id, side and
    rank; returns the columns of the rare and of the popular row with the suffixes _rare and _popular, and `rank`: the
    higher of the two members' ranks.

    In each cell the first row of one side by rank is paired with the first of the other, the second with the second.
    So a pair's rank rises with its position in the cell, every prefix of the ranking takes the first pairs of each
    cell, and one fact more or less moves few others. (A hash of the two ids would reorder all later pairs of the cell.)
    The higher of the two ranks spreads a cell's pairs evenly over the ranking where one side is scarcer.

    A bond is what a fact shares with its mirror image. On each side no answer has more pairs than the column `most`
    says. To keep families independent, give them different values in the columns `subject`, `bond` and `answer`.
    The first round takes only the fact of lowest rank of each subject: its pairs are the most stable ones, and the
    front of the ranking. Later rounds pair the remaining rows until no new pair is found.
    """
    rows = frame.sort("rank", "fact_id")
    limits = rows["most"].to_numpy()
    popular = (rows["side"] == SIDES[1]).to_numpy().astype(np.int64)
    keys = rows.select("subject", "bond", "answer", cell=pl.concat_str(cell, separator="\0"))
    numbers = keys.select(numbered(name) for name in keys.columns)
    subjects, bonds, answers, cells = (numbers[name].to_numpy() for name in keys.columns)
    # `paired` holds subjects, then bonds; `pair_counts` holds answers by side.
    bonds, answers = rows.height + bonds, 2 * answers + popular
    paired = np.zeros(2 * rows.height, dtype=np.bool_)
    pair_counts = np.zeros(2 * rows.height, dtype=np.int64)
    rounds: list[NDArray[np.int64]] = []
    remaining = np.arange(rows.height)
    while len(rounds) < 2 or rounds[-1].size:
        remaining = remaining[~paired[subjects[remaining]] & ~paired[bonds[remaining]]]
        free = remaining[nth(answers[remaining]) + pair_counts[answers[remaining]] < limits[remaining]]
        if not rounds:
            free = free[nth(subjects[free]) == 0]
        # Cell, and position among the rows of one side in it: rare and popular rows with the same place are paired.
        place = cells[free] * rows.height + nth(2 * cells[free] + popular[free])
        rare_free, popular_free = (free[popular[free] == side] for side in range(len(SIDES)))
        rare_places, popular_places = (place[popular[free] == side] for side in range(len(SIDES)))
        _, first, second = np.intersect1d(rare_places, popular_places, assume_unique=True, return_indices=True)
        candidates = np.stack([rare_free[first], popular_free[second]])
        # Rows are in the order of rank: the later row of a pair has the higher rank.
        candidates = candidates[:, np.argsort(candidates.max(axis=0))]
        taken = candidates[:, _unpaired(np.concatenate([subjects[candidates], bonds[candidates]]), paired)]
        np.add.at(pair_counts, answers[taken], 1)
        rounds.append(taken)
    pairs = np.concatenate(rounds, axis=1)
    columns = [name for name in frame.columns if name not in (*cell, "side")]
    rare_rows = rows.select(*cell, pl.col(columns).name.suffix("_rare"))
    popular_rows = rows.select(pl.col(columns).name.suffix("_popular"))
    joined: pl.DataFrame = rare_rows[pairs[0]].hstack(popular_rows[pairs[1]])
    return joined.with_columns(rank=pl.max_horizontal("rank_rare", "rank_popular"))


def numbered(column: str) -> pl.Expr:
    """A number (Int64) from 0 up for each distinct value of a column, in the order of the values."""
    return pl.col(column).rank("dense").cast(pl.Int64) - 1


def nth(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each key, how many equal keys precede it; no key is below -1."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-2))
    counts = np.empty_like(keys)
    counts[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    return counts


def _unpaired(pairs: NDArray[np.int64], paired: NDArray[np.bool_]) -> list[int]:
    """Indices of the columns of `pairs` that, in order, repeat no paired value; `paired` gains their values."""
    taken: set[int] = set()
    columns = []
    for index, values in enumerate(pairs.T.tolist()):
        if len({*values}) == len(values) and taken.isdisjoint(values):
            taken.update(values)
            columns.append(index)
    paired[list(taken)] = True
    return columns


class Nested(NamedTuple):
    """Indices of nested prefixes, and the length of each prefix."""

    chosen: list[int]
    """In the order of choice."""
    filled: dict[int, int]
    """Length by requested size; shorter than the size where the choices ran out."""


def nested(choices: Sequence[Sequence[Hashable]], sizes: Iterable[int], share: float) -> Nested:
    """Choose prefixes of a ranking, each inside the next, so that no value has more than its share in any of them.

    `choices` are in rank order; each lists the values that it counts for. For each size n in ascending order, choices
    are taken from the front until there are n. One that would bring a value above `most_of(n, share)` is skipped and
    considered again for the next size, so the cap holds in every prefix and not only in the largest.
    """
    counts: dict[Hashable, int] = {}
    chosen: list[int] = []
    filled: dict[int, int] = {}
    waiting = list(range(len(choices)))
    for size in sorted(set(sizes)):
        most = most_of(size, share)
        passed: list[int] = []
        for place, index in enumerate(waiting):
            if len(chosen) == size:
                passed += waiting[place:]
                break
            if any(counts.get(value, 0) >= most for value in choices[index]):
                passed.append(index)
                continue
            for value in choices[index]:
                counts[value] = counts.get(value, 0) + 1
            chosen.append(index)
        filled[size] = len(chosen)
        waiting = passed
    return Nested(chosen, filled)


def most_of(size: int, share: float) -> int:
    """How many of `size` rows one value may have: floor(share * size), but always one."""
    return max(1, int(share * size + 1e-9))
