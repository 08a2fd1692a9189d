"""Reads the HTML of a report: tables, points, marks of charts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple

from dual_data.evaluation.report.document import EXACT

_BOUND = r"(?:[-+]?\d[\d.]*(?:e[-+]?\d+)?|never)"
INTERVAL = re.compile(rf"{_BOUND} \[{_BOUND}, {_BOUND}\]")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?!\w)")
TEXTS = ("question", "what", "preset", "setting")
"""First columns of tables without scores: of items, whose cells are questions and answers, and of how it was run."""
_VOID = ("meta", "br", "wbr")


class Row(NamedTuple):
    """One row of a table."""

    id: str
    texts: tuple[str, ...]
    """The texts of its cells, without links."""
    links: tuple[str, ...]


class ShownTable(NamedTuple):
    """A table of the page."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]

    def exact(self) -> set[str]:
        """Columns that hold no estimates, according to the caption."""
        _, marker, names = self.caption.partition(EXACT)
        return set(names.removesuffix(".").split(", ")) if marker else set()


class Mark(NamedTuple):
    """A point or a line of a chart."""

    kind: str
    """dot or ref."""
    link: str
    """Its target; empty where the mark is no link."""
    title: str


class Page(HTMLParser):
    """The page, read from its source."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str]]] = []
        self.tables: list[ShownTable] = []
        self.points: list[str] = []
        self.marks: list[Mark] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.counts: dict[str, int] = {}
        self.text = ""
        self._caption = ""
        self._header: list[str] = []
        self._rows: list[Row] = []
        self._cells: list[str] = []
        self._row_links: list[str] = []
        self._title = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag not in _VOID:
            self.open.append((tag, attributes))
        if tag == "figure":
            self._caption = ""
        elif tag == "table":
            self._header, self._rows = [], []
        elif tag == "tr":
            self._cells, self._row_links = [], []
        elif tag in ("td", "th"):
            self._cells.append("")
        elif tag == "li" and not self._inside("nav"):
            self.points.append("")
        elif tag == "a" and self._inside("td"):
            self._row_links.append(attributes["href"])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        kind, *_ = (dict(attrs).get("class") or "").split() or [""]
        if kind in ("dot", "ref") and not any("legend" in attributes.get("class", "") for _, attributes in self.open):
            link = next((attributes["href"] for name, attributes in self.open if name == "a"), "")
            self.marks.append(Mark(kind, link, self._title))

    def handle_endtag(self, tag: str) -> None:
        opened, attributes = self.open.pop()
        assert opened == tag
        if tag == "tr" and self._inside("thead"):
            self._header = self._cells
        elif tag == "tr":
            assert len(self._cells) == len(self._header)
            self._rows.append(Row(attributes.get("id", ""), tuple(self._cells), tuple(self._row_links)))
        elif tag == "figure" and self._header:
            self.tables.append(ShownTable(self._caption, tuple(self._header), tuple(self._rows)))
            self._header = []
        elif tag in ("a", "g"):
            self._title = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside("title"):
            self._title = data
        elif self._inside("figcaption"):
            self._caption += data
        elif self._inside("td", "th") and not self._inside("a"):
            self._cells[-1] += data
        elif self._inside("li") and not self._inside("nav"):
            self.points[-1] += data

    def _inside(self, *tags: str) -> bool:
        return any(name in tags for name, _ in self.open)


def bare_numbers(text: str) -> list[str]:
    """Numbers of a text that have no interval."""
    return _NUMBER.findall(INTERVAL.sub("", text))


def without_interval(table: ShownTable) -> list[tuple[str, str]]:
    """Column and text of every cell with a number that has no interval, except in exact columns of the caption."""
    if table.header[0] in TEXTS:
        return []
    exact = table.exact()
    assert exact <= set(table.header), "a caption names a column that is not there"
    return [
        (name, text)
        for row in table.rows
        for name, text in zip(table.header, row.texts, strict=True)
        if name not in exact and bare_numbers(text)
    ]
