"""Writes a report: one HTML page, one Markdown file, the main table as CSV and, if asked for, charts and tables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import examined
from dual_data.evaluation.report.chart import as_file
from dual_data.evaluation.report.document import (
    ITEMS,
    Entry,
    Table,
    chart_files,
    link_to,
    table_files,
    to_html,
    to_markdown,
)
from dual_data.evaluation.report.sections.main_table import main_numbers, main_rows, main_table
from dual_data.evaluation.report.sections.page import build
from dual_data.system.files import write_text
from dual_data.system.progress import Progress
from dual_data.text.display import visible


class Written(NamedTuple):
    """The files of a report."""

    html: Path
    markdown: Path
    table: Path
    figures: list[Path]
    tables: list[Path]
    rows: list[dict[str, Entry]]
    """The main table: before unlearning and every method at its chosen learning rate, by column."""
    incomplete: str
    """How many of the planned cells it rests on; empty where it rests on all."""


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    title: str = "Unlearning evaluation",
    items: bool = True,
    figures: Path | None = None,
    tables: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress | None = None,
) -> Written:
    """Read the results of some grids and write their report into `out`. Raises InputError where there are none.

    Without `items`, the report contains no questions or answers, no links to them, and no path of a model. In the
    folder `figures`, every chart is written as an SVG file, which the Markdown file then shows; in the folder `tables`,
    every table of the page as a LaTeX file, with the texts of its cells, and as a CSV one, with numbers in columns of
    their own.
    """
    say("reading results")
    collection = collect([folder.resolve() for folder in folders], paths=items, progress=progress)
    say(f"{len(collection.runs)} results; examining the chosen cells")
    cells = examined(collection)
    say("writing")
    rows, folder = main_rows(collection), out.resolve()
    table = main_table(rows)
    blocks = build(collection, table, cells, items=items)
    numbers = main_numbers(rows, folder)
    if not items:
        numbers = [{name: value for name, value in row.items() if name != ITEMS} for row in numbers]
    lines = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    charts = (
        {figures / f"{stem}.svg": chart for stem, chart in chart_files(blocks).items()} if figures is not None else {}
    )
    addresses = {chart: link_to(path.resolve(), folder) for path, chart in charts.items()}
    texts: dict[Path, str] = {}
    if tables is not None:
        for stem, shown in table_files(blocks).items():
            texts |= {tables / f"{stem}.csv": _csv(_numbers(shown)), tables / f"{stem}.tex": _latex(shown)}
    written = Written(
        out / "report.html",
        out / "report.md",
        out / "report.csv",
        list(charts),
        list(texts),
        lines,
        collection.incomplete,
    )
    for path, text in (
        *((path, as_file(chart)) for path, chart in charts.items()),
        *texts.items(),
        (written.html, to_html(title, blocks, folder)),
        (written.markdown, to_markdown(title, blocks, folder, addresses)),
        (written.table, _csv([[*numbers[0]] if numbers else [], *(row.values() for row in numbers)])),
    ):
        write_text(path, text)
    return written


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


# Brackets too: at the start of a row, LaTeX would take them for an argument of the command that ends the row before.
# Its usual fonts have other signs in the places of < > | `, and " is a command in some languages.
_ESCAPED = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {sign: f"{{{sign}}}" for sign in "[*"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': "{''}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\`{}"}
)
_DASH = re.compile("-(?=-)")
"""A hyphen before another, of which LaTeX would make a dash."""
_MINUS = re.compile(r"(?<![\w.])-(?=\d)")
"""A minus sign, which LaTeX sets as a hyphen outside of formulas; not that of 1e-4, nor a hyphen."""
_BEYOND_ASCII = (
    "% pdflatex lacks many letters that are not in ASCII: use lualatex or xelatex, with a font that has them."
)


def _latex(table: Table) -> str:
    r"""A `tabular` of LaTeX's package booktabs, for \input, under a comment that holds the table's caption.

    A second comment says where it has letters that not every LaTeX can set.
    """
    escaped = ([_DASH.sub("-{}", _MINUS.sub("$-$", text.translate(_ESCAPED))) for text in row] for row in _texts(table))
    head, *rows = (" & ".join(row) + r" \\" for row in escaped)
    start = rf"\begin{{tabular}}{{{'l' * len(table.header)}}}"
    lines = [start, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    comments = [f"% {visible(table.full_caption())}", *([] if all(map(str.isascii, lines)) else [_BEYOND_ASCII])]
    return "\n".join([*comments, *lines, ""])


_ESTIMATE = re.compile(r"(\S+) \[(\S+), (\S+)\]")


def _numbers(table: Table) -> list[list[str]]:
    """The texts of a table, with three columns for one of estimates: the value and the ends of its interval."""
    columns = list[Sequence[str]]()
    for name, *texts in zip(*_texts(table), strict=True):
        found = [_ESTIMATE.fullmatch(text) for text in texts]
        if any(found) and all(match or text in ("", "-") for match, text in zip(found, texts, strict=True)):
            values = [match.groups() if match else ("", "", "") for match in found]
            columns += zip((name, f"{name}, low", f"{name}, high"), *values, strict=True)
        else:
            columns.append((name, *texts))
    return [list(row) for row in zip(*columns, strict=True)]


def _texts(table: Table) -> list[list[str]]:
    return [[visible(str(entry)) for entry in row] for row in (table.header, *table.rows)]
