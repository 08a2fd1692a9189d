"""Sections on the results of `dual-data eval attack`: relearning, quantisation, tasks of lm-eval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from dual_data.bootstrap import SHARE, Interval, bootstrap_mean
from dual_data.evaluation.attack_results import RELEARNED_TOKENS, ROUNDED_SCORES
from dual_data.evaluation.report.analysis.estimates import estimate
from dual_data.evaluation.report.analysis.examined import AttackResults, ExaminedCell, results_of
from dual_data.evaluation.report.analysis.recovery import LEVELS, recovered_share
from dual_data.evaluation.report.analysis.relearned import BEFORE_UNLEARNING, Relearned, tuning_of
from dual_data.evaluation.report.analysis.runs import SCORES, Run, before_of, stack
from dual_data.evaluation.report.chart import Axis, Series, Spot, chart
from dual_data.evaluation.report.document import Block, Charts, Heading, Link
from dual_data.evaluation.report.marks import spot
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, row_id, title_of
from dual_data.statistics import Floats


def attacks(curves: Sequence[Relearned], cells: Sequence[ExaminedCell]) -> list[Block]:
    """A section on each attack; `curves` are those of `relearned`."""
    return [*_relearning(curves), *_quantisation(cells), *_tasks(cells)]


def _relearning(all_curves: Sequence[Relearned]) -> list[Block]:
    charts, keys = [], [curves.cell.group.key for curves in all_curves]
    lines = list[CellLine]()
    for number, (cell, attack, curves, controls, control_is, recovered) in enumerate(all_curves):
        key, subjects = cell.group.key, curves[0]["subjects"]
        tuning = tuning_of(attack)
        row = f"{row_id('relearning', attack.runs)}-{number}"
        unlearned, before = ([curve[side] for curve in curves] for side in ("points", "control"))
        sides = {"unlearned": unlearned, "before unlearning": before}
        if control_is != BEFORE_UNLEARNING:
            sides["retrained"] = [*controls]
        series = [Series(name, tuple(_relearned_spots(points, subjects, row))) for name, points in sides.items()]
        title = f"{key.method}, {title_of(key, keys)}: tuned on {curves[0]['tuned_on']}, {tuning}"
        axes = (Axis("1 + steps", log=True), Axis("share of held-out forget facts answered", 0, 1))
        charts.append(chart(title, *axes, series))
        shares = ["-"] * (2 + len(LEVELS))
        if recovered:
            areas = recovered.area, recovered.area_with_losses
            shares = [shown(area.interval) for area in areas]
            shares += [_steps_text(recovered.steps_to(level)) for level in LEVELS]
        texts = (curves[0]["tuned_on"], tuning, control_is, *shares)
        lines.append(_line(cell, attack, texts)._replace(id=row))
    steps = (f"steps to {level:.0%}" for level in LEVELS)
    columns = ("tuned on", "tuning", "control", "area", "area with losses", *steps)
    caption = (
        "Share recovered: of the gap that unlearning left between the shares of held-out forget facts answered, what "
        "fine-tuning closes beyond what the control gains by it; facts that tuning loses count against those that it "
        "brings back, so it may be below 0. Area: of the mean shares answered over log2(1 + steps), where a loss of "
        "the control counts as 0; with losses: where it counts as recovery. If tuning harms all facts that a model "
        "knows alike, what comes back is between the two. Steps: the first measured step by which that share is "
        "recovered, losses not counted. Intervals are over seeds and subjects. A control that knows the facts has "
        "little to gain, so a part of the share may be learned and not recovered. A dash: unlearning left no gap. "
        f"Whatever the limit of the grid, a fact is answered if {RELEARNED_TOKENS} new tokens hold its answer."
    )
    chart_caption = (
        "Ordinary fine-tuning after unlearning, and of models without unlearning; bars are 95 % intervals "
        "over seeds and subjects. Hollow points are of one seed."
    )
    return [
        Heading("Relearning"),
        Charts(tuple(charts), chart_caption),
        cell_table(columns, lines, caption, ("tuning",)),
    ]


def _relearned_spots(
    points: Sequence[Sequence[Mapping[str, Any]]], subjects: Sequence[str], link: str
) -> Iterator[Spot]:
    for index, point in enumerate(points[0]):
        share = bootstrap_mean([seed[index]["hits"] for seed in points], subjects, SHARE)
        yield spot(1 + point["step"], share, f"step {point['step']}: ", link, hollow=len(points) == 1)


def _steps_text(steps: Interval) -> str:
    value, low, high = ("never" if math.isinf(step) else f"{step:g}" for step in steps[:3])
    return f"{value} [{low}, {high}]"


def _quantisation(cells: Sequence[ExaminedCell]) -> list[Block]:
    attacked = list(results_of(cells, "quantisation"))
    # Files of earlier versions have ROUGE-L alone, for which no column is needed.
    several = any(len(_kept(attack)) > 1 for _, attack in attacked)
    lines = list[CellLine]()
    for cell, attack in attacked:
        before = [before_of(cell.group.before, run) for run in attack.runs]
        each_before = list({run.id: run for run in before}.values())  # seeds may share one
        for name, score in product(attack.results[0].result, _kept(attack)):
            means = [estimate(runs, "forget", score) for runs in (each_before, attack.runs)]
            items = [result.result[name]["items"] for result in attack.results]
            rounded = {
                of_set: _rounded(attack.runs[0], items, of_set, score)
                for of_set in ("forget", "retain_eval", "base_rounded")
            }
            means += [bootstrap_mean(part.scores, part.subjects, SCORES[score]) for part in rounded.values()]
            shares = _recovered(before, attack.runs, rounded["forget"], rounded["base_rounded"], score)
            small = score == "probability"  # as in the main table
            texts = (*(shown(mean, small=small) for mean in means), *shares)
            lines.append(_line(cell, attack, (name, *([ROUNDED_SCORES[score]] if several else []), *texts)))
    columns = (
        "weights", *(["score"] if several else []), "forget before", "forget unlearned", "forget rounded",
        "retain rounded", "forget before, rounded", "recovered", "recovered with losses",
    )  # fmt: skip
    scores = (
        "ROUGE-L recall is of generations; probability, of the right answers, is the geometric mean over tokens, and "
        "mean log-probability its logarithm by fact, in nats: where they recover and ROUGE-L recall does not, the "
        "model finds the answers likelier and still does not give them."
        if several
        else "ROUGE-L recall."
    )
    caption = (
        f"{scores} Rounded: after rounding the merged weights to the nearest levels, evenly spaced in groups of 128 "
        "inputs (int8, int4) or those of NormalFloat in groups of 64 (nf4). Recovered: share of the forgotten score "
        "that rounding brings back, less what it gives the model before unlearning; below 0 where it takes more of it, "
        "and a dash if none was lost. What it takes from the model before unlearning counts as 0, and with losses as "
        "recovery. Intervals are over seeds and subjects."
    )
    return [Heading("Quantisation"), cell_table(columns, lines, caption)]


def _kept(attack: AttackResults) -> list[str]:
    """The scores that the files of all seeds have of rounded models."""
    first_rows = [items["items"]["forget"][0] for result in attack.results for items in result.result.values()]
    return [score for score in ROUNDED_SCORES if all(score in row for row in first_rows)]


class _Rounded(NamedTuple):
    """A score of the items of rounded models."""

    scores: Floats
    """[seeds, items]; NaN where a model gave no number."""
    places: list[int]
    """Where the items are in their set."""
    subjects: list[str]


def _rounded(run: Run, seeds: Sequence[Mapping[str, Any]], name: str, score: str) -> _Rounded:
    """The items of one name, by seed, which are of a set of the run."""
    items = run.sets["retain_eval" if name == "retain_eval" else "forget"]
    place_of = {item: place for place, item in enumerate(items.ids)}
    places = [place_of[row["id"]] for row in seeds[0][name]]
    scores = np.array([[row[score] for row in seed[name]] for seed in seeds], dtype=float)
    return _Rounded(scores, places, [items.subjects[place] for place in places])


def _recovered(
    before: Sequence[Run], runs: Sequence[Run], rounded: _Rounded, control: _Rounded, score: str
) -> tuple[str, str]:
    """The share that rounding brings back, without and with losses of the model before unlearning."""
    known, left = (stack(side, "forget", score)[:, rounded.places] for side in (before, runs))
    parts = known, left, rounded.scores, control.scores
    if any(np.isnan(scores).any() for scores in parts) or left.mean() >= known.mean():
        return "-", "-"
    of_facts = *parts, rounded.subjects, SCORES[score]
    return shown(recovered_share(*of_facts)), shown(recovered_share(*of_facts, with_losses=True))


def _tasks(cells: Sequence[ExaminedCell]) -> list[Block]:
    lines = list[CellLine]()
    for cell, attack in results_of(cells, "tasks"):
        first = attack._replace(runs=attack.runs[:1], results=attack.results[:1])
        after, before, shots = first.results[0].result, first.results[0].before, str(first.options["shots"])
        for name in sorted(name for name in after if "_stderr" not in name):
            texts = (name, shots, _with_error(after, name), _with_error(before, name))
            lines.append(_line(cell, first, texts))
    caption = (
        "As lm-eval computed them, after so many worked examples (shots) and without a chat template, of one seed; "
        "intervals from its standard errors."
    )
    columns = ("task and metric", "shots", "score", "score before")
    return [Heading("Tasks of lm-eval"), cell_table(columns, lines, caption, ("shots",))]


def _line(cell: ExaminedCell, attack: AttackResults, texts: Sequence[str]) -> CellLine:
    """The row of a chosen cell and an attack, with links to its results."""
    pairs = zip(attack.runs, attack.results, strict=True)
    links = tuple(Link(f"seed {run.seed}", result.path) for run, result in pairs)
    return CellLine(cell.group.key, cell.group.key.method, texts, links)


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
