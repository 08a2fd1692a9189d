"""Made-up comparisons."""

from __future__ import annotations

import numpy as np

from dual_data.evaluation.bootstrap import Interval
from dual_data.evaluation.report.contrast import Contrast
from dual_data.evaluation.report.findings.sentences import Compared


def compared_by(stage: str, value: float, p_value: float | None, seeds: int = 2) -> Compared:
    zero = Interval(0.0, 0.0, 0.0)
    contrast = Contrast(Interval(value, value, value, p_value), zero, zero, 9, seeds, np.full(3, value))
    return Compared(("d", stage), "d, m", contrast, (), p_value)
