"""Selection by hash: ranks that depend on ids alone, thirds, caps, pairs and nested prefixes.

Nothing here draws from a generator. A row's rank is a hash of its id, so the order of the input does not matter, and a
dataset that grows by a few rows keeps almost all members of every selection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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


def within_share(frame: pl.DataFrame, shares: Mapping[str, float], wanted: int) -> pl.DataFrame:
    """The first rows, as many as there can be up to `wanted`, such that no value of a column has more than its share.

    `shares` holds the share by column; null is no value. Of n rows a value has at most `most_of(n, share)`; its first
    rows are kept, and the order stays.
    """
    # The beginning of a long frame is mostly enough, and what a row may have depends on those before it alone.
    begun = frame.head(4 * wanted)
    found = _within_share(begun, shares, wanted)
    return found if found.height == wanted or begun.height == frame.height else _within_share(frame, shares, wanted)


def _within_share(frame: pl.DataFrame, shares: Mapping[str, float], wanted: int) -> pl.DataFrame:
    count = pl.int_range(pl.len())
    nth = pl.struct(pl.when(pl.col(name).is_not_null()).then(count.over(name)).alias(name) for name in shares)
    places = frame.select(nth.alias("nth")).unnest("nth").fill_null(-1).to_numpy()
    size = -1
    kept: NDArray[np.bool_] = np.ones(frame.height, dtype=np.bool_)
    possible = min(wanted, frame.height)
    while possible != size:
        # Fewer rows allow fewer of each value: this walks down to the largest size that holds.
        size = possible
        kept = np.all(places < [most_of(size, share) for share in shares.values()], axis=1)
        possible = min(size, int(kept.sum()))
    return frame.filter(kept).head(size)


def matched_pairs(
    frame: pl.DataFrame, cell: Sequence[str], *, subject: str, bond: str, answer: str, most: str
) -> pl.DataFrame:
    """Pair rare with popular rows of the same cell: all pairs in which no subject and no bond stands twice.

    Needs the columns fact_id, side, rank and those that are named; gives the columns of the rare and the popular row
    with the suffixes _rare and _popular, and `rank`: the higher of the two members' ranks.

    In each cell the first row of one side by rank goes with the first of the other, the second with the second. So a
    pair's rank rises with its place in the cell, every prefix of the ranking takes the first pairs of each cell, and
    one fact more or less moves few others. (A hash of the two ids would draw all later pairs of the cell anew.) The
    higher of the two ranks spreads a cell's pairs evenly over the ranking where one side is scarcer.

    A bond is what a fact shares with its mirror image. On each side no answer has more pairs than column `most` says.
    Families that are to be independent are told apart by their values in the columns `subject`, `bond` and `answer`.
    The first round lets each subject stand for one fact, that of lowest rank, whatever the others do: this is the
    stable part, and the front of the ranking. Later rounds pair what is left, until nothing new comes.
    """
    rows = frame.sort("rank", "fact_id")
    limits = rows[most].to_numpy()
    popular = (rows["side"] == SIDES[1]).to_numpy().astype(np.int64)
    subjects, bonds = _codes(rows[subject]), rows.height + _codes(rows[bond])
    answers = 2 * _codes(rows[answer]) + popular
    cells = _codes(rows.select(pl.concat_str(cell, separator="\0")).to_series())
    held = np.zeros(2 * rows.height, dtype=np.bool_)
    used = np.zeros(2 * rows.height, dtype=np.int64)
    rounds: list[NDArray[np.int64]] = []
    left = np.arange(rows.height)
    while len(rounds) < 2 or rounds[-1].size:
        left = left[~held[subjects[left]] & ~held[bonds[left]]]
        free = left[_nth(answers[left]) + used[answers[left]] < limits[left]]
        if not rounds:
            free = free[_nth(subjects[free]) == 0]
        place = cells[free] * rows.height + _nth(2 * cells[free] + popular[free])
        rare, other = (np.flatnonzero(popular[free] == side) for side in range(len(SIDES)))
        _, first, second = np.intersect1d(place[rare], place[other], assume_unique=True, return_indices=True)
        found = np.stack([free[rare[first]], free[other[second]]])
        # Rows stand in the order of rank: the later of two has the higher one.
        found = found[:, np.argsort(found.max(axis=0))]
        taken = found[:, _unheld(np.concatenate([subjects[found], bonds[found]]), held)]
        np.add.at(used, answers[taken], 1)
        rounds.append(taken)
    pairs = np.concatenate(rounds, axis=1)
    others = [name for name in frame.columns if name not in (*cell, "side")]
    named = rows.select(*cell, pl.col(others).name.suffix("_rare"))
    partners = rows.select(pl.col(others).name.suffix("_popular"))
    joined: pl.DataFrame = named[pairs[0]].hstack(partners[pairs[1]])
    return joined.with_columns(rank=pl.max_horizontal("rank_rare", "rank_popular"))


def _codes(values: pl.Series) -> NDArray[np.int64]:
    """A number from 0 up for each distinct value."""
    return values.rank("dense").to_numpy().astype(np.int64) - 1


def _nth(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many equal keys stand before each."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found = np.empty_like(keys)
    found[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    return found


def _unheld(pairs: NDArray[np.int64], held: NDArray[np.bool_]) -> list[int]:
    """The columns of `pairs` that, taken in order, repeat nothing that is held; `held` grows by what they hold."""
    taken: set[int] = set()
    kept = []
    for index, values in enumerate(pairs.T.tolist()):
        if len({*values}) == len(values) and taken.isdisjoint(values):
            taken.update(values)
            kept.append(index)
    held[list(taken)] = True
    return kept


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
