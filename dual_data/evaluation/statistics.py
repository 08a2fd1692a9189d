"""Intervals and tests for item-level scores: hierarchical bootstrap, AUC, Kolmogorov-Smirnov, corrections.

Items of one subject are not independent and neither are items of one training seed, so resampling draws seeds and
subjects with replacement. The two are crossed and not nested: every seed is measured on the same subjects, so one
draw of subjects holds for all seeds drawn (the pigeonhole bootstrap, Owen 2007, doi 10.1214/07-AOAS122; a fresh draw
of subjects in each seed would average away how hard the subjects are, which all seeds share). Two systems scored on
the same items are compared with the same draws: the interval is that of the difference. A handful of seeds cannot be
resampled: their mean is drawn from Student's distribution of as many, which gives its textbook interval where subjects
are all alike. One seed says nothing of others, and intervals are of the models that it gave.
"""

import json
import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_TAIL = 0.025
"""Share of the draws on either side of a 95 % interval."""
_REPLICATES = 2000
_DEAR_REPLICATES = 500
"""Draws where each costs a pass over all items, or over all pairs."""
_OFF = 5000
"""Draws of how far the variance of a few seeds is off."""
_FEW = 10
"""Draws beyond zero that are too few to read a small p-value from."""


class Spread(NamedTuple):
    """Variances of an estimate, by what could have come out otherwise."""

    subjects: float
    """By the subjects, the seeds held."""
    seeds: tuple[tuple[float, int], ...]
    """By the seeds, the subjects held, with the degrees of freedom of each such variance; none for one seed."""

    def tail(self, value: float) -> float:
        """Two-sided p-value of "the estimate is zero": normal by subjects, and Student's by seeds, as they are drawn.

        Given how far the seeds' variance is off, both are normal; so it is a mean over what that can be.
        """
        random = np.random.default_rng(0)
        total = np.full(_OFF, self.subjects)
        for variance, freedom in self.seeds:
            total += variance * freedom / random.chisquare(freedom, _OFF)
        if not total.any():
            return 0.0 if value else 1.0
        return float(np.mean([math.erfc(deviate) for deviate in (abs(value) / np.sqrt(2 * total)).tolist()]))


class Interval(NamedTuple):
    """An estimate with its 95 % interval, and the two-sided p-value of "it is zero" where that was asked."""

    value: float
    low: float
    high: float
    p_value: float | None = None


def bootstrap_mean(values: ArrayLike, clusters: Sequence[Hashable], *, share: bool = False) -> Interval:
    """Mean with an interval over seeds and clusters, drawn crossed.

    `values` is [items] or [seeds, items]; `clusters` names each item's subject. Where all values of a `share` are 0, or
    all 1, draws have no spread: the other end is then that of the exact binomial interval of as many subjects. Raises
    ValueError for no items and for shapes that do not fit.
    """
    sums = _cluster_sums(values, clusters)
    mean = sums.mean()
    if share and mean in (0, 1):
        far = _TAIL ** (1 / len(sums.sizes))
        return Interval(mean, 0.0, 1 - far) if mean == 0 else Interval(mean, far, 1.0)
    return Interval(mean, *quantiles(_draw_means(sums, np.random.default_rng(0), _REPLICATES)))


def bootstrap_function(
    function: Callable[..., Floats], tables: Sequence[ArrayLike], clusters: Sequence[Hashable]
) -> Interval:
    """A function of the means of several tables of the same seeds and items, all drawn together.

    `function` takes one array a table, of a mean in each draw, and gives an array of the same length. Tables and
    clusters as in :func:`bootstrap_mean`.
    """
    sides = [_cluster_sums(values, clusters) for values in tables]
    exact = function(*(np.array([side.mean()]) for side in sides))
    # A generator each, of one seed: tables of one shape get the same draws.
    draws = function(*(_draw_means(side, np.random.default_rng(0), _REPLICATES) for side in sides))
    return Interval(float(exact[0]), *quantiles(draws))


