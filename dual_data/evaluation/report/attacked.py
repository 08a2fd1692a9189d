"""Sections on what `dual-data eval attack` found: relearning, quantisation, the utility panel, tasks of lm-eval."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.evaluation.attacks.recovery import recovery
from dual_data.evaluation.report.chart import Axis, Series, Spot, chart
from dual_data.evaluation.report.collect import Collection
from dual_data.evaluation.report.document import Block, Cell, Entry, Figures, Heading, Table
from dual_data.evaluation.report.extras import Extras, attacks_path
from dual_data.evaluation.report.places import PLACE, place_of, shown
from dual_data.evaluation.report.reference import retrained
from dual_data.evaluation.statistics import Interval

_QUANTISED = ("forget_before", "forget_unlearned", "forget", "retain_eval")
_BEFORE = "the model before unlearning, which knows the facts"
_RETRAINED = "the model that never learned the facts"


class Relearned(NamedTuple):
    """A relearning curve with the control that it is held against."""

    one: Extras
    curve: Mapping[str, Any]
    control: Sequence[Mapping[str, Any]]
    """Points of the same tuning where nothing was unlearned."""
    control_is: str


def attacks(collection: Collection, found: Sequence[Extras], folder: Path) -> list[Block]:
    """What there is of the attacks; nothing where they were not run."""
    return [
        *_relearning(relearned(collection, found), folder),
        *_quantisation(found, folder),
        *_utility(found, folder),
        *_tasks(found, folder),
    ]


def relearned(collection: Collection, found: Sequence[Extras]) -> list[Relearned]:
    """Every curve with its control: that of the retrained reference where the grid attacked one on the same facts."""
    curves = {
        (one.group.key._replace(method=""), curve["tuned_on"], tuple(curve["subjects"])): curve
        for one in found
        for curve in one.attacks.get("relearning", ())
    }
    paired = []
    for one in found:
        reference = retrained(collection, one.group)
        for curve in one.attacks.get("relearning", ()):
            where = None if reference is None else reference._replace(method="")
            other = curves.get((where, curve["tuned_on"], tuple(curve["subjects"]))) if where else None
            known = (other["control"], _RETRAINED) if other is not None else (curve["control"], _BEFORE)
            paired.append(Relearned(one, curve, *known))
    return paired


def _relearning(found: Sequence[Relearned], folder: Path) -> list[Block]:
    if not found:
        return []
    charts = []
    rows: list[tuple[Entry, ...]] = []
    for one, curve, control, control_is in found:
        key = one.group.key
        sides = [("unlearned", curve["points"]), ("before unlearning", curve["control"])]
        if control_is == _RETRAINED:
            sides.append(("never learned", control))
        series = [
            Series(name, tuple(Spot(1 + point["step"], point["probability"]) for point in points))
            for name, points in sides
        ]
        title = f"{key.method}, {key.stage}, {key.set}: tuned on {curve['tuned_on']}"
        axes = (Axis("1 + steps", log=True), Axis("probability of held-out forget answers", 0, 1))
        charts.append(chart(title, *axes, series))
        tuned, held, before = (
            [point["probabilities"] for point in points] for points in (curve["points"], control, curve["control"])
        )
        known = recovery([point["step"] for point in curve["points"]], tuned, held, before[0], curve["subjects"])
        steps = ("never" if step is None else str(step) for step in (known.half, known.most))
        rows.append(
            (
                *place_of(key), key.method, curve["tuned_on"], control_is, shown(known.area), *steps,
                _file(one, folder),
            )
        )  # fmt: skip
    header = (*PLACE, "method", "tuned on", "control", "area", "steps to 50 %", "steps to 90 %", "items")
    caption = (
        "Share of the gap between unlearned model and base that is recovered, less what the control gains by the same "
        "tuning; the area is its mean over log2(1 + steps). Intervals are over subjects, of one seed. A model that "
        "knows the facts has little to gain, so against it the share is an upper bound."
    )
    lines = "Ordinary fine-tuning after unlearning, and the same from the models that nothing was taken from."
    return [Heading("Relearning"), Figures(tuple(charts), lines), Table(header, tuple(rows), caption)]


def _quantisation(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows: list[tuple[Entry, ...]] = []
    for one in found:
        for bits, scores in one.attacks.get("quantisation", {}).items():
            base, share = scores.get("base_rounded"), scores.get("recovered")
            rows.append(
                (
                    *place_of(one.group.key), one.group.key.method, bits,
                    *(f"{scores[name]:.3f}" for name in _QUANTISED),
                    "-" if base is None else f"{base:.3f}",
                    "-" if share is None else shown(Interval(*share[:3])),
                    _file(one, folder),
                )
            )  # fmt: skip
    if not rows:
        return []
    header = (
        *PLACE, "method", "weights", "forget before", "forget unlearned", "forget rounded", "retain rounded",
        "forget before, rounded", "recovered", "items",
    )  # fmt: skip
    caption = (
        "ROUGE-L recall; rounded: after round-to-nearest of the merged weights, groups of 128 inputs. Recovered: share "
        "of the forgotten score that rounding brings back, less what it gives the model before unlearning; the "
        "interval is over subjects, of one seed."
    )
    return [Heading("Quantisation"), Table(header, tuple(rows), caption)]


def _utility(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows: list[tuple[Entry, ...]] = []
    for one in found:
        if "utility" not in one.attacks:
            continue
        scores, before = one.attacks["utility"], one.attacks["utility_before"]
        rows.append(
            (
                *place_of(one.group.key), one.group.key.method, scores["panel"],
                f"{scores['choices']} and {scores['texts']}",
                *(shown(Interval(*values[:3])) for values in (
                    scores["accuracy"], scores["accuracy_by_length"], before["accuracy"],
                )),
                *("-" if side["text_nll"] is None else f"{side['text_nll']:.3f}" for side in (scores, before)),
                _file(one, folder),
            )
        )  # fmt: skip
    if not rows:
        return []
    header = (
        *PLACE, "method", "panel", "choices and texts", "accuracy", "by length", "accuracy before",
        "NLL of the texts", "NLL before", "figures",
    )  # fmt: skip
    caption = "Intervals are over the panel's questions, of one seed."
    return [Heading("Utility panel"), Table(header, tuple(rows), caption)]


def _tasks(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows: list[tuple[Entry, ...]] = []
    for one in found:
        after = one.attacks.get("utility", {}).get("lm_eval", {})
        before = one.attacks.get("utility_before", {}).get("lm_eval", {})
        for name in sorted(after):
            if "_stderr" in name:
                continue
            scores = [_with_error(side, name) for side in (after, before)]
            rows.append((*place_of(one.group.key), one.group.key.method, name, *scores, _file(one, folder)))
    if not rows:
        return []
    header = (*PLACE, "method", "task and metric", "score", "score before", "figures")
    caption = "As lm-eval computed them, zero-shot and without a chat template, of one seed."
    return [Heading("Tasks of lm-eval"), Table(header, tuple(rows), caption)]


def _with_error(scores: Mapping[str, float | None], name: str) -> str:
    value = scores.get(name)
    task, _, metric = name.partition("/")
    base, _, rest = metric.partition(",")
    error = scores.get(f"{task}/{base}_stderr{',' if rest else ''}{rest}")
    if value is None:
        return "-"
    return f"{value:.3f}" if not error else f"{value:.3f} [{value - 1.96 * error:.3f}, {value + 1.96 * error:.3f}]"


def _file(one: Extras, folder: Path) -> Cell:
    path = attacks_path(one.run.path.parent.parent, one.run.id)
    return Cell(f"seed {one.run.seed}", os.path.relpath(path, folder))
