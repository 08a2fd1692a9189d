"""A document of headings, paragraphs, tables and figures, written as one HTML file or as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """A table's cell: text, and where it links to."""

    text: str
    link: str = ""


class Links(NamedTuple):
    """A table's cell of several links."""

    cells: tuple[Cell, ...]


Entry = Cell | Links | str


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
    """A table; its caption says what the numbers are, and at its end which columns hold no estimates."""

    header: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str
    exact: tuple[str, ...] = ()
    """Columns whose numbers are counts, settings or results of tests: all others have their intervals."""
    ids: tuple[str, ...] = ()
    """What charts call the rows by; none, or one a row."""

    def told(self) -> str:
        """The whole caption."""
        return f"{self.caption} {EXACT}{', '.join(self.exact)}." if self.exact else self.caption


class Figures(NamedTuple):
    """Charts side by side; Markdown leaves them out."""

    charts: tuple[str, ...]
    caption: str


class Folded(NamedTuple):
    """Blocks that open on a click."""

    title: str
    blocks: tuple[Block, ...]


EXACT = "Counts, settings and results of tests, which have no interval: "
"""What a caption ends with, before the names of the columns."""
Block = Heading | Paragraph | Points | Table | Figures | Folded

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#5b6570;--rule:#d5dbe1;--shade:#f4f6f8;
--c0:#1f5fbf;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#b45309;--c5:#0e7490;--c6:#be123c;--c7:#4d5560}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--paper:#14171a;--soft:#9aa4ae;--rule:#343b42;--shade:#1d2226;
--c0:#7db0ff;--c1:#ff9d6b;--c2:#6fdc91;--c3:#cf9bff;--c4:#f3bf5f;--c5:#67d3e6;--c6:#ff8ba0;--c7:#b4bcc4}}
@media print{:root{color-scheme:light;--ink:#000;--paper:#fff;--soft:#444;--rule:#bbb;--shade:#fff;--c0:#1f5fbf;
--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#b45309;--c5:#0e7490;--c6:#be123c;--c7:#4d5560}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:76rem;margin:0 auto;
padding:1.5rem clamp(1rem,3vw,1.5rem)}
h1,h2,h3{line-height:1.25}h2{margin-top:2.5rem;border-bottom:1px solid var(--rule)}h3{font-size:1rem;margin:1.5rem 0 0}
a{color:var(--c0)}nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem;list-style:none;padding:0}
p,li{max-width:56rem;overflow-wrap:anywhere}figure{margin:1rem 0}
figcaption{color:var(--soft);font-size:.9rem;max-width:56rem;margin:.4rem 0}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(26rem,1fr));gap:1rem;overflow-x:auto}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--rule);text-align:left;white-space:nowrap}
td.text{white-space:normal;min-width:20rem}thead th{background:var(--shade)}
tr{scroll-margin-top:6rem}tr:target{background:var(--shade);box-shadow:inset 4px 0 var(--c0)}
:focus-visible{outline:2px solid var(--c0);outline-offset:1px}
svg{width:100%;height:auto}svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg text.title{font-weight:600}
svg text.small{fill:var(--soft);font-size:9.5px}.grid{stroke:var(--rule);stroke-width:.5;fill:none}
.axis{stroke:var(--soft);fill:none}.ref{stroke:var(--soft);stroke-dasharray:4 3;fill:none}
.line{fill:none;stroke-width:1.6}.bar{stroke-width:1;fill:none;opacity:.7}a .dot{stroke:transparent;stroke-width:8}
svg a:hover .dot,svg a:focus-visible .dot{stroke:var(--ink);stroke-width:1.5}svg a:hover .ref{stroke:var(--ink)}
@media print{@page{size:A4 landscape;margin:12mm}body{font-size:9pt;max-width:none;padding:0}nav{display:none}
details::details-content{content-visibility:visible;display:block;height:auto}svg,tr{break-inside:avoid}
.wide,.charts{overflow:visible}.charts{grid-template-columns:repeat(3,1fr)}table{font-size:6.5pt;width:100%}
figcaption{font-size:7.5pt}h2,h3,figcaption,summary{break-after:avoid}
th,td{white-space:normal;padding:.15rem .3rem}td.text{min-width:0}a{color:inherit;text-decoration:none}}
"""


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """One HTML page that needs nothing else."""
    colours = "".join(f".dot.c{n}{{fill:var(--c{n})}}.line.c{n},.bar.c{n}{{stroke:var(--c{n})}}" for n in range(8))
    # Every mark of a chart is a stop of the Tab key, so there must be a way past them.
    sections = "".join(
        f'<li><a href="#{_slug(block.text)}">{html.escape(block.text)}</a></li>'
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{colours}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{html.escape(title)}</h1>\n<nav aria-label="Sections"><ul>{sections}</ul></nav>\n'
        f"{''.join(map(_html, blocks))}</main>\n</body>\n</html>\n"
    )


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The same as Markdown, charts left out."""
    return f"# {title}\n\n" + "".join(map(_markdown, blocks)).rstrip() + "\n"


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        name = f' id="{_slug(block.text)}"' if block.level == 2 else ""
        return f"<h{block.level}{name}>{html.escape(block.text)}</h{block.level}>\n"
    if isinstance(block, Paragraph):
        return f"<p>{html.escape(block.text)}</p>\n"
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in block.texts)}</ul>\n"
    if isinstance(block, Figures):
        charts = "".join(block.charts)
        caption = html.escape(block.caption)
        return f'<figure><div class="charts">{charts}</div><figcaption>{caption}</figcaption></figure>\n'
    if isinstance(block, Folded):
        inside = "".join(map(_html, block.blocks))
        return f"<details><summary>{html.escape(block.title)}</summary>\n{inside}</details>\n"
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in block.header)
    starts = [f'<tr id="{html.escape(name, quote=True)}">' for name in block.ids] or ["<tr>"] * len(block.rows)
    rows = "".join(f"{start}{''.join(map(_td, row))}</tr>\n" for start, row in zip(starts, block.rows, strict=True))
    return (
        f'<figure><figcaption>{html.escape(block.told())}</figcaption><div class="wide" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div></figure>\n"
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _td(entry: Entry) -> str:
    shown = " ".join(_anchor(cell) for cell in _cells(entry))
    return (
        f'<td class="text">{shown}</td>' if len(" ".join(c.text for c in _cells(entry))) > 40 else f"<td>{shown}</td>"
    )


def _anchor(cell: Cell) -> str:
    shown = html.escape(cell.text)
    return f'<a href="{html.escape(cell.link, quote=True)}">{shown}</a>' if cell.link else shown


def _cells(entry: Entry) -> tuple[Cell, ...]:
    if isinstance(entry, Links):
        return entry.cells
    return (entry if isinstance(entry, Cell) else Cell(entry),)


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}\n\n"
    if isinstance(block, Paragraph):
        return f"{block.text}\n\n"
    if isinstance(block, Points):
        return "".join(f"- {text}\n" for text in block.texts) + "\n"
    if isinstance(block, Figures):
        return ""
    if isinstance(block, Folded):
        return f"**{block.title}**\n\n" + "".join(map(_markdown, block.blocks))
    lines = [block.header, tuple("---" for _ in block.header), *block.rows]
    table = "".join(f"| {' | '.join(map(_md_cell, row))} |\n" for row in lines)
    return f"{table}\n{block.told()}\n\n"


def _md_cell(entry: Entry) -> str:
    texts = []
    for cell in _cells(entry):
        shown = cell.text.replace("|", "\\|").replace("\n", " ")
        texts.append(f"[{shown}]({cell.link})" if cell.link else shown)
    return " ".join(texts)