def bootstrap_median(values: ArrayLike, clusters: Sequence[Hashable], *, replicates: int = 1000) -> Interval:
    """Median over seeds and items with an interval over seeds and clusters, drawn crossed; arrays as in the mean's."""
    table = np.atleast_2d(np.asarray(values, dtype=float))
    random = np.random.default_rng(0)
    seeds = np.maximum(seed_weights(len(table), random, replicates), 0.0)  # an item cannot count less than not at all
    picked = item_weights(clusters, random, replicates)
    order = np.argsort(table, axis=None, kind="stable")
    rising = table.ravel()[order]
    below = (seeds[:, :, None] * picked[:, None, :]).reshape(replicates, -1)[:, order].cumsum(1)
    half = below[:, -1:] / 2
    # As many of them lie on either side; of an even number the two in the middle count half each.
    near = 1e-9 * half  # weights that sum to a half are not summed exactly
    last = len(rising) - 1
    draws = (rising[(below < half - near).sum(1)] + rising[np.minimum((below <= half + near).sum(1), last)]) / 2
    return Interval(float(np.median(table)), *quantiles(draws))


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable], *, replicates: int = _REPLICATES
) -> Interval:
    """Mean of `first - second` on the same items (and seeds), paired, with its interval and p-value.

    Arrays as in :func:`bootstrap_mean`; one of the two may lack the seed axis (a base model, say).
    """
    one, two = np.atleast_2d(np.asarray(first, dtype=float)), np.atleast_2d(np.asarray(second, dtype=float))
    if one.shape[1] != two.shape[1] or (one.shape[0] != two.shape[0] and 1 not in (one.shape[0], two.shape[0])):
        raise ValueError(f"cannot pair {one.shape} with {two.shape}: [seeds, items] of the same items are needed")
    sums = _cluster_sums(one - two, clusters)
    draws = _draw_means(sums, np.random.default_rng(0), replicates)
    return interval_of(sums.mean(), draws, len(sums.sizes), lambda: _spread(sums))


def mean_draws(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    among: Sequence[Hashable] | None = None,
    seed: int | Sequence[int] = 0,
    replicates: int = _REPLICATES,
) -> Floats:
    """The means that an interval is made of, by draw; NaN where none of the items is drawn.

    Subjects are drawn from `among`, which holds those of the items; from these where it is None. The same seed and the
    same `among` draw the same subjects, whatever is measured on them: draws of several figures can be combined.
    """
    return _draw_means(_cluster_sums(values, clusters, among), np.random.default_rng(seed), replicates)


def mean_spread(values: ArrayLike, clusters: Sequence[Hashable]) -> Spread:
    """The variances of a mean; arrays as in :func:`bootstrap_mean`."""
    return _spread(_cluster_sums(values, clusters))


def interval_of(value: float, draws: Floats, clusters: int, spread: Callable[[], Spread]) -> Interval:
    """Percentile interval of bootstrap draws of so many clusters, and the p-value of "it is zero".

    The share of the draws beyond zero cannot be below one draw, which a correction over a hundred comparisons makes no
    finding of whatever the data. Where fewer than ten lie there, the tail of the spread counts if it is lower; but
    never less than 2 ** (1 - clusters), the least that a sign test of as many subjects can say. `spread` is asked there
    alone, for it costs draws of its own.
    """
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p_value = min(1.0, 2 * (tail + 1) / (len(draws) + 1))
    if tail < _FEW:
        p_value = min(p_value, spread().tail(value))
    return Interval(value, *quantiles(draws), max(p_value, 2.0 ** (1 - clusters)))


