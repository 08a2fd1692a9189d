"""How well one feature alone tells two splits apart: a cross-validated area under the ROC curve.

The estimator is leave-pair-out cross-validation (Airola et al. 2011, "An experimental comparison of cross-validation
techniques for estimating the area under the ROC curve"): for every pair of a row of A and a row of B, both rows are
left out, each category is scored by the surplus of B over its expected share in what is left, and the pair counts 1
where the row of B scores higher, 1/2 where both score alike, 0 else. Leaving rows out in pairs makes it unbiased where
labels are random. Where categories are balanced by design it would come out near 0, because every category is short of
exactly the row left out. So a surplus counts only beyond its margin: the one row that leaving out removes, or one
standard deviation of the surplus under random labels, whichever is larger. The margin makes it exactly 0.5 on balanced
categories and keeps it unbiased on random labels.

In a rare category no surplus can pass the margin: of two rows, what is left of a pair of one split looks as what is
left of one row of each. What tells them apart is the rows left out, so they are asked, over all categories of one size
together (as Good and Turing do): where they lie on the side of the surplus by more than two standard deviations, that
surplus counts, by the share of B that was found there.

A category of one row tells nothing about the row left out. Where most pairs of rows are of that kind, or of rare
categories too few to be asked, there is no area: 0.5 would say that the feature tells nothing, and 1 that it tells all.

An area below 0.5 says that what was learnt does not hold for the rows left out, which is no more than nothing: it is
reported as 0.5, not folded over. What is left of the noise on random labels is a mean of 0.51 (0.52 for numbers) and a
95th percentile of 0.55 for two splits of 500 rows. From the counts of the categories it is exact, needs no random
folds, and takes O(K log K) for K categories.

Numbers are compared in two ways, and the larger area counts: by their order, where it differs from 0.5 by more than
one standard deviation under random labels; and as categories, where neighbours share one until it has as many rows as
the square root of all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

CONFIRMED = 2.0
"""Standard deviations by which the rows left out must agree with the surplus of rare categories."""
UNTOLD_SHARE = 0.5
"""Largest share of the pairs of rows in which no category can tell anything."""

Floats = npt.NDArray[np.float64]


def auc(first: pl.Series, second: pl.Series) -> float | None:
    """Area under the ROC curve for telling the rows of `second` from those of `first` by their category.

    Nulls are left out. 0.5: the feature tells nothing; 1: it tells all. None where a side has no rows, or where most
    rows share their category with no other row.
    """
    return auc_of_counts(*_counted(first.cast(pl.String), second.cast(pl.String)))


def auc_of_numbers(first: pl.Series, second: pl.Series) -> float | None:
    """The same for numbers, of which near ones are alike."""
    return auc_of_number_counts(*_counted(first, second))


def _counted(first: pl.Series, second: pl.Series) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    """The rows that each side has of each value, values in ascending order."""
    known = [values.drop_nulls().rename("value") for values in (first, second)]
    codes = pl.concat(known).rank("dense").cast(pl.Int64).to_numpy()
    counts = [np.bincount(part, minlength=codes.max(initial=0) + 1)[1:] for part in np.split(codes, [known[0].len()])]
    return counts[0], counts[1]


def auc_of_counts(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """The same as `auc` from the number of rows that each side has in each category."""
    if not np.sum(first) or not np.sum(second):
        return None
    found = leave_pair_out(first, second)
    return None if found.untold > UNTOLD_SHARE else max(found.area, 0.5)


def auc_of_number_counts(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """The same as `auc_of_numbers` from the number of rows that each side has of each value, in ascending order."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if not a.sum() or not b.sum():
        return None
    starts = _bins(a + b)
    categories = auc_of_counts(np.add.reduceat(a, starts), np.add.reduceat(b, starts))
    return None if categories is None else max(categories, _by_order(a, b))


