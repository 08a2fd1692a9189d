"""Sections on what `dual-data eval attack` found: relearning, quantisation, tasks of lm-eval."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.evaluation.attacks.recovery import LEVELS, recovered_share, recovery
from dual_data.evaluation.report.chart import Axis, Series, Spot, chart
from dual_data.evaluation.report.collect import Collection, Run
from dual_data.evaluation.report.document import ITEMS, Block, Charts, Entry, Heading, LinkList, Table, TableCell
from dual_data.evaluation.report.extras import AttackResults, Extras
from dual_data.evaluation.report.places import PLACE, estimate, place_of, row_id, shown, spot
from dual_data.evaluation.report.reference import retrained
from dual_data.evaluation.statistics import Floats, Interval, bootstrap_mean

_BEFORE = "the model before unlearning, which knows the facts"
_RETRAINED = "the model that never learned the facts"


class _Line(NamedTuple):
    """A chosen cell, what was found of it, and the texts of its line between its method and its links."""

    one: Extras
    attack: AttackResults
    texts: tuple[str, ...]


class Relearned(NamedTuple):
    """Relearning curves of some seeds, each with the control that it is held against."""

    one: Extras
    attack: AttackResults
    curves: Sequence[Mapping[str, Any]]
    controls: Sequence[Sequence[Mapping[str, Any]]]
    """Points of the same tuning where nothing was unlearned."""
    control_is: str


def attacks(collection: Collection, found: Sequence[Extras], folder: Path) -> list[Block]:
    """What there is of the attacks; nothing where they were not run."""
    return [
        *_relearning(relearned(collection, found), folder),
        *_quantisation(found, folder),
        *_tasks(found, folder),
    ]


def relearned(collection: Collection, found: Sequence[Extras]) -> list[Relearned]:
    """All curves with their controls: those of the retrained reference where the grid attacked one on the same facts
    by the same options, of the same seed where there is one."""
    references: dict[tuple[Any, ...], dict[int, Mapping[str, Any]]] = {}
    for one, attack in _every(found, "relearning"):
        for run, by_seed in zip(attack.runs, attack.found, strict=True):
            for curve in by_seed.found:
                place = (one.group.key._replace(method=""), by_seed.key, curve["tuned_on"], tuple(curve["subjects"]))
                references.setdefault(place, {})[run.seed] = curve
    paired = []
    for one, attack in _every(found, "relearning"):
        reference = retrained(collection, one.group)
        where = None if reference is None else reference._replace(method="")
        for number, first in enumerate(attack.found[0].found):
            curves = [by_seed.found[number] for by_seed in attack.found]
            others = references.get((where, attack.found[0].key, first["tuned_on"], tuple(first["subjects"])), {})
            held = [others.get(run.seed, next(iter(others.values()))) for run in attack.runs] if others else curves
            controls = [curve["control"] for curve in held]
            paired.append(Relearned(one, attack, curves, controls, _RETRAINED if others else _BEFORE))
    return paired


def _relearning(found: Sequence[Relearned], folder: Path) -> list[Block]:
    charts = []
    rows, ids = list[_Line](), list[str]()
    for number, (one, attack, curves, controls, control_is) in enumerate(found):
        key, subjects = one.group.key, curves[0]["subjects"]
        how = f"lr {attack.options['lr']:g}, {max(attack.options['steps'])} steps"
        ids.append(f"{row_id('relearning', attack.runs)}-{number}")
        sides: list[tuple[str, Sequence[Sequence[Mapping[str, Any]]]]] = [
            ("unlearned", [curve["points"] for curve in curves]),
            ("before unlearning", [curve["control"] for curve in curves]),
        ]
        if control_is == _RETRAINED:
            sides.append(("never learned", controls))
        series = [Series(name, tuple(_relearned_spots(points, subjects, ids[-1]))) for name, points in sides]
        title = f"{key.method}, {key.stage}, {key.set}: tuned on {curves[0]['tuned_on']}, {how}"
        axes = (Axis("1 + steps", log=True), Axis("share of held-out forget facts answered", 0, 1))
        charts.append(chart(title, *axes, series))
        tuned, before, held = (_hits(points) for points in (sides[0][1], sides[1][1], controls))
        share = recovery([point["step"] for point in curves[0]["points"]], tuned, held, before[:, 0], subjects)
        steps = (_steps(share.steps_to(level)) for level in LEVELS)
        texts = (curves[0]["tuned_on"], how, control_is, shown(share.area), *steps)
        rows.append(_Line(one, attack, texts))
    header = ("tuned on", "tuning", "control", "area", *(f"steps to {level:.0%}" for level in LEVELS), ITEMS)
    caption = (
        "Of the held-out forget facts that unlearning lost, the share recovered: what fine-tuning brings back, less "
        "what the control gains by the same tuning (one that loses gains nothing). Area: mean share recovered over "
        "log2(1 + steps). Steps: the first scored step by which that much is recovered. Intervals are over seeds and "
        "subjects. A control that knows the facts has little to gain, so against it the share is an upper bound."
    )
    lines = (
        "Ordinary fine-tuning after unlearning, and the same of models without unlearning; bars are 95 % intervals "
        "over seeds and subjects."
    )
    figures = (Charts(tuple(charts), lines),)
    return _section("Relearning", header, rows, caption, folder, charts=figures, exact=("tuning",), ids=ids)


def _hits(points: Sequence[Sequence[Mapping[str, Any]]]) -> Floats:
    """Whether each fact is answered, [seeds, steps, facts]."""
    return np.array([[point["hits"] for point in seed] for seed in points], dtype=float)


def _relearned_spots(
    points: Sequence[Sequence[Mapping[str, Any]]], subjects: Sequence[str], link: str
) -> Iterator[Spot]:
    for place, point in enumerate(points[0]):
        found = bootstrap_mean([seed[place]["hits"] for seed in points], subjects, share=True)
        yield spot(1 + point["step"], found, f"step {point['step']}: ", link)


def _steps(found: Interval) -> str:
    value, low, high = ("never" if math.isinf(step) else f"{step:g}" for step in found[:3])
    return f"{value} [{low}, {high}]"


def _quantisation(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows = list[_Line]()
    for one, attack in _every(found, "quantisation"):
        befores = {run.id: run for run in attack.befores}
        unrounded = [shown(estimate(runs, "forget", "rougeL_recall")) for runs in (list(befores.values()), attack.runs)]
        for bits in attack.found[0].found:
            scores = [by_seed.found[bits] for by_seed in attack.found]
            rounded = [_rounded(attack, scores, name) for name in ("forget", "retain_eval", "base_rounded")]
            rows.append(_Line(one, attack, (bits, *unrounded, *rounded, _recovered(attack, scores))))
    header = (
        "weights", "forget before", "forget unlearned", "forget rounded", "retain rounded", "forget before, rounded",
        "recovered", ITEMS,
    )  # fmt: skip
    caption = (
        "ROUGE-L recall; rounded: after round-to-nearest of the merged weights, groups of 128 inputs. Recovered: share "
        "of the forgotten score that rounding brings back, less what it gives the model before unlearning. Intervals "
        "are over seeds and subjects."
    )
    return _section("Quantisation", header, rows, caption, folder)


def _rounded(attack: AttackResults, scores: Sequence[Mapping[str, Any]], name: str) -> str:
    """Mean over the rounded models' items."""
    items = attack.runs[0].sets["retain_eval" if name == "retain_eval" else "forget"]
    subjects = dict(zip(items.ids, items.subjects, strict=True))
    ids, table = _recalls(scores, name)
    return shown(bootstrap_mean(table, [subjects[one] for one in ids]))


