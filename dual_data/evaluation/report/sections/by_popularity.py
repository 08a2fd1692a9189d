"""The section on forgetting by popularity within a set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from dual_data.evaluation.report.analysis.examined import ExaminedCell
from dual_data.evaluation.report.analysis.runs import Collection, Key
from dual_data.evaluation.report.chart import Axis, Series, chart
from dual_data.evaluation.report.document import Block, Charts, Heading
from dual_data.evaluation.report.marks import looks, spot
from dual_data.evaluation.report.numbers import shown
from dual_data.evaluation.report.places import CellLine, cell_table, row_id, sources, title_of
from dual_data.evaluation.results import BASE


def by_popularity(collection: Collection, cells: Sequence[ExaminedCell]) -> list[Block]:
    """Forgetting by decile of popularity."""
    lines = list[CellLine]()
    charts, look = [], looks(collection)
    drops: dict[tuple[Key, str], list[Series]] = defaultdict(list)
    for cell in cells:
        if cell.frequency is None:
            continue
        key, frequency, row = cell.group.key, cell.frequency, row_id("popularity", cell.runs)
        measures = ("the answer's probability", "generations with the answer")
        for measure, by_part in zip(measures, zip(*frequency.parts, strict=True), strict=True):
            spots = tuple(spot(i, drop, f"part {i + 1}: ", row, hollow=True) for i, drop in enumerate(by_part))
            drops[key._replace(method=BASE), measure].append(Series(key.method, spots, look=look[key.method]))
        correlations = (frequency.by_probability, frequency.by_answer, frequency.agreement)
        texts = (str(frequency.facts), *map(shown, correlations), str(frequency.disagreeing))
        lines.append(CellLine(key, key.method, texts, sources(cell.runs[:1]), row))
    keys = [key for key, _ in drops]
    for (key, measure), series in drops.items():
        names = tuple(str(i + 1) for i in range(max(len(line.spots) for line in series)))
        if len(names) == 1:
            continue
        parts = Axis("part by popularity, least popular first", names=names, aside=True)
        charts.append(chart(f"{title_of(key, keys)}: {measure}", parts, Axis(f"drop of {measure}"), series))
    columns = (
        "facts", "rho: popularity, probability drop", "rho: popularity, answer drop", "rho: the two drops",
        "disagreeing facts",
    )  # fmt: skip
    drop_caption = (
        "Mean drop since before unlearning, by decile of popularity within the set: of the answer's probability, and "
        "of the share of generations that contain the answer. Facts of equal popularity are in one part, so sets of "
        "few popularities have fewer parts, as have small ones; a single part has no chart. Hollow points are of one "
        "seed, here the first."
    )
    caption = (
        "Facts: those that have a popularity. rho: Spearman's rank correlation over them, of the first seed at the "
        "chosen learning rate, between popularity, the drop of the answer's probability and the loss of the answer. "
        "Disagreeing facts: of those answered before unlearning, the answer is lost though half or more of its "
        "probability is left, or the other way round."
    )
    return [
        Heading("Forgetting by popularity"),
        Charts(tuple(charts), drop_caption),
        cell_table(columns, lines, caption, ("facts", "disagreeing facts")),
    ]
