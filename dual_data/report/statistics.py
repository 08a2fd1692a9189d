"""Rank correlation with a bootstrap interval, shares with theirs, and deciles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

REPLICATES = 1000
"""Bootstrap samples behind an interval."""
_SEED = 20260219
_Z = 1.959964
"""Normal quantile of a 95 % interval."""

Floats = npt.NDArray[np.float64]


class Correlation(NamedTuple):
    """Spearman's rank correlation with a 95 % interval."""

    clusters: int
    """Groups of rows that were drawn as one."""
    value: float
    low: float
    high: float


class Share(NamedTuple):
    """A share of rows with a 95 % interval."""

    rows: int
    clusters: int
    """Groups of rows that may be alike."""
    hits: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.rows


def spearman(first: npt.ArrayLike, second: npt.ArrayLike, clusters: npt.ArrayLike) -> Correlation | None:
    """Spearman's rho (mid-ranks for ties) and its percentile bootstrap interval over whole clusters.

    Facts about one subject share its popularity, so that rows are not independent: subjects are drawn, not rows
    (Davison and Hinkley 1997, "Bootstrap Methods and their Application", 3.8). Ranks are taken anew in every sample.
    None with fewer than three clusters, and where a side is constant.
    """
    groups, members = np.unique(np.asarray(clusters), return_inverse=True)
    sides = [np.unique(np.asarray(side, dtype=np.float64), return_inverse=True)[1] for side in (first, second)]
    ones = np.ones(members.size)
    value = _weighted(sides[0], sides[1], ones) if groups.size >= 3 else None
    if value is None:
        return None
    draw = np.random.default_rng(_SEED)
    chances = np.full(groups.size, 1 / groups.size)
    found = []
    for _ in range(REPLICATES):
        weights = draw.multinomial(groups.size, chances)[members].astype(np.float64)
        again = _weighted(sides[0], sides[1], weights)
        if again is not None:
            found.append(again)
    low, high = np.quantile(found, [0.025, 0.975])
    return Correlation(groups.size, value, float(low), float(high))


def _weighted(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], weights: Floats) -> float | None:
    """Pearson's correlation of the mid-ranks, every row counted `weights` times."""
    ranks = [_mid_ranks(side, weights) for side in (first, second)]
    total = weights.sum()
    centred = [rank - (rank @ weights) / total for rank in ranks]
    spreads = [float((side * side) @ weights) for side in centred]
    if min(spreads) <= 1e-9 * total:
        return None
    return float((centred[0] * centred[1]) @ weights / np.sqrt(spreads[0] * spreads[1]))


def _mid_ranks(places: npt.NDArray[np.int64], weights: Floats) -> Floats:
    counts = np.bincount(places, weights)
    middles: Floats = np.cumsum(counts) - counts / 2
    return middles[places]


def deciles(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The tenth of the distribution that each value falls into, 0 for the lowest.

    Equal values stay together, in the tenth of their middle rank; so a decile may be empty.
    """
    places = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)[1]
    middles = _mid_ranks(places, np.ones(places.size)) / max(places.size, 1)
    return np.floor(10 * middles).astype(np.int64)


def clustered_share(hits: npt.ArrayLike, clusters: npt.ArrayLike) -> Share:
    """Share of true rows, and Wilson's interval of their effective number. Needs at least one row.

    Facts about one subject tend to be known together, so that rows are not independent: they count for their number
    divided by the design effect (Kish 1965, "Survey Sampling"; Rao and Scott 1992, "A simple method for the analysis of
    clustered binary data"), though never for more. That is how much more the clusters' hits vary about the share than
    those of independent rows. Two made-up clusters, one all hit and one not at all, take part in it, but not in the
    share: at 0 and 1, and where few clusters tell little, rows of one cluster then count as alike. With one row a
    cluster the interval is Wilson's.
    """
    groups, members = np.unique(np.asarray(clusters), return_inverse=True)
    found = np.asarray(hits, dtype=np.float64)
    sizes = np.bincount(members).astype(np.float64)
    usual = sizes @ sizes / found.size  # size of the cluster of the average row
    sizes, hit = np.append(sizes, [usual, usual]), np.append(np.bincount(members, found), [usual, 0.0])
    share = hit.sum() / sizes.sum()
    beyond = hit - share * sizes
    effect = max(1.0, float(beyond @ beyond / (sizes.sum() * share * (1 - share))))
    return Share(found.size, groups.size, int(found.sum()), *wilson(found.sum() / effect, found.size / effect))


def wilson(hits: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share of independent rows (Wilson 1927). Needs more than no rows."""
    share, spread = hits / rows, _Z**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * np.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
