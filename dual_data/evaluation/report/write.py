"""Writes a report: one HTML page, one Markdown file and the main table as CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.document import Block, Cell, Entry, Links, Table, to_html, to_markdown
from dual_data.evaluation.report.extras import extras
from dual_data.evaluation.report.sections import build


class Written(NamedTuple):
    """Where the report is."""

    html: Path
    markdown: Path
    table: Path
    results: int
    rows: list[dict[str, str]]
    """The main table: before unlearning and every method at its chosen learning rate, by column."""


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str = "Unlearning evaluation",
    say: Callable[[str], None] = lambda _: None,
) -> Written:
    """Read the results of some grids and write their report into `out`. Raises InputError where there are none."""
    say("reading results")
    collection = collect([folder.resolve() for folder in folders])
    say(f"{collection.runs} results; examining the chosen cells")
    out = out.resolve()
    found = [one for group in collection.groups if (one := extras(collection, group)) is not None]
    say("writing")
    blocks = build(collection, found, out)
    out.mkdir(parents=True, exist_ok=True)
    main = _main(blocks)
    paths = Written(out / "report.html", out / "report.md", out / "report.csv", collection.runs, main)
    _replace(paths.html, to_html(title, blocks))
    _replace(paths.markdown, to_markdown(title, blocks))
    _replace(paths.table, _csv(main))
    return paths


def _main(blocks: Sequence[Block]) -> list[dict[str, str]]:
    """The main table, the first one that stands on its own; links in place of their texts."""
    table = next(block for block in blocks if isinstance(block, Table))
    texts = [[_links(entry) for entry in row] for row in table.rows]
    return [dict(zip(table.header, row, strict=True)) for row in texts]


def _links(entry: Entry) -> str:
    if isinstance(entry, Links):
        return " ".join(cell.link for cell in entry.cells)
    return entry.link if isinstance(entry, Cell) else entry


def _csv(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
