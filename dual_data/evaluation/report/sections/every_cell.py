"""Every cell with its scores, gradient norms and items: the targets of links in charts over learning rates."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.evaluation.report.analysis.estimates import estimate
from dual_data.evaluation.report.analysis.runs import PANEL, SETS, Collection, Run
from dual_data.evaluation.report.document import ITEMS, Block, Entry, Heading, Paragraph, Table
from dual_data.evaluation.report.numbers import NORMS, gradient_norms, shown
from dual_data.evaluation.report.places import BEFORE, rate_of, row_id, seeds_of, sources, starts
from dual_data.evaluation.report.sections.panel import has_panel, panel_accuracy


def every_cell(collection: Collection) -> list[Block]:
    """One table per place: the model before unlearning, and every method at every learning rate."""
    introduction = f"ROUGE-L recall; learning rates are chosen on forget and retain_train. {NORMS}"
    blocks: list[Block] = [Heading("Every learning rate"), Paragraph(introduction)]
    for start in starts(collection):
        rows = [(BEFORE, start.before)] if start.before else []
        rows += [(group.key.method, tuple(group.at(lr))) for group in start.groups for lr in group.lrs]
        panel = any(has_panel(runs) for _, runs in rows)
        table_rows = tuple(_row(method, runs, panel=panel) for method, runs in rows)
        ids = tuple(row_id("cell", runs) for _, runs in rows)
        header = ("method", "lr", "seeds", *SETS, *([PANEL] if panel else []), "gradient norm", ITEMS)
        caption = f"ROUGE-L recall, {start.title}{f'; {PANEL}: accuracy' if panel else ''}."
        blocks += [Heading(start.title, 3), Table(header, table_rows, caption, ("lr", "seeds"), ids)]
    return blocks


def _row(method: str, runs: Sequence[Run], *, panel: bool) -> tuple[Entry, ...]:
    scores = [shown(estimate(runs, name, "rougeL_recall")) for name in SETS]
    if panel:
        scores.append(shown(panel_accuracy(runs)))
    return (method, rate_of(runs), seeds_of(runs), *scores, gradient_norms(runs), sources(runs))
