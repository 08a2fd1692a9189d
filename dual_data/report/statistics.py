"""Rank correlation with a bootstrap interval, shares with Wilson's interval, and deciles."""

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
    """Groups of rows that were resampled as a unit."""
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

    Facts about one subject share its popularity, so that rows are not independent: subjects are resampled, not rows
    (Davison and Hinkley 1997, "Bootstrap Methods and their Application", 3.8). Ranks are recomputed in every sample.
    None with fewer than three clusters, and if a side is constant.
    """
    groups, members = np.unique(np.asarray(clusters), return_inverse=True)
    sides = [np.unique(np.asarray(side, dtype=np.float64), return_inverse=True)[1] for side in (first, second)]
    ones = np.ones(members.size)
    value = _weighted(sides[0], sides[1], ones) if groups.size >= 3 else None
    if value is None:
        return None
    generator = np.random.default_rng(_SEED)
    chances = np.full(groups.size, 1 / groups.size)
    estimates = []
    for _ in range(REPLICATES):
        weights = generator.multinomial(groups.size, chances)[members].astype(np.float64)
        estimate = _weighted(sides[0], sides[1], weights)
        if estimate is not None:
            estimates.append(estimate)
    low, high = np.quantile(estimates, [0.025, 0.975])
    return Correlation(groups.size, value, float(low), float(high))


def _weighted(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], weights: Floats) -> float | None:
    """Pearson's correlation of the mid-ranks, each row counted `weights` times; None if a side is constant."""
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

    Equal values stay together, in the tenth of their mid-rank, so a decile may be empty.
    """
    places = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True)[1]
    middles = _mid_ranks(places, np.ones(places.size)) / max(places.size, 1)
    return np.floor(10 * middles).astype(np.int64)


def clustered_share(hits: npt.ArrayLike, clusters: npt.ArrayLike) -> Share:
    """Share of true rows, and Wilson's interval with their effective number. Needs at least one row.

    Facts about one subject tend to be known together, so that rows are not independent: their effective number is
    their number divided by the design effect (Kish 1965, "Survey Sampling"; Rao and Scott 1992, "A simple method for
    the analysis of clustered binary data"), which is at least 1. The design effect is the ratio of the variance of the
    clusters' hits about the share to that of independent rows. Two artificial clusters, one of hits alone and one
    without any, enter the design effect but not the share: for shares of 0 and 1, and for few clusters, rows of one
    cluster then count as alike. With one row in each cluster the interval is Wilson's.
    """
    groups, members = np.unique(np.asarray(clusters), return_inverse=True)
    outcomes = np.asarray(hits, dtype=np.float64)
    sizes = np.bincount(members).astype(np.float64)
    typical = sizes @ sizes / outcomes.size  # size of the cluster of the average row
    sizes = np.append(sizes, [typical, typical])
    cluster_hits = np.append(np.bincount(members, outcomes), [typical, 0.0])
    share = cluster_hits.sum() / sizes.sum()
    residuals = cluster_hits - share * sizes
    design_effect = max(1.0, float(residuals @ residuals / (sizes.sum() * share * (1 - share))))
    interval = wilson(outcomes.sum() / design_effect, outcomes.size / design_effect)
    return Share(outcomes.size, groups.size, int(outcomes.sum()), *interval)


def wilson(hits: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share of independent rows (Wilson 1927). `rows` must be positive."""
    share, spread = hits / rows, _Z**2 / rows
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * np.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
