"""Selection by hash: ranks that depend on ids alone, thirds, caps, pairs and nested prefixes.

Nothing here draws from a generator. A row's rank is a hash of its id, so the order of the input does not matter, and a
dataset that grows by a few rows keeps almost all members of every selection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

SIDES = ("rare", "popular")


def hash_rank(keys: pl.Series, salt: str) -> pl.Series:
    """Uniform UInt64 of every key: the first 8 bytes of sha256("salt|key"). Other salts give independent ranks.

    >>> hash_rank(pl.Series(["Q1"]), "retain").to_list()
    [12528306829010356313]
    """
    start = hashlib.sha256(f"{salt}|".encode())
    known: dict[str, bytes] = {}
    ranks = []
    for key in keys.to_list():
        rank = known.get(key)
        if rank is None:
            state = start.copy()
            state.update(key.encode("utf-8"))
            rank = known[key] = state.digest()[:8]
        ranks.append(rank)
    return pl.Series("rank", np.frombuffer(b"".join(ranks), dtype=">u8").astype(np.uint64), dtype=pl.UInt64)


def with_rank(frame: pl.DataFrame, key: str, salt: str, name: str = "rank") -> pl.DataFrame:
    """The frame with the hash rank of column `key` as column `name`."""
    return frame.with_columns(hash_rank(frame[key], salt).alias(name))


def thirds(frame: pl.DataFrame, value: str, within: Sequence[str]) -> pl.DataFrame:
    """Rows of the lowest and the highest third of `value` in each group, with column `side`: rare or popular.

    Ties are ordered by the column `rank`, so that each third has floor(n / 3) rows. A group whose two thirds touch
    (the highest value of the lowest third is not below the lowest of the highest) is left out: it has no rare and
    popular to tell apart. Rows without a value are left out before.
    """
    ordered = frame.filter(pl.col(value).is_not_null()).sort(*within, value, "rank")
    place, size = pl.int_range(pl.len()).over(within), pl.len().over(within)
    third = size // 3
    sided = ordered.with_columns(
        pl.when(place < third).then(pl.lit("rare")).when(place >= size - third).then(pl.lit("popular")).alias("side")
    ).filter(pl.col("side").is_not_null())
    highest_rare = pl.col(value).filter(pl.col("side") == "rare").max().over(within)
    lowest_popular = pl.col(value).filter(pl.col("side") == "popular").min().over(within)
    return sided.filter(highest_rare < lowest_popular)


def capped(frame: pl.DataFrame, by: Sequence[str], most: int) -> pl.DataFrame:
    """At most `most` rows of each value of `by`, those of lowest rank."""
    return frame.sort("rank").filter(pl.int_range(pl.len()).over(by) < most)


def one_each(frame: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """One row of each value of `by`, the one of lowest rank."""
    return capped(frame, by, 1)


def pairs(frame: pl.DataFrame, cell: Sequence[str]) -> pl.DataFrame:
    """Pair the rare with the popular rows of each cell: first with first, second with second, by rank.

    Needs the columns fact_id, side, rank and those of `cell`; gives the columns of the rare and the popular row with
    the suffixes _rare and _popular, and `rank`, by which the frame is sorted: the higher of the two members' ranks.
    A pair's rank rises with its place in the cell, so every prefix of the ranking takes the first pairs of each cell,
    and one fact more or less moves few others. (A hash of the two ids would draw all later pairs of the cell anew.)
    The higher of the two spreads a cell's pairs evenly over the ranking where one side is scarcer.
    """
    placed = frame.sort("rank").with_columns(place=pl.int_range(pl.len()).over([*cell, "side"]))
    keys = [*cell, "place"]
    others = [name for name in frame.columns if name not in (*cell, "side")]
    rare, popular = (
        placed.filter(pl.col("side") == side).select(*keys, pl.col(others).name.suffix(f"_{side}"))
        for side in ("rare", "popular")
    )
    joined = rare.join(popular, on=keys, how="inner")
    rank = pl.max_horizontal("rank_rare", "rank_popular").alias("rank")
    return joined.with_columns(rank).sort("rank", "fact_id_rare").drop("place")


def matched_pairs(
    frame: pl.DataFrame, cell: Sequence[str], *, subject: str, bond: str, answer: str, most: str
) -> pl.DataFrame:
    """All pairs of the frame in which no subject and no bond stands twice, as `pairs` gives them, in their order.

    A bond is what a fact shares with its mirror image. On each side no answer has more pairs than column `most` says.
    Families that are to be independent are told apart by their values in the columns `subject`, `bond` and `answer`.
    The first round lets each subject stand for one fact, that of lowest rank, whatever the others do: this is the
    stable part, and the front of the ranking. Later rounds pair what is left, until nothing new comes.
    """
    held: set[str] = set()
    counts: dict[tuple[str, str], int] = {}
    rounds = [pairs(frame.head(0), cell)]
    left = frame
    while True:
        used = pl.DataFrame(
            [(*key, count) for key, count in counts.items()],
            schema={"side": pl.String, answer: pl.String, "used": pl.Int64},
            orient="row",
        )
        names = pl.Series(sorted(held), dtype=pl.String).implode()
        left = left.filter(~pl.col(subject).is_in(names) & ~pl.col(bond).is_in(names))
        nth = pl.int_range(pl.len()).over("side", answer)
        open_rows = (
            left.sort("rank")
            .join(used, on=["side", answer], how="left", maintain_order="left")
            .filter(nth + pl.col("used").fill_null(0) < pl.col(most))
            .drop("used")
        )
        found = pairs(one_each(open_rows, [subject]) if len(rounds) == 1 else open_rows, cell)
        taken = found.filter(_unheld(found, (subject, bond), held))
        for side in SIDES:
            name = answer if answer in cell else f"{answer}_{side}"
            for value in taken[name].to_list():
                counts[side, value] = counts.get((side, value), 0) + 1
        rounds.append(taken)
        if taken.is_empty() and len(rounds) > 2:
            return pl.concat(rounds)


def _unheld(found: pl.DataFrame, columns: Sequence[str], held: set[str]) -> pl.Series:
    """Which pairs, in order, repeat nothing that is held; `held` grows by what they hold."""
    kept = []
    for values in found.select(f"{name}_{side}" for name in columns for side in SIDES).iter_rows():
        free = held.isdisjoint(values) and len(set(values)) == len(values)
        kept.append(free)
        if free:
            held.update(values)
    return pl.Series(kept, dtype=pl.Boolean)


class Nested(NamedTuple):
    """Indices in the order of choice, and how many of them stand in the prefix of each size."""

    chosen: list[int]
    filled: dict[int, int]
    """By requested size; smaller than the size where the choices ran out."""


def nested(choices: Sequence[Sequence[str]], sizes: Iterable[int], share: float) -> Nested:
    """Choose prefixes of a ranking, each inside the next, so that no value has more than its share in any of them.

    `choices` come in rank order; each names the values that it counts for. For each size n in rising order, choices
    are taken from the front until there are n. One that would bring a value above `most_of(n, share)` is passed over
    and looked at again for the next size, so the cap holds in each prefix and not only in the largest.
    """
    counts: dict[str, int] = {}
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