def bootstrap(statistic: Callable[[NDArray[np.intp]], float], clusters: Sequence[Hashable]) -> Interval:
    """Interval of any statistic of item indices, by drawing whole clusters with replacement.

    Draws on which the statistic is not a number (one class only, say) are left out. What is left can lie all on one
    side of the estimate where they are many, so the interval is widened to hold it.
    """
    of_item, count = _numbered(clusters)
    order, sizes = np.argsort(of_item, kind="stable"), np.bincount(of_item)
    starts = np.cumsum(sizes) - sizes
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(_DEAR_REPLICATES):
        picks = random.integers(count, size=count)
        lengths = sizes[picks]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        drawn.append(statistic(order[np.repeat(starts[picks], lengths) + within]))
    kept = np.array([value for value in drawn if not math.isnan(value)])
    value = statistic(np.arange(len(clusters)))
    if math.isnan(value) or not len(kept):
        return Interval(value, math.nan, math.nan)
    low, high = quantiles(kept)
    return Interval(value, min(low, value), max(high, value))


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC curve: chance that a positive scores above a negative, ties counting half.

    NaN where one of the two is empty.
    """
    first, second = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if not len(first) or not len(second):
        return math.nan
    ranks = average_ranks(np.concatenate([first, second]))[: len(first)]
    return float((ranks.sum() - len(first) * (len(first) + 1) / 2) / (len(first) * len(second)))


def auc_interval(
    positive: Sequence[float],
    negative: Sequence[float],
    positive_clusters: Sequence[Hashable],
    negative_clusters: Sequence[Hashable],
) -> Interval:
    """AUC with an interval over clusters drawn within each class, so that no draw lacks one.

    At 0 and 1 it is that of a share of as many as the class of fewer clusters has, as in :func:`bootstrap_mean`.
    """
    random = np.random.default_rng(0)
    first, second = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    weights = [item_weights(names, random, _DEAR_REPLICATES) for names in (positive_clusters, negative_clusters)]
    # An AUC is a weighted mean over pairs, so all draws are two matrix products.
    wins = np.sign(first[:, None] - second[None, :]) / 2 + 0.5
    drawn = ((weights[0] @ wins) * weights[1]).sum(1) / (weights[0].sum(1) * weights[1].sum(1))
    area = auc(first, second)
    if area in (0, 1):
        fewest = min(len(set(positive_clusters)), len(set(negative_clusters)))
        return bootstrap_mean(np.full(fewest, area), range(fewest), share=True)
    return Interval(area, *quantiles(drawn))


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Two-sample statistic and two-sided p-value.

    The p-value is exact (share of lattice paths that leave the band, Hodges 1958) up to 10^6 pairs and
    asymptotic above. Raises ValueError for an empty sample.
    """
    one, two = np.sort(np.asarray(first, dtype=float)), np.sort(np.asarray(second, dtype=float))
    n, m = len(one), len(two)
    if not n or not m:
        raise ValueError("the Kolmogorov-Smirnov test needs two samples that are not empty")
    points = np.concatenate([one, two])
    # Whole numbers of steps, so that the band of the exact test has no rounding.
    steps = int(np.abs(np.searchsorted(one, points, "right") * m - np.searchsorted(two, points, "right") * n).max())
    statistic = steps / (n * m)
    if n * m <= 1_000_000:
        return statistic, _exact_tail(n, m, steps)
    root = math.sqrt(n * m / (n + m))
    distance = (root + 0.12 + 0.11 / root) * statistic
    tail = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * distance) ** 2) for k in range(1, 101))
    return statistic, min(1.0, max(0.0, tail))


@overload
def holm(p_values: Sequence[float]) -> list[float]: ...
@overload
def holm(p_values: Sequence[float | None]) -> list[float | None]: ...
def holm(p_values: Sequence[float | None]) -> Sequence[float | None]:
    """Holm's step-down correction: p-values that keep the family-wise error, in the order given.

    None is what was not tested: it stays, and counts for nothing.
    """
    order = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running = 0.0
    for place, (value, index) in enumerate(order):
        running = max(running, min(1.0, (len(order) - place) * value))
        corrected[index] = running
    return corrected


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Rank correlation with average ranks for ties; NaN where one side is constant."""
    one, two = average_ranks(np.asarray(first, dtype=float)), average_ranks(np.asarray(second, dtype=float))
    one, two = one - one.mean(), two - two.mean()
    scale = math.sqrt(float((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / scale if scale else math.nan


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[inverse].astype(float)


def harmonic_mean(values: Sequence[float]) -> float:
    """n / sum(1 / x); 0 where one value is 0 or less. Raises ValueError for none."""
    if not values:
        raise ValueError("the harmonic mean of nothing")
    if min(values) <= 0:
        return 0.0
    return len(values) / math.fsum(1 / value for value in values)


def draw_counts(size: int, random: np.random.Generator, replicates: int) -> Floats:
    """How often each of `size` things is drawn in `size` draws with replacement, [replicates, size]; not to be written.

    A report draws the same for hundreds of figures: generators that stand at one place share what they draw from there.
    """
    counts, after = _drawn(json.dumps(random.bit_generator.state), size, replicates)
    random.bit_generator.state = json.loads(after)
    return counts


@lru_cache(maxsize=32)
def _drawn(state: str, size: int, replicates: int) -> tuple[Floats, str]:
    random = np.random.default_rng()
    random.bit_generator.state = json.loads(state)
    counts: Floats = random.multinomial(size, np.full(size, 1 / size), size=replicates).astype(float)
    counts.flags.writeable = False
    return counts, json.dumps(random.bit_generator.state)


def seed_weights(size: int, random: np.random.Generator, replicates: int) -> Floats:
    """What each seed counts in a draw of their mean, [replicates, size]; ones where there is only one.

    Rows sum to `size`. The weighted mean of seeds spreads about their mean as Student's distribution of size - 1
    degrees of freedom does, at the mean's standard error: some weights are below zero.
    """
    if size == 1:
        return np.ones((replicates, 1))
    normal = random.normal(size=(replicates, size))
    scale = np.sqrt(size / random.chisquare(size - 1, size=(replicates, 1)))
    weights: Floats = 1 + scale * (normal - normal.mean(1, keepdims=True))
    return weights


def item_weights(clusters: Sequence[Hashable], random: np.random.Generator, replicates: int) -> Floats:
    """How often each item is drawn when whole clusters are, [replicates, items]."""
    of_item, count = _numbered(clusters)
    counts: Floats = draw_counts(count, random, replicates)[:, of_item]
    return counts


def quantiles(draws: Floats) -> tuple[float, float]:
    """Ends of the 95 % interval of draws."""
    low, high = np.quantile(draws, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def _numbered(clusters: Sequence[Hashable], among: Sequence[Hashable] | None = None) -> tuple[NDArray[np.intp], int]:
    """Of each item the number of its cluster, as they first come up in `among`, and how many there are of these.

    Raises ValueError for none.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters if among is None else among))}
    if not numbers:
        raise ValueError("no items to resample")
    return np.array([numbers[name] for name in clusters], dtype=np.intp), len(numbers)


