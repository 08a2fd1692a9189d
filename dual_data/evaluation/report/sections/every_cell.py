"""Every cell with its scores, gradient norms and items: the targets of links in charts over learning rates."""

from __future__ import annotations

from collections.abc import Sequence

from dual_data.evaluation.report.analysis.estimates import NORMS, estimate, gradient_norms, shown
from dual_data.evaluation.report.analysis.runs import PANEL, Collection, Run
from dual_data.evaluation.report.document import ITEMS, Block, Entry, Heading, Paragraph, Table
from dual_data.evaluation.report.places import BEFORE, rate_of, row_id, seeds_of, sources, starts
from dual_data.evaluation.report.sections.panel import has_panel, panel_accuracy

_SETS = ("forget", "retain_train", "retain_eval")


def every_cell(collection: Collection) -> list[Block]:
    """One table per place: the model before unlearning, and every method at every learning rate."""
    introduction = f"ROUGE-L recall; learning rates are chosen on forget and retain_train. {NORMS}"
    blocks: list[Block] = [Heading("Every learning rate"), Paragraph(introduction)]
    for _, before, groups, title in starts(collection):
        rows = [(BEFORE, before)] if before else []
        rows += [(group.key.method, tuple(group.at(lr))) for group in groups for lr in group.lrs]
        panel = any(has_panel(runs) for _, runs in rows)
        table_rows = tuple(_row(method, runs, panel=panel) for method, runs in rows)
        ids = tuple(row_id("cell", runs) for _, runs in rows)
        header = ("method", "lr", "seeds", *_SETS, *([PANEL] if panel else []), "gradient norm", ITEMS)
        caption = f"ROUGE-L recall, {title}{f'; {PANEL}: accuracy' if panel else ''}."
        blocks += [Heading(title, 3), Table(header, table_rows, caption, ("lr", "seeds"), ids)]
    return blocks


def _row(method: str, runs: Sequence[Run], *, panel: bool) -> tuple[Entry, ...]:
    scores = [shown(estimate(runs, name, "rougeL_recall")) for name in _SETS]
    if panel:
        scores.append(shown(panel_accuracy(runs)))
    return (method, rate_of(runs), seeds_of(runs), *scores, gradient_norms(runs), sources(runs))
