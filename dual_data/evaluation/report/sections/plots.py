"""Charts of the grid: frontier, stability, shifts of ranks and log-probabilities, worst cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.curves import frontier_area, largest_jump
from dual_data.evaluation.report.analysis.estimates import TRIVIAL_RULE, estimate, median, trivial_rule
from dual_data.evaluation.report.analysis.runs import SHOWN_SETS, Collection, Group, Run
from dual_data.evaluation.report.chart import Axis, Line, Series, Spot, chart
from dual_data.evaluation.report.document import Block, Charts
from dual_data.evaluation.report.marks import is_single_seed, looks, method_series, spot, spots_by_rate
from dual_data.evaluation.report.numbers import NORMS, gradient_norms, shown, shown_rank
from dual_data.evaluation.report.places import BEFORE, CellLine, cell_table, rate_of, row_id, sources, starts

_ASKED_WITH = {"contains_answer": "the question itself", "worst": "any wording or prompt"}
"""Scores of whether a forget fact is answered, with the prompts that each counts."""
_OFFSETS = (-0.1, 0.1)
"""Offsets of two series from the position of a category, so that their bars do not cover each other."""


def frontiers(collection: Collection) -> list[Block]:
    """Forget against retain score, one chart per stage and set, with baselines."""
    charts, look = [], looks(collection)
    for start in starts(collection):
        series = method_series(start.groups, look, _frontier_spots)
        lines = []
        if start.before:
            series.append(Series(BEFORE, (_frontier_spot(start.before, ""),), joined=False, look=look[BEFORE]))
            rule = trivial_rule(start.before)
            lines.append(Line("x", rule.value, "trivial rule", shown(rule), row_id("chosen", start.before)))
        axes = (Axis("forget, ROUGE-L recall", 0, 1), Axis("retain_eval, ROUGE-L recall", 0, 1))
        charts.append(chart(start.title, *axes, series, lines))
    caption = (
        "Each point is a learning rate; lines join neighbouring rates. Up and to the left is better. Left of the "
        f"dashed line, the score is no higher than that of the trivial rule, {TRIVIAL_RULE}. Bars are 95 % "
        "intervals; hollow points are of one seed, so their intervals leave out the variation between seeds."
    )
    return [Charts(tuple(charts), caption)]


def stability(collection: Collection) -> list[Block]:
    """Scores against the learning rate, the largest jump and the gradient norms."""
    charts, look = [], looks(collection)
    lines = list[CellLine]()
    for start in starts(collection):
        for name in SHOWN_SETS if any(group.lrs for group in start.groups) else ():
            score = partial(estimate, name=name, score="rougeL_recall")
            series = method_series(start.groups, look, partial(spots_by_rate, score=score))
            level = [_line_before(start.before, score(start.before), "cell")] if start.before else []
            axes = (Axis("learning rate", log=True, aside=True), Axis(f"{name}, ROUGE-L recall", 0, 1))
            charts.append(chart(start.title, *axes, series, level))
        for group in start.groups:
            texts = (shown(largest_jump(group)), shown(frontier_area(group)), gradient_norms(group.runs))
            lines.append(CellLine(start.key, group.key.method, texts, sources(group.runs)))
    caption = (
        "Largest jump: the largest change of the forget score between neighbouring learning rates, or up to the lowest "
        "of them, as a share of the score before unlearning. Its interval is of that change; noise alone makes the "
        "largest of several changes large, and rates that lie far apart make every change large. Area: under the "
        "frontier of forgetting and retention on retain_eval; 1 for a method that forgets everything and loses "
        "nothing, more where retain_eval rises above its score before unlearning. Points that another one beats on "
        "both scores are left out, also that of the model before unlearning; the others are joined by straight lines. "
        f"A dash: too few learning rates, or scores without any spread, from which no interval can be made. {NORMS}"
    )
    return [
        Charts(
            tuple(charts),
            "Scores by learning rate; methods at the same rate stand side by side. Hollow points are of one seed.",
        ),
        cell_table(("largest jump", "area under the frontier", "gradient norm"), lines, caption),
    ]


def shifts(collection: Collection) -> list[Block]:
    """Change of log-probability and ranks at the chosen learning rates."""
    charts = []
    lines = list[CellLine]()
    for start in starts(collection):
        cells, unlearned = start.cells, start.unlearned  # the first cell is the model before unlearning
        if not unlearned:
            continue
        changes = [[estimate(runs, name, "change_mean_log_probability") for name in SHOWN_SETS] for _, runs in cells]
        ranks = [[median(runs, name, "first_rank") for name in SHOWN_SETS] for _, runs in cells]
        methods = Axis("method", names=tuple(method for method, _ in unlearned))
        y = Axis("change of log p a token, nats")
        series = _side_by_side(SHOWN_SETS, unlearned, changes[1:], "shift")
        charts.append(chart(start.title, methods, y, series, (Line("y", 0.0, "no change"),)))
        series = _side_by_side(SHOWN_SETS, unlearned, ranks[1:], "shift", text=shown_rank)
        levels = [
            _line_before(start.before, rank, "shift", f"{name} before", shown_rank)
            for name, rank in zip(SHOWN_SETS, ranks[0], strict=True)
        ]
        y = Axis("median rank of the first answer token", low=0.8, log=True)
        charts.append(chart(start.title, methods, y, series, levels))
        for (method, runs), change, rank in zip(cells, changes, ranks, strict=True):
            texts = (rate_of(runs), *map(shown, change), *map(shown_rank, rank))
            lines.append(CellLine(start.key, method, texts, sources(runs), row_id("shift", runs)))
    columns = ("lr", "change on forget", "change on retain_eval", "rank on forget", "rank on retain_eval")
    caption = (
        "Change: difference in the mean log-probability of an answer token, in nats, from the model before "
        "unlearning. Rank: median over the facts of the rank of the first answer token."
    )
    chart_caption = (
        "At the chosen learning rates. Greedy decoding takes a token of rank 1, which several tokens have where they "
        "tie, as is common in bfloat16. Bars are 95 % intervals. Hollow points are of one seed."
    )
    return [Charts(tuple(charts), chart_caption), cell_table(columns, lines, caption, ("lr",))]


def worst_cases(collection: Collection) -> list[Block]:
    """Share of forget facts that are answered with the question itself, and with any wording or prompt."""
    charts = []
    for start in starts(collection):
        unlearned = start.unlearned
        if not unlearned:
            continue
        answered = [[estimate(runs, "forget", score) for score in _ASKED_WITH] for _, runs in unlearned]
        methods = Axis("method", names=tuple(method for method, _ in unlearned))
        y = Axis("share of forget facts answered", 0, 1)
        levels = [
            _line_before(start.before, estimate(start.before, "forget", score), "chosen", f"{asked_with}, before")
            for score, asked_with in _ASKED_WITH.items()
        ]
        series = _side_by_side(tuple(_ASKED_WITH.values()), unlearned, answered, "chosen")
        charts.append(chart(start.title, methods, y, series, levels))
    caption = (
        "Share of forget facts with a greedy answer that contains an accepted one, at the chosen learning rates. "
        "Hollow points are of one seed."
    )
    return [Charts(tuple(charts), caption)]


def _frontier_spots(group: Group) -> tuple[Spot, ...]:
    return tuple(_frontier_spot(group.at(lr), f"lr {lr:g}: ") for lr in group.lrs)


def _frontier_spot(runs: Sequence[Run], start: str) -> Spot:
    """A point of the frontier: forget against retain score."""
    forget, retain = (estimate(runs, name, "rougeL_recall") for name in SHOWN_SETS)
    ranges = ((forget.low, forget.high), (retain.low, retain.high))
    note = f"{start}forget {shown(forget)}, retain_eval {shown(retain)}"
    return Spot(forget.value, retain.value, *ranges, note, row_id("cell", runs), is_single_seed(runs))


def _side_by_side(
    names: Sequence[str],
    cells: Sequence[tuple[str, Sequence[Run]]],
    scores_by_cell: Sequence[Sequence[Interval]],
    table: str,
    *,
    text: Callable[[Interval], str] = shown,
) -> list[Series]:
    """Two scores of every cell as points side by side, each linked to the row of its runs in the table."""
    return [
        Series(
            name,
            tuple(
                spot(i + offset, scores[j], f"{method}: ", row_id(table, runs), text, hollow=is_single_seed(runs))
                for i, ((method, runs), scores) in enumerate(zip(cells, scores_by_cell, strict=True))
            ),
            joined=False,
        )
        for j, (offset, name) in enumerate(zip(_OFFSETS, names, strict=True))
    ]


def _line_before(
    runs: Sequence[Run], score: Interval, table: str, name: str = BEFORE, text: Callable[[Interval], str] = shown
) -> Line:
    """A reference line at a score before unlearning."""
    return Line("y", score.value, name, text(score), row_id(table, runs))
