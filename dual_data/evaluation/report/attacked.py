"""Sections on what `dual-data eval attack` found: relearning, quantisation, the utility panel, tasks of lm-eval."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.evaluation.attacks.recovery import LEVELS, recovery, steps_to_recover
from dual_data.evaluation.report.chart import Axis, Series, Spot, chart
from dual_data.evaluation.report.collect import Collection, Run
from dual_data.evaluation.report.document import Block, Cell, Entry, Figures, Heading, Table
from dual_data.evaluation.report.extras import Extras, attacks_path
from dual_data.evaluation.report.places import PLACE, estimate, place_of, row_id, shown, spot
from dual_data.evaluation.report.reference import retrained
from dual_data.evaluation.statistics import Interval, bootstrap_mean

_NOT_KEPT = "[attack again]"
"""In place of an interval, where the file of attacks is of a version that kept no items."""
_BEFORE = "the model before unlearning, which knows the facts"
_RETRAINED = "the model that never learned the facts"


class _Line(NamedTuple):
    """A chosen cell, and the texts of its line between its method and its link."""

    one: Extras
    texts: tuple[str, ...]


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
    charts = []
    rows, ids = list[_Line](), list[str]()
    for number, (one, curve, control, control_is) in enumerate(found):
        key, subjects = one.group.key, curve["subjects"]
        ids.append(f"{row_id('relearning', [one.run])}-{number}")
        sides = [("unlearned", curve["points"]), ("before unlearning", curve["control"])]
        if control_is == _RETRAINED:
            sides.append(("never learned", control))
        series = [
            Series(name, tuple(_relearned_spot(point, subjects, ids[-1]) for point in points)) for name, points in sides
        ]
        title = f"{key.method}, {key.stage}, {key.set}: tuned on {curve['tuned_on']}"
        axes = (Axis("1 + steps", log=True), Axis("probability of held-out forget answers", 0, 1))
        charts.append(chart(title, *axes, series))
        tuned, held, before = (
            [point["probabilities"] for point in points] for points in (curve["points"], control, curve["control"])
        )
        known = ([point["step"] for point in curve["points"]], tuned, held, before[0], subjects)
        steps = (_steps(steps_to_recover(level, *known)) for level in LEVELS)
        rows.append(_Line(one, (curve["tuned_on"], control_is, shown(recovery(*known).area), *steps)))
    header = ("tuned on", "control", "area", *(f"steps to {level:.0%}" for level in LEVELS), "items")
    caption = (
        "Share of the gap between unlearned model and base that is recovered, less what the control gains by the same "
        "tuning; the area is its mean over log2(1 + steps), steps are the first scored ones that bring back that much. "
        "Intervals are over subjects, of one seed. A model that knows the facts has little to gain, so against it the "
        "share is an upper bound."
    )
    lines = (
        "Ordinary fine-tuning after unlearning, and the same from the models that nothing was taken from; bars are "
        "95 % intervals over subjects."
    )
    return _section("Relearning", header, rows, caption, folder, charts=(Figures(tuple(charts), lines),), ids=ids)


def _relearned_spot(point: Mapping[str, Any], subjects: Sequence[str], link: str) -> Spot:
    found = bootstrap_mean(point["probabilities"], subjects)
    return spot(1 + point["step"], found, f"step {point['step']}: ", link)


def _steps(found: Interval) -> str:
    value, low, high = ("never" if math.isinf(step) else f"{step:g}" for step in found[:3])
    return f"{value} [{low}, {high}]"


def _quantisation(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows = list[_Line]()
    for one in found:
        for bits, scores in one.attacks.get("quantisation", {}).items():
            share = scores.get("recovered")
            unrounded = (shown(estimate([run], "forget", "rougeL_recall")) for run in (one.before, one.run))
            rounded = (_rounded(one.run, scores, name) for name in ("forget", "retain_eval", "base_rounded"))
            recovered = "-" if share is None else shown(Interval(*share[:3]))
            rows.append(_Line(one, (bits, *unrounded, *rounded, recovered)))
    header = (
        "weights", "forget before", "forget unlearned", "forget rounded", "retain rounded", "forget before, rounded",
        "recovered", "items",
    )  # fmt: skip
    caption = (
        "ROUGE-L recall; rounded: after round-to-nearest of the merged weights, groups of 128 inputs. Recovered: share "
        "of the forgotten score that rounding brings back, less what it gives the model before unlearning. Intervals "
        "are over subjects, of one seed."
    )
    return _section("Quantisation", header, rows, caption, folder)


def _rounded(run: Run, scores: Mapping[str, Any], name: str) -> str:
    """Mean over the rounded model's items; a file of an older version has the mean alone, or not even that."""
    if rows := scores.get("items", {}).get(name):
        items = run.sets["retain_eval" if name == "retain_eval" else "forget"]
        subjects = dict(zip(items.ids, items.subjects, strict=True))
        return shown(bootstrap_mean([row["rougeL_recall"] for row in rows], [subjects[row["id"]] for row in rows]))
    return f"{scores[name]:.3f} {_NOT_KEPT}" if name in scores else "-"


