"""Statistics of item-level scores: AUC, Kolmogorov-Smirnov, rank correlation, correction for many comparisons."""

import math
from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counting half.

    NaN where one of the two is empty.
    """
    first, second = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if not len(first) or not len(second):
        return math.nan
    ranks = average_ranks(np.concatenate([first, second]))[: len(first)]
    return float((ranks.sum() - len(first) * (len(first) + 1) / 2) / (len(first) * len(second)))


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Two-sample statistic and two-sided p-value.

    The p-value is exact up to 10^6 pairs (the share of lattice paths that leave the band, Hodges 1958) and asymptotic
    above. No sample may be empty.
    """
    left, right = np.sort(np.asarray(first, dtype=float)), np.sort(np.asarray(second, dtype=float))
    n, m = len(left), len(right)
    points = np.concatenate([left, right])
    # An integer, n * m times the statistic, so that the band of the exact test has no rounding.
    steps = int(np.abs(np.searchsorted(left, points, "right") * m - np.searchsorted(right, points, "right") * n).max())
    statistic = steps / (n * m)
    if n * m <= 1_000_000:
        return statistic, _exact_tail(n, m, steps)
    root = math.sqrt(n * m / (n + m))
    distance = (root + 0.12 + 0.11 / root) * statistic
    if distance < 0.2:  # where the p-value is 1 to twelve digits, and the terms of the series hardly fall
        return statistic, 1.0
    tail = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * distance) ** 2) for k in range(1, 101))
    return statistic, min(1.0, max(0.0, tail))


@overload
def holm(p_values: Sequence[float]) -> list[float]: ...


@overload
def holm(p_values: Sequence[float | None]) -> list[float | None]: ...


def holm(p_values: Sequence[float | None]) -> Sequence[float | None]:
    """Holm's step-down correction, which controls the family-wise error rate: p-values in the order given.

    None stands for "not tested": it stays None and does not count as a comparison.
    """
    order = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        corrected[index] = largest
    return corrected


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Rank correlation with average ranks for ties; NaN where one side is constant."""
    left, right = average_ranks(np.asarray(first, dtype=float)), average_ranks(np.asarray(second, dtype=float))
    left, right = left - left.mean(), right - right.mean()
    scale = math.sqrt(float((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale else math.nan


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2)[inverse].astype(float)


def harmonic_mean(values: Sequence[float]) -> float:
    """n / sum(1 / x); 0 where a value is 0 or less. Raises ValueError for no values."""
    if min(values) <= 0:
        return 0.0
    return len(values) / math.fsum(1 / value for value in values)


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
