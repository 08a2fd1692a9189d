"""Made-up comparisons."""

from __future__ import annotations

import numpy as np

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.contrast import Contrast
from dual_data.evaluation.report.analysis.runs import Collection, Run
from dual_data.evaluation.report.findings.sentences import About, Compared


def compared_by(stage: str, value: float, p_value: float | None, seeds: int = 2) -> Compared:
    zero = Interval(0.0, 0.0, 0.0)
    contrast = Contrast(Interval(value, value, value, p_value), zero, zero, 9, seeds, np.full(3, value))
    return Compared(About("d", stage), "d, m", contrast, (), p_value)


def with_copy(collection: Collection, rename: bool) -> Collection:
    """The results of the first seed in two datasets, which share all subjects, or with `rename` none."""

    def copied(run: Run) -> Run:
        if not rename:
            return run
        sets = {
            name: items._replace(subjects=tuple(f"{subject} II" for subject in items.subjects))
            for name, items in run.sets.items()
        }
        return run._replace(sets=sets)

    first_seed = [group._replace(runs=tuple(run for run in group.runs if run.seed == 0)) for group in collection.groups]
    first_seed = [group._replace(before=group.before[:1]) for group in first_seed]
    copies = [
        group._replace(
            key=group.key._replace(data="copy"),
            before=tuple(map(copied, group.before)),
            runs=tuple(map(copied, group.runs)),
        )
        for group in first_seed
    ]
    return collection._replace(groups=(*first_seed, *copies))
