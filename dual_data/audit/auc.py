"""How well one categorical feature alone tells two splits apart: a cross-validated area under the ROC curve.

The estimator is leave-pair-out cross-validation (Airola et al. 2011, "An experimental comparison of cross-validation
techniques for estimating the area under the ROC curve"): for every pair of a row of A and a row of B, both rows are
left out, each category is scored by the surplus of B over its expected share in what is left, and the pair counts 1
where the row of B scores higher, 1/2 where both score alike, 0 else. Leaving rows out in pairs makes it unbiased where
labels are random. Where categories are balanced by design it would come out near 0, because every category is short of
exactly the row left out. So a surplus counts only beyond its margin: the one row that leaving out removes, or one
standard deviation of the surplus under random labels, whichever is larger. The margin makes it exactly 0.5 on balanced
categories, keeps it unbiased on random labels, and costs the signal of categories of two rows.

An area below 0.5 says that what was learnt does not hold for the rows left out, which is no more than nothing: it is
reported as 0.5, not folded over. What is left of the noise on random labels is a mean of 0.51 and a 95th percentile of
0.55 for two splits of 500 rows. From the counts of the categories it is exact, needs no random folds, and takes
O(K log K) for K categories.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

LENGTH_EDGES = (4, 6, 9, 13, 19)
"""Upper edges, in characters, of the bins in which lengths are compared; the last bin is open."""


def length_bin(text: pl.Expr) -> pl.Expr:
    """The bin of a text's length in characters, 0 for the shortest: what `auc_answer_length` compares."""
    length = text.str.len_chars().cast(pl.Int64)
    return sum(((length > edge).cast(pl.Int64) for edge in LENGTH_EDGES), start=length * 0)


def auc(first: pl.Series, second: pl.Series) -> float | None:
    """Area under the ROC curve for telling the rows of `second` from those of `first` by their category.

    Nulls are left out. 0.5: the feature tells nothing; 1: it tells all. None where a side has no rows.
    """
    known = [values.drop_nulls().cast(pl.String).rename("category") for values in (first, second)]
    codes = pl.concat(known).rank("dense").to_numpy()
    if not codes.size:
        return None
    counts = (np.bincount(part, minlength=codes.max() + 1) for part in np.split(codes, [known[0].len()]))
    return auc_of_counts(*(found[1:] for found in counts))


def auc_of_counts(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """The same from the number of rows that each side has in each category."""
    area = leave_pair_out(first, second)
    return None if area is None else max(area, 0.5)


def leave_pair_out(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """The estimate itself, from counts a category: it may be below 0.5, and is 0.5 on average where nothing is told."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    rows_a, rows_b = a.sum(), b.sum()
    if not rows_a or not rows_b:
        return None
    share = rows_b / (rows_a + rows_b)
    without_a = _scores(a + b - 1, b, share)
    without_b = _scores(a + b - 1, b - 1, share)
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
    return wins / float(rows_a * rows_b)


def _scores(rows: npt.NDArray[np.float64], rows_b: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.float64]:
    """Surplus of B per row of a category, beyond its margin; rounded so that ties stay ties."""
    surplus = rows_b - rows * share
    deviation = np.sqrt(np.maximum(rows, 0.0) * share * (1 - share))
    margin = np.maximum(max(share, 1 - share), deviation) + 1e-9
    beyond = np.sign(surplus) * np.maximum(np.abs(surplus) - margin, 0.0)
    scores: npt.NDArray[np.float64] = np.round(beyond / np.maximum(rows, 1.0), 12)
    return scores