class _Sums(NamedTuple):
    """Sums of the items of each cluster."""

    sums: Floats
    """[clusters, seeds]."""
    sizes: Floats
    """Items of each cluster."""
    ends: tuple[float, float]
    """The least and the largest item, beyond which no mean lies."""

    def mean(self) -> float:
        return float(self.sums.sum() / (self.sums.shape[1] * self.sizes.sum()))


def _cluster_sums(values: ArrayLike, clusters: Sequence[Hashable], among: Sequence[Hashable] | None = None) -> _Sums:
    table = np.atleast_2d(np.asarray(values, dtype=float))
    if table.ndim != 2 or table.shape[1] != len(clusters):
        raise ValueError(f"{len(clusters)} cluster names for values of shape {table.shape}")
    of_item, count = _numbered(clusters, among)
    sums = np.zeros((count, len(table)))
    np.add.at(sums, of_item, table.T)
    return _Sums(sums, np.bincount(of_item, minlength=count).astype(float), (float(table.min()), float(table.max())))


def _draw_means(table: _Sums, random: np.random.Generator, replicates: int) -> Floats:
    count, seeds = table.sums.shape
    picked = draw_counts(count, random, replicates)  # first, so that they do not depend on how many seeds there are
    return _means(table, picked, seed_weights(seeds, random, replicates))


def _means(table: _Sums, picked: Floats, seeds: Floats) -> Floats:
    """Means of the clusters and seeds drawn so often; NaN where no item is."""
    totals, items = ((picked @ table.sums) * seeds).sum(1), picked @ table.sizes
    known = items > 0
    means = np.clip(totals / (seeds.sum(1) * np.maximum(items, 1.0)), *table.ends)
    found: Floats = np.where(known, means, np.nan)
    return found


def _spread(table: _Sums) -> Spread:
    count, seeds = table.sums.shape
    picked = draw_counts(count, np.random.default_rng(0), _DEAR_REPLICATES)
    by_subject = float(np.nanvar(_means(table, picked, np.ones((1, seeds)))))
    if seeds == 1:
        return Spread(by_subject, ())
    of_seed = table.sums.sum(0) / table.sizes.sum()
    return Spread(by_subject, ((float(of_seed.var(ddof=1)) / seeds, seeds - 1),))


def _exact_tail(n: int, m: int, steps: int) -> float:
    """1 - the share of the lattice paths from (0, 0) to (n, m) that stay below `steps` of |i m - j n|."""
    row = [1.0] + [0.0] * m
    for j in range(1, m + 1):
        row[j] = row[j - 1] if j * n < steps else 0.0
    for i in range(1, n + 1):
        row[0] = row[0] if i * m < steps else 0.0
        for j in range(1, m + 1):
            inside = abs(i * m - j * n) < steps
            row[j] = (row[j] * i + row[j - 1] * j) / (i + j) if inside else 0.0
    return min(1.0, max(0.0, 1.0 - row[m]))
