"""Bootstrap intervals of item-level scores, over subjects and, for trained models, over training seeds.

Items of one subject are not independent, and neither are items of one training seed, so resampling draws subjects and
seeds. The two are crossed, not nested: every seed is measured on the same subjects, so one draw of subjects holds for
all seeds (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122). A fresh draw of subjects in each seed would
average away how hard the subjects are, which all seeds share. Two systems scored on the same items are compared with
the same draws: the interval is that of the difference. How often a subject is drawn is a Poisson variable with a mean
of 1 (independent weights, Owen and Eckles 2012, doi 10.1214/12-AOAS547) that depends on nothing but its name. The k-th
draw thus has the same subjects in every figure, whatever else was measured and in whichever order, so that draws of
several figures can be combined. A handful of seeds cannot be resampled: their mean is drawn from Student's t
distribution, which gives the textbook interval where all subjects are alike: Welch's (1947, doi
10.1093/biomet/34.1-2.28), where a difference has seeds on both sides. One seed says nothing about others: its intervals
hold for the models that it gave.

What a seed does to single subjects, the interaction of the two, varies with the draws of subjects, with those of
seeds, and with both together, which makes intervals too wide, as Owen shows. Differences and curves leave out the last
of the three (:func:`additive`). Scores keep it: near 0 and 1 their intervals, and those of medians, are too narrow even
so where seeds are far apart. benchmarks/calibration has figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dual_data.ids import digest
from dual_data.statistics import Floats, auc

_TAIL = 0.025
"""Share of the draws on either side of a 95 % interval."""
_REPLICATES = 2000
_TESTED_REPLICATES = 10_000
"""Draws of what has a p-value: with these, one near 0.05 has a standard error of 0.003 (with 2000, of 0.007)."""
_BLOCK = 1000
"""Draws that are computed at once: with thousands of subjects, all of them would take gigabytes."""
_MEDIAN_BLOCK = 50
"""The same where every draw has a weight for each item of each seed."""
_COSTLY_REPLICATES = 500
"""Fewer draws, where each costs a pass over all items or all pairs."""
_CHI_SQUARE_DRAWS = 5000
"""Draws of the true variance of seeds, given the variance of a few."""
_FEWEST_IN_TAIL = 10
"""Draws beyond zero that are needed to read a p-value from their share."""


class Scale(NamedTuple):
    """Where the values of a score can lie, beyond which no mean of other models or subjects lies either.

    The values themselves do not show it: models that were not trained may lie beyond the least and the largest.
    """

    low: float = -math.inf
    high: float = math.inf
    share: bool = False
    """Whether every value may lie at one end, as 0s and 1s do (:func:`share_ends`)."""

    @property
    def differences(self) -> Scale:
        """Of differences between two values."""
        return Scale(self.low - self.high, self.high - self.low)


ANY = Scale()
UNIT = Scale(0.0, 1.0)
SHARE = Scale(0.0, 1.0, share=True)


class Spread(NamedTuple):
    """Variances of an estimate, by source of variation."""

    subjects: float
    """Over draws of subjects, with the seeds fixed."""
    seeds: tuple[tuple[float, int], ...]
    """Over seeds, with the subjects fixed: (variance, degrees of freedom) each; empty for one seed."""

    @property
    def degrees(self) -> float | None:
        """Degrees of freedom of the variance over all seeds, of Welch (1947) and Satterthwaite (1946).

        Groups of three seeds say more of it together than one of them alone. None where seeds do not differ.
        """
        squares = sum(variance**2 / degrees for variance, degrees in self.seeds)
        return sum(variance for variance, _ in self.seeds) ** 2 / squares if squares else None

    def tail(self, value: float) -> float:
        """Two-sided p-value of "the estimate is zero": normal over subjects plus Student's t over seeds.

        Given the true variance of the seeds, both are normal; the p-value is the mean over draws of that variance.
        """
        total = np.full(_CHI_SQUARE_DRAWS, self.subjects)
        if degrees := self.degrees:
            by_seeds = sum(variance for variance, _ in self.seeds)
            total += by_seeds * degrees / np.random.default_rng(0).chisquare(degrees, _CHI_SQUARE_DRAWS)
        if not total.any():
            return 0.0 if value else 1.0
        return float(np.mean([math.erfc(deviate) for deviate in (abs(value) / np.sqrt(2 * total)).tolist()]))


class Interval(NamedTuple):
    """An estimate with its 95 % interval, and the two-sided p-value of "it is zero" where that was tested."""

    value: float
    low: float
    high: float
    p_value: float | None = None


UNKNOWN = Interval(math.nan, math.nan, math.nan)
"""The estimate where a model gave no number."""


class ClusterSums(NamedTuple):
    """Sums of the values of each cluster."""

    names: tuple[Hashable, ...]
    sums: Floats
    """[clusters, seeds]."""
    sizes: Floats
    """Items of each cluster."""

    def mean(self) -> float:
        return float(self.sums.sum() / (self.sums.shape[1] * self.sizes.sum()))


def bootstrap_mean(values: ArrayLike, clusters: Sequence[Hashable], scale: Scale = ANY) -> Interval:
    """Mean with an interval over seeds and clusters, which are crossed.

    `values` is [items] or [seeds, items]; `clusters` names each item's subject. No draw lies beyond the ends of the
    scale; the interval of a share has the ends of :func:`share_ends`. UNKNOWN where a value is NaN. Raises ValueError
    for no items and for shapes that do not fit.
    """
    table = _cluster_sums(values, clusters)
    if np.isnan(table.sums).any():
        return UNKNOWN
    ends = quantiles(_draw_means(table, scale, _REPLICATES))
    return Interval(table.mean(), *(share_ends(*ends, len(table.names)) if scale.share else ends))


def share_ends(low: float, high: float, clusters: int) -> tuple[float, float]:
    """Ends of the interval of a share, which reach as far as the exact binomial intervals of 0 and of 1.

    Where all of so many clusters are at one end, draws have no spread; where nearly all are, they have too little: one
    hit in sixty would have a lower upper end than none.
    """
    far = _TAIL ** (1 / clusters)
    return min(low, far), max(high, 1 - far)


def bootstrap_function(
    function: Callable[..., Floats], tables: Sequence[ArrayLike], clusters: Sequence[Hashable], scale: Scale = ANY
) -> Interval:
    """A function of the means of several tables of the same seeds and items, all with the same draws.

    `function` takes one array per table, the table's mean in each draw, and returns an array of the same length. Tables
    and clusters as in :func:`bootstrap_mean`, all tables on one scale.
    """
    summed = [_cluster_sums(values, clusters) for values in tables]
    exact = function(*(np.array([table.mean()]) for table in summed))
    draws = function(*(_draw_means(table, scale, _REPLICATES) for table in summed))
    return Interval(float(exact[0]), *quantiles(draws))


def bootstrap_median(values: ArrayLike, clusters: Sequence[Hashable], *, replicates: int = 1000) -> Interval:
    """Median over seeds and items with an interval over seeds and clusters; arrays as in :func:`bootstrap_mean`.

    UNKNOWN where a value is NaN.
    """
    table = np.atleast_2d(np.asarray(values, dtype=float))
    if np.isnan(table).any():
        return UNKNOWN
    seeds = seed_weights(len(table), np.random.default_rng(0), replicates)
    seeds = np.maximum(seeds, 0.0)  # a median needs weights of at least 0
    names, cluster_of_item = _number_clusters(clusters)
    counts = _draw_counts(names, replicates)
    order = np.argsort(table, axis=None, kind="stable")
    ascending = table.ravel()[order]
    medians = list[Floats]()
    for start in range(0, replicates, _MEDIAN_BLOCK):
        block = slice(start, start + _MEDIAN_BLOCK)
        weights = seeds[block, :, None] * counts[block, None, cluster_of_item]
        below = weights.reshape(len(weights), -1)[:, order].cumsum(1)
        half = below[:, -1:] / 2
        # The weighted median: the mean of the two middle values where exactly half of the weight lies below.
        tolerance = 1e-9 * half  # sums of weights are not exact
        lower = ascending[(below < half - tolerance).sum(1)]
        upper = ascending[(below <= half + tolerance).sum(1)]
        medians.append((lower + upper) / 2)
    return Interval(float(np.median(table)), *quantiles(np.concatenate(medians)))


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[Hashable],
    scale: Scale = ANY,
    *,
    replicates: int = _TESTED_REPLICATES,
) -> Interval:
    """Mean of `first - second` on the same items (and seeds), paired, with its interval and p-value.

    Arrays as in :func:`bootstrap_mean`, on one scale; one of the two may lack the seed axis, as for a base model.
    UNKNOWN where a value is NaN.
    """
    left, right = np.atleast_2d(np.asarray(first, dtype=float)), np.atleast_2d(np.asarray(second, dtype=float))
    if left.shape[1] != right.shape[1] or (
        left.shape[0] != right.shape[0] and 1 not in (left.shape[0], right.shape[0])
    ):
        raise ValueError(f"cannot pair {left.shape} with {right.shape}: [seeds, items] of the same items are needed")
    table = additive_sums(left - right, clusters)
    if np.isnan(table.sums).any():
        return UNKNOWN
    draws = _draw_means(table, scale.differences, replicates)
    return interval_of(table.mean(), draws, len(table.sizes), lambda: _spread(table))


def mean_draws(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    scale: Scale = ANY,
    *,
    models: Sequence[int] = (0,),
    degrees: float | None = None,
    replicates: int = _TESTED_REPLICATES,
) -> Floats:
    """The mean in every bootstrap draw; arrays as in :func:`bootstrap_mean`.

    Training seeds are drawn by `models`, which should differ between figures of different models; `degrees` as in
    :func:`seed_weights`. No draw lies beyond the ends of the scale.
    """
    return _draw_means(additive_sums(values, clusters), scale, replicates, models, degrees)


def mean_spread(values: ArrayLike, clusters: Sequence[Hashable]) -> Spread:
    """The variances of a mean; arrays as in :func:`bootstrap_mean`."""
    return _spread(additive_sums(values, clusters))


def interval_of(value: float, draws: Floats, clusters: int, spread: Callable[[], Spread]) -> Interval:
    """Percentile interval of bootstrap draws over so many clusters, and the p-value of "it is zero".

    The p-value is twice the share of the draws beyond zero. That share cannot be below one draw, which no correction
    over a hundred comparisons would leave significant. Where fewer than ten draws lie beyond zero, the tail of the
    spread replaces it if it is lower. The p-value is never below 2 ** (1 - clusters), the least that a sign test of as
    many subjects can give. `spread` is called only where it is needed, since it costs draws of its own.
    """
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(draws) + 1))
    if tail < _FEWEST_IN_TAIL:
        p_value = min(p_value, spread().tail(value))
    return Interval(value, *quantiles(draws), max(p_value, 2.0 ** (1 - clusters)))


def bootstrap_correlation(statistic: Callable[[NDArray[np.intp]], float], clusters: Sequence[Hashable]) -> Interval:
    """Interval of a correlation of item indices, by drawing whole clusters.

    A draw that lacks the only items that differ has none (NaN). It counts as 0, no association: without such draws,
    which are many where few items differ, the interval would exclude 0 on the evidence of a single item.
    """
    names, cluster_of_item = _number_clusters(clusters)
    items = np.arange(len(clusters))
    value = statistic(items)
    if math.isnan(value):
        return UNKNOWN
    draws = _draw_counts(names, _COSTLY_REPLICATES)
    values = [statistic(np.repeat(items, drawn[cluster_of_item])) for drawn in draws]
    low, high = quantiles(np.nan_to_num(values))
    return Interval(value, min(low, value), max(high, value))


def auc_interval(
    positive: Sequence[float],
    negative: Sequence[float],
    positive_clusters: Sequence[Hashable],
    negative_clusters: Sequence[Hashable],
) -> Interval:
    """AUC with an interval over clusters drawn within each class, so that no draw lacks a class.

    An AUC of 0 or 1 has the ends of a share of as many clusters as the class with fewer has.
    """
    first, second = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    weights = [item_weights(names, _COSTLY_REPLICATES) for names in (positive_clusters, negative_clusters)]
    # An AUC is a weighted mean over pairs, so all draws are two matrix products.
    wins = np.sign(first[:, None] - second[None, :]) / 2 + 0.5
    draws = ((weights[0] @ wins) * weights[1]).sum(1) / (weights[0].sum(1) * weights[1].sum(1))
    area = auc(first, second)
    if area in (0, 1):
        return Interval(area, *share_ends(area, area, min(len(set(positive_clusters)), len(set(negative_clusters)))))
    return Interval(area, *quantiles(draws))


def draw_counts(clusters: Iterable[Hashable], replicates: int) -> Floats:
    """How often each cluster is drawn, [replicates, clusters]."""
    return _draw_counts(tuple(clusters), replicates).astype(float)


@lru_cache(maxsize=32)
def _draw_counts(clusters: tuple[Hashable, ...], replicates: int) -> NDArray[np.uint8]:
    """The same as small integers, read-only: a report needs them for hundreds of figures."""
    counts = np.stack([_drawn(str(name), replicates) for name in clusters], axis=1)
    counts[~counts.any(1)] = 1  # one draw in e ** clusters is of nothing, which has no mean
    counts.flags.writeable = False
    return counts


@lru_cache(maxsize=4096)
def _drawn(cluster: str, replicates: int) -> NDArray[np.uint8]:
    """How often a cluster is drawn in every draw."""
    return np.random.default_rng(int(digest(cluster), 16)).poisson(1.0, replicates).astype(np.uint8)


def seed_weights(size: int, random: np.random.Generator, replicates: int, degrees: float | None = None) -> Floats:
    """The weight of each seed in a draw of their mean, [replicates, size]; ones where there is only one seed.

    Rows sum to `size`. The weighted mean of the seeds is distributed about their mean as Student's t with so many
    degrees of freedom (default: size - 1), scaled by the standard error of the mean. Some weights are negative. For a
    figure of several groups of seeds, `degrees` are those of its spread (:attr:`Spread.degrees`): a sum of several
    draws with two degrees each would go far beyond what their sum does.
    """
    if size == 1:
        return np.ones((replicates, 1))
    degrees = degrees or size - 1
    normal = random.normal(size=(replicates, size))
    scale = np.sqrt(size / (size - 1) * degrees / random.chisquare(degrees, size=(replicates, 1)))
    weights: Floats = 1 + scale * (normal - normal.mean(1, keepdims=True))
    return weights


def additive_sums(values: ArrayLike, clusters: Sequence[Hashable]) -> ClusterSums:
    """Sums by cluster after :func:`additive`; arrays as in :func:`bootstrap_mean`."""
    table = _cluster_sums(values, clusters)
    return table._replace(sums=additive(table.sums, table.sizes))


def additive(sums: Floats, sizes: Floats) -> Floats:
    """Sums of a score by cluster and seed, [clusters, seeds], without the interaction of clusters and seeds.

    The means of every seed, over clusters of these `sizes`, and of every cluster, over seeds, stay what they are. The
    interaction is in the variance of either kind of means already and would widen the draws once more.
    """
    if sums.shape[1] == 1:
        return sums
    of_seeds = np.outer(sizes, sums.sum(0) / sizes.sum())
    result: Floats = of_seeds + (sums - of_seeds).mean(1, keepdims=True)
    return result


def item_weights(clusters: Sequence[Hashable], replicates: int) -> Floats:
    """How often each item is drawn when whole clusters are drawn, [replicates, items]."""
    names, cluster_of_item = _number_clusters(clusters)
    counts: Floats = draw_counts(names, replicates)[:, cluster_of_item]
    return counts


def quantiles(draws: Floats) -> tuple[float, float]:
    """Ends of the 95 % interval of draws."""
    low, high = np.quantile(draws, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _number_clusters(clusters: Sequence[Hashable]) -> tuple[tuple[Hashable, ...], NDArray[np.intp]]:
    """The clusters in order of first appearance, and the number of each item's. Raises ValueError for no clusters."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    if not numbers:
        raise ValueError("no items to resample")
    return tuple(numbers), np.array([numbers[name] for name in clusters], dtype=np.intp)


