"""How numbers are written in a report."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.runs import Run

NORMS = (
    "Gradient norm: before clipping, the median over all steps and seeds; its brackets hold the smallest and the "
    "largest norm, not a confidence interval."
)
"""Explains :func:`gradient_norms` in captions."""


def shown(interval: Interval, digits: int = 3, *, small: bool = False) -> str:
    """An estimate with its interval; a dash where the model gave no number.

    With `small`, a value that would read as 0 and is not has two significant digits, as do its ends.
    """
    is_small = small and 0 < abs(interval.value) < 0.5 * 10**-digits
    value, low, high = (f"{end:{'z.2g' if is_small else f'z.{digits}f'}}" for end in interval[:3])
    return "-" if math.isnan(interval.value) else f"{value} [{low}, {high}]"


def shown_rank(interval: Interval) -> str:
    """A median of ranks with its interval, whole where it is a whole number."""
    return shown(interval, 1).replace(".0", "")


def gradient_norms(runs: Iterable[Run]) -> str:
    """Median of the gradient norms over all steps of some runs, with the least and the largest in brackets."""
    norms = [norm for run in runs for norm in run.norms]
    return f"{np.median(norms):.3g} [{min(norms):.3g}, {max(norms):.3g}]" if norms else "-"


def p_value(value: float | None) -> str:
    """A p-value in three digits; a dash where nothing was tested."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def sign(value: float) -> int:
    """-1, 0 or 1: the sign of a number as it reads, in three digits."""
    read = round(value, 3)
    return (read > 0) - (read < 0)


def size(mean: Interval) -> Interval:
    """A difference without its sign: negative values in its interval are differences in the other direction."""
    return mean if mean.value >= 0 else opposite(mean)


def opposite(difference: Interval) -> Interval:
    """The same difference, of the second from the first."""
    return Interval(-difference.value, -difference.high, -difference.low)


def points(share: Interval) -> str:
    """A difference of shares in percentage points."""
    value, low, high = (100 * end for end in share[:3])
    return f"{value:z.1f} [{low:z.1f}, {high:z.1f}] percentage points"
