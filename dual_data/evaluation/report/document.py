"""A document of headings, paragraphs, tables and figures, written as one HTML file or as Markdown."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from dual_data.evaluation.report.chart import STYLE, Chart
from dual_data.text.display import visible
from dual_data.text.markup import Html, breakable, element, html_page


class Link(NamedTuple):
    """A link to a file."""

    text: str
    path: Path


Entry = tuple[Link, ...] | str
"""A cell of a table."""
EXACT = "Columns without intervals (counts, settings, results of tests): "
"""The end of a caption, before the names of the columns."""
_LONGEST_NAME = 100
"""Characters of the stem of a file's name."""
ITEMS = "items"
"""The column with links to the results behind a row."""


class Heading(NamedTuple):
    """A section's title."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """Plain text."""

    text: str


class Points(NamedTuple):
    """A list of plain texts."""

    texts: tuple[str, ...]


class Table(NamedTuple):
    """A table; its caption explains the numbers and says which columns hold no estimates."""

    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str
    exact: tuple[str, ...] = ()
    """Columns whose numbers are counts, settings or results of tests; all other numbers have intervals."""
    ids: tuple[str, ...] = ()
    """Ids of the rows, which charts link to; none, or one per row."""

    def full_caption(self) -> str:
        """The caption, with the exact columns at its end."""
        return f"{self.caption} {EXACT}{', '.join(self.exact)}." if self.exact else self.caption


class Charts(NamedTuple):
    """Charts side by side; Markdown has only their caption where they are in no files."""

    charts: tuple[Chart, ...]
    caption: str


class Folded(NamedTuple):
    """Blocks that open on a click."""

    title: str
    blocks: tuple[Block, ...]


Block = Heading | Paragraph | Points | Table | Charts | Folded


def without_items(block: Block) -> Block:
    """A block without the column of items and without links to other files."""
    match block:
        case Folded(title, blocks):
            return Folded(title, tuple(map(without_items, blocks)))
        case Table(header, rows):
            columns = [index for index, name in enumerate(header) if name != ITEMS]
            texts = tuple(tuple(_text(row[index]) for index in columns) for row in rows)
            return block._replace(header=tuple(header[index] for index in columns), rows=texts)
        case _:
            return block


def with_content(blocks: Sequence[Block]) -> list[Block]:
    """The blocks without charts and tables that are empty, and without headings under which nothing is left."""
    kept: list[Block] = []
    for block in reversed(blocks):
        match block:
            case Charts(charts=()) | Table(rows=()):
                continue
            case Heading(level=level) if not kept or (isinstance(kept[-1], Heading) and kept[-1].level <= level):
                continue
        kept.append(block)
    return kept[::-1]


def chart_files(blocks: Sequence[Block]) -> dict[str, Chart]:
    """The charts of a document, by stems for their files: section and title, with the measure where charts of several
    share these, and with a number where all that is the same."""
    charts = [
        (section, chart) for section, _, block in _walk(blocks) if isinstance(block, Charts) for chart in block.charts
    ]
    measures: dict[tuple[str, str], set[str]] = {}
    for section, chart in charts:
        measures.setdefault((section, chart.title), set()).add(chart.measure)
    files: dict[str, Chart] = {}
    for section, chart in charts:
        measure = chart.measure if len(measures[section, chart.title]) > 1 else ""
        files[_stem(f"{section} {chart.title}", measure, files)] = chart
    return files


def table_files(blocks: Sequence[Block]) -> dict[str, Table]:
    """The tables of a document without their links, by stems for their files: section, and the heading below it or the
    title of what is folded, without its number of rows; with a number where these are the same."""
    files: dict[str, Table] = {}
    for section, below, block in _walk(blocks):
        if isinstance(table := without_items(block), Table):
            title = re.sub(r" \(\d+[^)]*\)$", "", f"{section} {below}")
            files[_stem(title, "", files)] = table
    return files


def _walk(blocks: Sequence[Block], section: str = "", below: str = "") -> Iterator[tuple[str, str, Block]]:
    """Every block with the title of its section, and of the heading below that, or of what it is folded in."""
    for block in blocks:
        match block:
            case Heading(text, 2):
                section, below = text, ""
            case Heading(text):
                below = text
            case Folded(title, inner):
                yield from _walk(inner, section, title)
            case _:
                yield section, below, block


def _stem(title: str, what: str, others: Collection[str]) -> str:
    """A stem unlike the others, with a number where the titles are the same."""
    end = f"-{_slug(what)}" if what else ""
    stem, longest = _slug(title), _LONGEST_NAME - len(end)
    if len(stem) > longest:  # at the end of a word
        stem = stem[:longest].rpartition("-")[0] or stem[:longest]
    stem += end
    numbers = ("", *(f"-{number}" for number in range(2, len(others) + 2)))
    return next(name for number in numbers if (name := f"{stem}{number}") not in others)


_STYLE = """
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:100rem;
margin:0 auto;padding:1.5rem 1rem}
h1,h2,h3{line-height:1.25}h2{margin-top:2.5rem;border-bottom:1px solid var(--rule)}h3{font-size:1rem;margin:1.5rem 0 0}
a{color:var(--link)}nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;padding:0}
p,li{max-width:56rem;overflow-wrap:anywhere}figure{margin:1rem 0}
figcaption{color:var(--soft);font-size:.9rem;max-width:56rem;margin:.4rem 0}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(26rem,1fr));gap:1rem;overflow-x:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.8rem;line-height:1.35;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .3rem;border-bottom:1px solid var(--rule);text-align:left;vertical-align:top}
td.text{min-width:8rem}thead th{font-size:.9em;background:var(--shade);vertical-align:bottom}td a{white-space:nowrap}
.interval{display:inline-block;color:var(--soft);font-size:.85em}
tr{scroll-margin-top:6rem}tr:target{background:var(--shade);box-shadow:inset 4px 0 var(--link)}
:focus-visible{outline:2px solid var(--link);outline-offset:1px}
svg{width:100%;height:auto}a .dot{stroke:transparent;stroke-width:8}
svg a:hover .dot,svg a:focus-visible .dot{stroke:var(--ink);stroke-width:1.5}svg a:hover .ref{stroke:var(--ink)}
@media print{@page{size:A4 landscape;margin:12mm}body{font-size:9pt;max-width:none;padding:0}nav{display:none}
details::details-content{content-visibility:visible;display:block;height:auto}svg,tr{break-inside:avoid}
.wide,.charts{overflow:visible}.charts{grid-template-columns:repeat(3,1fr)}table{font-size:6.5pt;width:100%}
figcaption{font-size:7.5pt}h2,h3,figcaption,summary{break-after:avoid}
th,td{padding:.15rem .3rem}td.text{min-width:0}a{color:inherit;text-decoration:none}}
"""


def link_to(path: Path, folder: Path) -> str:
    """A relative link from a page in `folder`."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def to_html(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """One self-contained HTML page, with links relative to `folder`."""
    # Every mark of a chart is a stop of the Tab key, so readers need links that skip the charts.
    sections = (
        element("li", element("a", block.text, href=f"#{_slug(block.text)}"))
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    )
    nav = element("nav", element("ul", *sections), aria_label="Sections")
    taken: set[str | None] = set()
    contents = (_html(block, folder, taken) for block in blocks)
    return html_page(title, _STYLE + STYLE, element("main", element("h1", title), nav, *contents))


_INTERVAL = re.compile(r"(?<=\d )\[[^\[\]<>&]{1,40}, [^\[\]<>&]{1,40}\]")
# Where a link or its definition would go on after "]", which there may be others before: "[[1]](http://x.example)".
_SPECIAL = re.compile(r"[\\`*~|$]|(?<![^\W_])_|_(?![^\W_])|\](?=\s*[(\[:])|!(?=\[)")


def to_markdown(title: str, blocks: Sequence[Block], folder: Path, addresses: Mapping[Chart, str] | None = None) -> str:
    """The same document as Markdown, with the charts that have an address."""
    body = "".join(_markdown(block, folder, addresses or {}) for block in blocks)
    return f"# {_literal(title)}\n\n{body.rstrip()}\n"


def _html(block: Block, folder: Path, taken: set[str | None]) -> Html:
    """The element of a block; `taken` holds the ids of rows so far."""
    match block:
        case Heading(text, level):
            return element(f"h{level}", text, id=_slug(text) if level == 2 else None)
        case Paragraph(text):
            return element("p", text)
        case Points(texts):
            return element("ul", *(element("li", text) for text in texts))
        case Charts(charts, caption):
            figures = element("div", *(Html(chart.svg) for chart in charts), class_="charts")
            return element("figure", figures, element("figcaption", caption))
        case Folded(title, blocks):
            return element("details", element("summary", title), *(_html(inner, folder, taken) for inner in blocks))
        case Table():
            head = element("tr", *(element("th", breakable(text), scope="col") for text in block.header))
            ids = block.ids or [None] * len(block.rows)
            rows = []
            for row, row_id in zip(block.rows, ids, strict=True):
                # A model before unlearning that two presets share has the same row under each.
                cells = (_html_cell(entry, folder) for entry in row)
                rows.append(element("tr", *cells, id=None if row_id in taken else row_id))
                taken.add(row_id)
            table = element("table", element("thead", head), element("tbody", *rows))
            caption = element("figcaption", block.full_caption())
            return element("figure", caption, element("div", table, class_="wide", tabindex=0))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _html_cell(entry: Entry, folder: Path) -> Html:
    if isinstance(entry, str):  # intervals wrap as a whole while they can
        shown = _INTERVAL.sub(r'<span class="interval">\g<0></span>', breakable(entry))
    else:
        shown = " ".join(element("a", link.text, href=link_to(link.path, folder)) for link in entry)
    return element("td", Html(shown), class_="text" if len(_text(entry)) > 40 else None)


def _text(entry: Entry) -> str:
    return entry if isinstance(entry, str) else " ".join(link.text for link in entry)


def _markdown(block: Block, folder: Path, addresses: Mapping[Chart, str]) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {_literal(text)}\n\n"
        case Paragraph(text):
            return f"{_literal(text)}\n\n"
        case Points(texts):
            return "".join(f"- {_literal(text)}\n" for text in texts) + "\n"
        case Charts(charts, caption):
            images = [f"![{_literal(c.title)}](<{addresses[c]}>)" for c in charts if c in addresses]
            start = "\n".join([*images, "", ""]) if images else "Charts are on the HTML page. "
            return f"{start}{_literal(caption)}\n\n"
        case Folded(title, blocks):
            return f"**{_literal(title)}**\n\n" + "".join(_markdown(inner, folder, addresses) for inner in blocks)
        case Table():
            lines = [block.header, tuple("---" for _ in block.header), *block.rows]
            table = "".join(f"| {' | '.join(_markdown_cell(entry, folder) for entry in row)} |\n" for row in lines)
            return f"{table}\n{_literal(block.full_caption())}\n\n"


def _markdown_cell(entry: Entry, folder: Path) -> str:
    if isinstance(entry, str):
        return _literal(entry)
    return " ".join(f"[{_literal(link.text)}]({link_to(link.path, folder)})" for link in entry)


def _literal(text: str) -> str:
    """Text, of models and result files too, that Markdown shows as it is; intervals and names stay unescaped."""
    escaped = _SPECIAL.sub(r"\\\g<0>", visible(text).replace("&", "&amp;").replace("<", "&lt;"))
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")