def _cluster_sums(values: ArrayLike, clusters: Sequence[Hashable]) -> ClusterSums:
    table = np.atleast_2d(np.asarray(values, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(clusters):
        raise ValueError(f"{len(clusters)} cluster names for values of shape {table.shape}")
    names, cluster_of_item = _number_clusters(clusters)
    sums = np.zeros((len(names), len(table)))
    np.add.at(sums, cluster_of_item, table.T)
    return ClusterSums(names, sums, np.bincount(cluster_of_item).astype(float))


def _draw_means(
    table: ClusterSums, scale: Scale, replicates: int, models: Sequence[int] = (0,), degrees: float | None = None
) -> Floats:
    seeds = seed_weights(table.sums.shape[1], np.random.default_rng(models), replicates, degrees)
    ended: Floats = np.clip(_means(table, seeds, replicates), scale.low, scale.high)
    return ended


def _means(table: ClusterSums, weights: Floats, replicates: int) -> Floats:
    """Mean in each draw, from weights of seeds."""
    columns, counts = np.column_stack([table.sums, table.sizes]), _draw_counts(table.names, replicates)
    drawn = np.concatenate([counts[start : start + _BLOCK] @ columns for start in range(0, replicates, _BLOCK)])
    means: Floats = (drawn[:, :-1] * weights).sum(1) / (weights.sum(1) * drawn[:, -1])
    return means


def _spread(table: ClusterSums) -> Spread:
    seeds = table.sums.shape[1]
    by_subject = float(_means(table, np.ones((1, seeds)), _COSTLY_REPLICATES).var())
    if seeds == 1:
        return Spread(by_subject, ())
    seed_means = table.sums.sum(0) / table.sizes.sum()
    return Spread(by_subject, ((float(seed_means.var(ddof=1)) / seeds, seeds - 1),))
