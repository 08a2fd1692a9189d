"""Sections of the page, and what they hold besides figures.

Tables have captions, header cells and numbers aligned to the right, in a region that scrolls by keyboard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dual_data.report.figures import Figure
from dual_data.text.markup import Content, Html, breakable, element, escaped, joined, label

_NOTHING = "–"
"""Shown for a missing value; never 0."""
_TALL = 30
"""A table with more rows scrolls in a window of its own on a screen."""
_PROSE = 40
"""A column with a longer text keeps a minimum width, so that a narrow screen does not show one word on each line."""


class Section(NamedTuple):
    """A part of the page with its own heading."""

    identifier: str
    title: str
    parts: tuple[Html | Figure, ...]

    @classmethod
    def without(cls, identifier: str, title: str, why: str) -> Section:
        """A section that says why it is empty."""
        return cls(identifier, title, (paragraph(why),))


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    identifier: str | None = None,
    data: Sequence[Mapping[str, str]] = (),
) -> Html:
    """A table whose first column names its rows.

    A column is numeric if every cell with a value has a number. `data` gives each row's data- attributes.
    """
    columns = [[row[place] for row in rows] for place in range(len(header))]
    kinds = ["number" if _is_numeric(column) else _kind(column) for column in columns]
    head = [element("th", breakable(text), scope="col", class_=kind) for text, kind in zip(header, kinds, strict=True)]
    body = []
    for number, row in enumerate(rows):
        cells = [element("th", shown(row[0]), scope="row")]
        cells += [element("td", shown(value), class_=kind) for value, kind in zip(row[1:], kinds[1:], strict=True)]
        attributes = {f"data_{key}": value for key, value in data[number].items()} if data else {}
        body.append(element("tr", *cells, **attributes))
    html = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *(joined(row, Html("\n")) for row in body)),
        id=identifier,
    )
    scrolled = "wide tall" if len(rows) > _TALL else "wide"
    return element("div", html, class_=scrolled, role="region", aria_label=f"Table: {caption}", tabindex=0)


def _is_numeric(cells: Sequence[object]) -> bool:
    values = [cell for cell in cells if cell is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _kind(cells: Sequence[object]) -> str | None:
    return "prose" if any(isinstance(cell, str) and len(cell) > _PROSE for cell in cells) else None


def shown(value: object) -> Content:
    """The content of a cell: counts with separators, other numbers with three decimals, labels isolated by direction.

    >>> shown(1234), shown(0.25), shown(Percent(0.25)), shown(None)
    ('1,234', '0.250', '25.0\\xa0%', '–')
    """
    if value is None:
        return _NOTHING
    if isinstance(value, Html):
        return value
    return _number(value) if isinstance(value, int | float) else label(str(value))


def _number(value: float) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Percent():
            return f"{float(value):.1%}".replace("%", "\N{NO-BREAK SPACE}%")
        case BetweenCounts():
            return f"{float(value):,.2f}".rstrip("0").rstrip(".")
        case int():
            return f"{value:,}"
    return f"{value:z.3f}" if abs(value) < 100 else f"{value:,.0f}"


class BetweenCounts(float):
    """A count, or a median or quartile of counts: it is shown with the decimals that it has, at most two.

    >>> shown(BetweenCounts(7.5)), shown(BetweenCounts(1234.25)), shown(BetweenCounts(70))
    ('7.5', '1,234.25', '70')
    """


class Percent(float):
    """A share that is shown in percent."""


def share(part: int, whole: int) -> Percent | None:
    """A share, to be shown in percent; None of nothing."""
    return Percent(part / whole) if whole else None


def paragraph(*contents: Content) -> Html:
    """A paragraph."""
    return element("p", *contents)


def folded(title: str, *contents: Content) -> Html:
    """Contents that open on a click or a key; they are printed open."""
    return element("details", element("summary", title), *contents)


def code(value: Any, title: str) -> Html:
    """A value as indented JSON."""
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
    lines = (escaped(line) for line in text.split("\n"))
    return element("pre", Html("\n".join(lines)), tabindex=0, role="region", aria_label=title)