class Estimate(NamedTuple):
    """What leaving every pair of rows out says."""

    area: float
    """It may be below 0.5, and is 0.5 on average where nothing is told."""
    untold: float
    """Share of the pairs in which no category can tell anything."""


def leave_pair_out(first: npt.ArrayLike, second: npt.ArrayLike) -> Estimate:
    """The estimate itself, from the number of rows that each side has in each category; both must have some."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    (without_a, without_b), (told_a, told_b) = _left_out(a, b)
    untold = a[~told_a].sum() / a.sum() * b[~told_b].sum() / b.sum()
    return Estimate(_area(a, b, without_a, without_b), float(untold))


def _area(a: Floats, b: Floats, without_a: Floats, without_b: Floats) -> float:
    """Share of the pairs of rows in which that of B scores higher, each row scored by what is left without it."""
    scores, place = np.unique(np.concatenate([without_a, without_b]), return_inverse=True)
    nothing = np.zeros_like(a)
    weight_a = np.bincount(place, np.concatenate([a, nothing]), len(scores))
    weight_b = np.bincount(place, np.concatenate([nothing, b]), len(scores))
    lower = np.cumsum(weight_a) - weight_a
    wins = float(((lower + weight_a / 2) * weight_b).sum())
    # Two rows of one category cannot be told apart, whatever leaving one or the other out did to its score.
    same = a * b
    wins -= float((same * ((without_a < without_b) + 0.5 * (without_a == without_b))).sum())
    wins += float(same.sum()) / 2
    return wins / float(a.sum() * b.sum())


def _left_out(a: Floats, b: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """What every category scores without one row of A and without one row of B, and whether it can tell anything.

    Both are [2, categories]. A score is the surplus of B per row, beyond its margin; rounded so that ties stay ties.
    """
    share = float(b.sum() / (a.sum() + b.sum()))
    left = np.maximum(a + b - 1, 0.0)
    margin = np.maximum(max(share, 1 - share), np.sqrt(left * share * (1 - share))) + 1e-9
    surplus = np.stack([b, b - 1]) - left * share
    sign = np.sign(np.round(surplus, 9))
    score = sign * np.maximum(np.abs(surplus) - margin, 0.0) / np.maximum(left, 1.0)
    told = np.broadcast_to(left > 0, score.shape).copy()
    held = np.stack([a, b])
    for side, purest in ((-1, share), (1, 1 - share)):
        for size in np.unique(left[(left > 0) & (left * purest <= margin)]):
            among = (left == size) & (sign == side)
            rows, rows_b = float(held[among].sum()), float(held[1][among[1]].sum())
            # Rows of one category are left out of the same others, so they may all agree: size + 1 count as one.
            deviation = np.sqrt((size + 1) * rows * share * (1 - share))
            if side * (rows_b - share * rows) > CONFIRMED * deviation:
                score[among] = rows_b / rows - share
            told[among] = purest * rows > CONFIRMED * deviation
    return np.round(score, 12), told


def _bins(rows: Floats) -> npt.NDArray[np.int64]:
    """Where the bins of neighbouring values start; the last may have fewer rows than the others."""
    least, starts, held = np.sqrt(rows.sum()), [0], 0.0
    for index, count in enumerate(rows):
        if held >= least:
            starts.append(index)
            held = 0.0
        held += count
    return np.array(starts)


def _by_order(a: Floats, b: Floats) -> float:
    """Area of the order of the values, in whichever direction tells; 0.5 within a standard deviation (with ties)."""
    rows, pairs = float((a + b).sum()), float(a.sum() * b.sum())
    area = float(((np.cumsum(a) - a / 2) * b).sum()) / pairs
    ties = float(((a + b) ** 3 - (a + b)).sum()) / (rows * (rows - 1))
    deviation = np.sqrt(max(rows + 1 - ties, 0.0) / (12 * pairs))
    return max(area, 1 - area) if abs(area - 0.5) > deviation + 1e-9 else 0.5