def _recovered(attack: AttackResults, scores: Sequence[Mapping[str, Any]]) -> str:
    ids, attacked = _recalls(scores, "forget")
    subjects = dict(zip(attack.runs[0].sets["forget"].ids, attack.runs[0].sets["forget"].subjects, strict=True))
    before, unlearned = (
        [[known[one] for one in ids] for known in map(_forget_recalls, runs)] for runs in (attack.befores, attack.runs)
    )
    control = _recalls(scores, "base_rounded")[1]
    return shown(recovered_share(before, unlearned, attacked, control, [subjects[one] for one in ids]))


def _recalls(scores: Sequence[Mapping[str, Any]], name: str) -> tuple[list[str], list[list[float]]]:
    """Ids of the items of the rounded models, and ROUGE-L recall [seeds, items]."""
    return (
        [row["id"] for row in scores[0]["items"][name]],
        [[row["rougeL_recall"] for row in seed["items"][name]] for seed in scores],
    )


def _forget_recalls(run: Run) -> dict[str, float]:
    items = run.sets["forget"]
    return dict(zip(items.ids, items.scores["rougeL_recall"].tolist(), strict=True))


def _every(found: Sequence[Extras], attack: str) -> Iterator[tuple[Extras, AttackResults]]:
    """What an attack found, by cell and options."""
    return ((one, every) for one in found for every in one.attacks.get(attack, ()))


def _tasks(found: Sequence[Extras], folder: Path) -> list[Block]:
    rows = list[_Line]()
    for one, every in _every(found, "tasks"):
        first = every._replace(runs=every.runs[:1], befores=every.befores[:1], found=every.found[:1])
        after, before, shots = first.found[0].found, first.found[0].before, str(first.options["shots"])
        for name in sorted(name for name in after if "_stderr" not in name):
            rows.append(_Line(one, first, (name, shots, _with_error(after, name), _with_error(before, name))))
    caption = (
        "As lm-eval computed them, after so many worked examples (shots) and without a chat template, of one seed; "
        "intervals from its standard errors."
    )
    header = ("task and metric", "shots", "score", "score before", ITEMS)
    return _section("Tasks of lm-eval", header, rows, caption, folder, exact=("shots",))


def _section(
    title: str,
    header: tuple[str, ...],
    lines: Sequence[_Line],
    caption: str,
    folder: Path,
    *,
    charts: tuple[Charts, ...] = (),
    exact: tuple[str, ...] = (),
    ids: Sequence[str] = (),
) -> list[Block]:
    """A table of lines, each after its place and method and before its links; nothing where there is none."""
    if not lines:
        return []
    rows: list[tuple[Entry, ...]] = [
        (*place_of(one.group.key), one.group.key.method, *texts, _files(attack, folder)) for one, attack, texts in lines
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


def _files(attack: AttackResults, folder: Path) -> LinkList:
    pairs = zip(attack.runs, attack.found, strict=True)
    return LinkList(tuple(TableCell(f"seed {run.seed}", os.path.relpath(found.path, folder)) for run, found in pairs))