def _utility(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows = list[_Line]()
    for one in found:
        if "utility" not in one.attacks:
            continue
        scores, before = one.attacks["utility"], one.attacks["utility_before"]
        accuracies = (scores["accuracy"], scores["accuracy_by_length"], before["accuracy"])
        shares = (shown(Interval(*values[:3])) for values in accuracies)
        nlls = (_nll(side["text_nll"]) for side in (scores, before))
        rows.append(_Line(one, (scores["panel"], f"{scores['choices']} and {scores['texts']}", *shares, *nlls)))
    header = (
        "panel", "choices and texts", "accuracy", "by length", "accuracy before", "NLL of the texts", "NLL before",
        "items",
    )  # fmt: skip
    caption = "Intervals are over the panel's questions and texts, of one seed."
    return _section("Utility panel", header, rows, caption, folder, exact=("choices and texts",))


def _nll(found: Sequence[float] | float | None) -> str:
    """A file of an older version has the mean alone."""
    if isinstance(found, float):
        return f"{found:.3f} {_NOT_KEPT}"
    return "-" if found is None else shown(Interval(*found[:3]))


def _tasks(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows = list[_Line]()
    for one in found:
        after = one.attacks.get("utility", {}).get("lm_eval", {})
        before = one.attacks.get("utility_before", {}).get("lm_eval", {})
        names = sorted(name for name in after if "_stderr" not in name)
        rows += [_Line(one, (name, _with_error(after, name), _with_error(before, name))) for name in names]
    caption = (
        "As lm-eval computed them, zero-shot and without a chat template, of one seed; intervals from its standard "
        "errors."
    )
    return _section("Tasks of lm-eval", ("task and metric", "score", "score before", "figures"), rows, caption, folder)


def _section(
    title: str,
    header: tuple[str, ...],
    lines: Sequence[_Line],
    caption: str,
    folder: Path,
    *,
    charts: tuple[Figures, ...] = (),
    exact: tuple[str, ...] = (),
    ids: Sequence[str] = (),
) -> list[Block]:
    """A table of lines, each after its place and method and before its link; nothing where there is none."""
    if not lines:
        return []
    rows: list[tuple[Entry, ...]] = [
        (*place_of(one.group.key), one.group.key.method, *texts, _file(one, folder)) for one, texts in lines
    ]
    return [Heading(title), *charts, Table((*PLACE, "method", *header), tuple(rows), caption, exact, tuple(ids))]


def _with_error(scores: Mapping[str, float | None], name: str) -> str:
    value = scores.get(name)
    task, _, metric = name.partition("/")
    base, _, rest = metric.partition(",")
    error = scores.get(f"{task}/{base}_stderr{',' if rest else ''}{rest}")
    if value is None:
        return "-"
    if error is None:
        return f"{value:.3f} [no standard error]"
    return shown(Interval(value, value - 1.96 * error, value + 1.96 * error))


def _file(one: Extras, folder: Path) -> Cell:
    path = attacks_path(one.run.path.parent.parent, one.run.id)
    return Cell(f"seed {one.run.seed}", os.path.relpath(path, folder))
