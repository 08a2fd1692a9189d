"""Relearning curves beside those of a model that nothing was unlearned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dual_data.evaluation.report.analysis.examined import AttackResults, ExaminedCell, results_of
from dual_data.evaluation.report.analysis.held_out import retrained
from dual_data.evaluation.report.analysis.recovery import Recovery, recovery
from dual_data.evaluation.report.analysis.runs import Collection
from dual_data.evaluation.results import BASE
from dual_data.statistics import Floats

BEFORE_UNLEARNING = "the model before unlearning"
_RETRAINED = "the retrained model, whose stage left out the facts"


class Relearned(NamedTuple):
    """Relearning curves of some seeds, each with its control."""

    cell: ExaminedCell
    attack: AttackResults
    curves: Sequence[Mapping[str, Any]]
    controls: Sequence[Sequence[Mapping[str, Any]]]
    """Points of the same tuning of a model that nothing was unlearned from."""
    control_is: str
    recovery: Recovery | None
    """What the tuning brings back of what unlearning took; None where that left no gap."""

    @property
    def tuned_on(self) -> str:
        """Which facts it was tuned on."""
        return str(self.curves[0]["tuned_on"])

    @property
    def subjects(self) -> Sequence[str]:
        """Those of the facts that were asked."""
        subjects: Sequence[str] = self.curves[0]["subjects"]
        return subjects


def relearned(collection: Collection, cells: Sequence[ExaminedCell]) -> list[Relearned]:
    """All curves with their controls.

    The control is the retrained reference where the grid attacked one on the same facts with the same options, of the
    same seed where there is one; else the model before unlearning.
    """
    references: dict[tuple[Any, ...], dict[int, Mapping[str, Any]]] = {}  # curves by seed
    for cell, attack in results_of(cells, "relearning"):
        place = cell.group.key._replace(method=BASE)
        for run, result in zip(attack.runs, attack.results, strict=True):
            for curve in result.result:
                key = (place, result.key, curve["tuned_on"], tuple(curve["subjects"]))
                references.setdefault(key, {})[run.seed] = curve
    paired = []
    for cell, attack in results_of(cells, "relearning"):
        reference = retrained(collection, cell.group)
        for index, first in enumerate(attack.results[0].result):
            curves = [result.result[index] for result in attack.results]
            reference_key = (reference, attack.key, first["tuned_on"], tuple(first["subjects"]))
            if by_seed := references.get(reference_key):
                any_seed = next(iter(by_seed))
                controls = [by_seed[run.seed if run.seed in by_seed else any_seed]["control"] for run in attack.runs]
                without = ", ".join(str(run.seed) for run in attack.runs if run.seed not in by_seed)
                control_is = f"{_RETRAINED}; that of seed {any_seed} also for seed {without}" if without else _RETRAINED
            else:
                controls, control_is = [curve["control"] for curve in curves], BEFORE_UNLEARNING
            paired.append(Relearned(cell, attack, curves, controls, control_is, _recovery(curves, controls)))
    return paired


def _recovery(curves: Sequence[Mapping[str, Any]], controls: Sequence[Sequence[Mapping[str, Any]]]) -> Recovery | None:
    tuned, before = (_hits([curve[side] for curve in curves]) for side in ("points", "control"))
    if tuned[:, 0].mean() >= before[:, 0].mean():
        return None
    steps = [point["step"] for point in curves[0]["points"]]
    return recovery(steps, tuned, _hits(controls), before[:, 0], curves[0]["subjects"])


def tuning_of(attack: AttackResults) -> str:
    """How models were tuned, as a text."""
    return f"lr {attack.options['lr']:g}, {max(attack.options['steps'])} steps"


def _hits(points: Sequence[Sequence[Mapping[str, Any]]]) -> Floats:
    """Whether each fact is answered, [seeds, steps, facts]."""
    return np.array([[point["hits"] for point in seed] for seed in points], dtype=float)
