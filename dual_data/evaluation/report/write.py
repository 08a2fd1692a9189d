"""Writes a report: one HTML page, one Markdown file and the main table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dual_data.engine.tables import write_whole
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.document import ITEMS, Entry, LinkList, Table, TableCell, to_html, to_markdown
from dual_data.evaluation.report.extras import extras
from dual_data.evaluation.report.main_table import main_columns, main_rows, main_table
from dual_data.evaluation.report.sections import build


class Written(NamedTuple):
    """The files of a report."""

    html: Path
    markdown: Path
    table: Path
    rows: list[dict[str, str]]
    """The main table: before unlearning and every method at its chosen learning rate, by column."""


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str = "Unlearning evaluation",
    items: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Written:
    """Read the results of some grids and write their report into `out`. Raises InputError where there are none.

    Without `items`, the report contains no questions or answers and no links to them.
    """
    say("reading results")
    collection = collect([folder.resolve() for folder in folders])
    say(f"{collection.runs} results; examining the chosen cells")
    out = out.resolve()
    cells = [cell for group in collection.groups if (cell := extras(collection, group)) is not None]
    say("writing")
    rows = main_rows(collection)
    blocks = build(collection, rows, cells, out, items=items)
    columns = main_columns(rows, out)
    if not items:
        columns = [{name: value for name, value in line.items() if name != ITEMS} for line in columns]
    written = Written(out / "report.html", out / "report.md", out / "report.csv", _texts(main_table(rows, out)))
    for path, text in (
        (written.html, to_html(title, blocks)),
        (written.markdown, to_markdown(title, blocks)),
        (written.table, _csv(columns)),
    ):
        write_whole(path, partial(Path.write_text, data=text, encoding="utf-8"))
    return written


def _texts(table: Table) -> list[dict[str, str]]:
    """The rows of a table by column, with the targets of links in place of their texts."""
    return [dict(zip(table.header, map(_entry_text, row), strict=True)) for row in table.rows]


def _entry_text(entry: Entry) -> str:
    if isinstance(entry, LinkList):
        return " ".join(cell.link for cell in entry.cells)
    return entry.link if isinstance(entry, TableCell) else entry


def _csv(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
