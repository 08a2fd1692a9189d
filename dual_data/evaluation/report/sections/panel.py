"""The section on the utility panel: abilities of the model that are unrelated to the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from dual_data.bootstrap import SHARE, UNKNOWN, Interval, bootstrap_difference, bootstrap_mean
from dual_data.evaluation.report.analysis.runs import (
    PANEL_SCORES,
    Collection,
    Group,
    PanelTable,
    Run,
    before_of,
    stack_panel,
)
from dual_data.evaluation.report.chart import Axis, Chart, Line, chart
from dual_data.evaluation.report.document import Block, Charts, Folded, Heading
from dual_data.evaluation.report.marks import looks, method_series, spots_by_rate
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import BEFORE, CellLine, cell_table, rate_of, row_id, sources, starts


def has_panel(runs: Sequence[Run]) -> bool:
    """Whether a utility panel was measured."""
    return any(run.panel is not None for run in runs)


def panel_accuracy(runs: Sequence[Run]) -> Interval:
    """Share of correctly answered questions, over seeds and questions; UNKNOWN without a panel or a number."""
    if not has_panel(runs):
        return UNKNOWN
    table = stack_panel(runs, "right")
    return bootstrap_mean(table, range(table.shape[1]), SHARE)


def panel(collection: Collection) -> list[Block]:
    """Accuracy over learning rates, and the changes of the chosen cells; empty where no panel was measured."""
    measured = [start for start in starts(collection) if has_panel(start.before)]
    charts, lines, kind_lines = list[Chart](), list[CellLine](), list[CellLine]()
    look = looks(collection)
    kinds = list(dict.fromkeys(kind for start in measured for kind in _table(start.before).kinds))
    for start in measured:
        key, before, groups, title = start
        table = _table(before)
        if any(group.lrs for group in groups):
            charts.append(_by_rate(title, before, groups, look))
        for method, runs in start.cells:
            setting = (rate_of(runs), str(len(runs)), f"{table.name} ({len(table.scores['right'])})")
            texts = [text for name in PANEL_SCORES for text in _texts(runs, before, name, changed=method != BEFORE)]
            links = sources(runs)
            lines.append(CellLine(key, method, (*setting, *texts), links, row_id("panel", runs)))
            kind_lines.append(CellLine(key, method, (*setting, *_accuracy_by_kind(runs, kinds)), links))
    if not measured:
        return []
    panels = "; ".join(dict.fromkeys(_description(_table(start.before)) for start in measured))
    caption = (
        f"Panel: {panels}. Accuracy: share of the questions whose right option has the highest log-probability; by "
        "length: the highest per character. Probability: of the right option among the options. NLL: in nats per "
        "token; a rise is a loss. Changes are from the model before unlearning on the same questions and texts. "
        "Intervals are over seeds and questions or texts; result files list their scores in the order of the panel."
    )
    scores = (column for name, _ in PANEL_SCORES.values() for column in (name, f"change of {name}"))
    exact = ("lr", "seeds", "panel")
    chart_caption = "Accuracy on the panel against the learning rate; bars are 95 % intervals."
    by_kind = cell_table((*exact, *kinds), kind_lines, "Accuracy by kind of question.", exact)
    return [
        Heading("Utility panel"),
        Charts(tuple(charts), chart_caption),
        cell_table((*exact, *scores), lines, caption, exact),
        Folded(f"Accuracy by kind of question ({len(kinds)} kinds)", (by_kind,)),
    ]


def _by_rate(title: str, before: Sequence[Run], groups: Sequence[Group], look: Mapping[str, int]) -> Chart:
    accuracy, guessing = panel_accuracy(before), _table(before).guessing
    lines = [
        Line("y", accuracy.value, BEFORE, shown(accuracy), row_id("panel", before)),
        Line("y", guessing, "guessing"),
    ]
    axes = (Axis("learning rate", log=True, aside=True), Axis("accuracy on the panel", 0, 1))
    return chart(title, *axes, method_series(groups, look, partial(spots_by_rate, score=panel_accuracy)), lines)


def _table(runs: Sequence[Run]) -> PanelTable:
    """The panel of the first run that has one."""
    return next(run.panel for run in runs if run.panel is not None)


def _description(table: PanelTable) -> str:
    questions, texts = len(table.scores["right"]), len(table.scores["nll"])
    return f"{table.name}, {questions} questions, of which guessing answers {table.guessing:.0%}, and {texts} texts"


def _texts(runs: Sequence[Run], before: Sequence[Run], score: str, *, changed: bool) -> tuple[str, str]:
    """A score and its change from before unlearning."""
    table = stack_panel(runs, score)
    if not table.size:
        return "-", "-"
    _, scale = PANEL_SCORES[score]
    table_before = stack_panel([before_of(before, run) for run in runs], score)
    items = range(table.shape[1])
    change = shown(bootstrap_difference(table, table_before, items, scale)) if changed else "-"
    return shown(bootstrap_mean(table, items, scale)), change


def _accuracy_by_kind(runs: Sequence[Run], kinds: Sequence[str]) -> list[str]:
    table, indices = stack_panel(runs, "right"), _table(runs).kinds
    return [
        shown(bootstrap_mean(table[:, list(indices[kind])], range(len(indices[kind])), SHARE))
        if kind in indices
        else "-"
        for kind in kinds
    ]
