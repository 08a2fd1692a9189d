"""Charts as hand-written SVG: no plotting library, and colours that follow the page in light, dark and print.

A chart is part of a page, whose style and links it uses, or a file of its own (`as_file`).
Series differ by colour, marker and dash, so that a chart reads in grey. Numbers are rounded to tenths of a pixel.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dual_data.text.markup import LIGHT, escaped

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 44
"""Margins in pixels; the left one is wider where the numbers of the axis are long."""
_BESIDE, _DIGIT = 24, 7
"""Pixels left of an axis for its label and the gaps, and the width of a wide digit."""
_TITLE, _LINE = 60, 14
"""Characters per line of a title, and the height of a line."""
_COLOURS = 8
"""Colours .c0 to .c7 of the style; further series reuse them with other dashes and markers."""
STYLE = """
svg text{fill:var(--ink);font:11px system-ui,sans-serif}svg text.title{font-weight:600}
svg text.small{fill:var(--soft);font-size:9.5px}.grid{stroke:var(--rule);stroke-width:.5;fill:none}
.axis{stroke:var(--soft);fill:none}.ref{stroke:var(--soft);stroke-dasharray:4 3;fill:none}
.hole{fill:var(--paper)}.line{fill:none;stroke-width:1.6}.bar{stroke-width:1;fill:none;opacity:.7}
""" + "".join(f".dot.c{n}{{fill:var(--c{n})}}.line.c{n},.bar.c{n}{{stroke:var(--c{n})}}" for n in range(_COLOURS))
"""The rules that charts need, in the colours of the page."""
_TICKS = 6
"""Most ticks of a logarithmic axis, unless there are more powers of ten."""
_DASHES = ("", "6 3", "2 3")
_SERIES_GAP = 3
"""Pixels between series that are drawn side by side."""
_MARKERS = ("circle", "square", "diamond", "triangle")


class Chart(NamedTuple):
    """A drawn chart."""

    title: str
    svg: str
    measure: str
    """The label of its y axis."""


class Spot(NamedTuple):
    """A point, with its intervals and a text that shows on hovering."""

    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    note: str = ""
    link: str = ""
    """Id of the table row on the page that it links to; empty for no link."""
    hollow: bool = False
    """Whether its mark is hollow, as a sign that its interval leaves something out."""


class Series(NamedTuple):
    """Points of one name, joined by a line where `joined`."""

    name: str
    spots: tuple[Spot, ...]
    joined: bool = True
    look: int | None = None
    """Number of its colour, marker and dash; by default its index in the chart."""


class Line(NamedTuple):
    """A reference line at one value of an axis."""

    axis: str
    """x or y."""
    value: float
    name: str
    note: str = ""
    link: str = ""
    """Note and link as those of a point."""


class Axis(NamedTuple):
    """An axis; without limits it spans the points."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    names: tuple[str, ...] = ()
    """Labels of 0, 1, 2, ... on an axis of categories."""
    aside: bool = False
    """For x: draw series side by side, so that bars at one value do not cover each other."""


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], lines: Sequence[Line] = ()) -> Chart:
    """A chart. Points and lines that are not finite, or not positive on a logarithmic axis, are left out."""
    series = [
        item._replace(spots=tuple(spot for spot in item.spots if _fits(spot.x, x) and _fits(spot.y, y)))
        for item in series
    ]
    lines = [line for line in lines if _fits(line.value, x if line.axis == "x" else y)]
    spots = [spot for item in series for spot in item.spots]
    x_values = [line.value for line in lines if line.axis == "x"]
    x_values += [value for spot in spots for value in (spot.x, *(spot.x_range or ()))]
    y_values = [line.value for line in lines if line.axis == "y"]
    y_values += [value for spot in spots for value in (spot.y, *(spot.y_range or ()))]
    up = _Scale(y, y_values, _HEIGHT - _BOTTOM, _TOP)
    longest = max((len(text) for _, text in up.ticks()), default=0)
    across = _Scale(x, x_values, max(_LEFT, _BESIDE + _DIGIT * longest), _WIDTH - _RIGHT)
    body = list(_frame(x, y, across, up))
    for number, line in enumerate(lines):
        body.append(_reference(line, across, up, left=number % 2 == 1))
    styled = [(item, index if item.look is None else item.look) for index, item in enumerate(series)]
    for index, (item, look) in enumerate(styled):
        body += _series(item, look, across, up, _SERIES_GAP * (index - (len(styled) - 1) / 2) * x.aside)
    legend = _legend([(item.name, look) for item, look in styled if item.spots])
    height = _HEIGHT + 16 * math.ceil(len(legend) / 2)
    # Screen readers present role="img" as one picture, without the links in it.
    role = "group" if any(spot.link for spot in spots) else "img"
    title_lines = textwrap.wrap(title, _TITLE) or [""]
    above = _LINE * (len(title_lines) - 1)  # height that further lines of the title add above the chart
    heading = "".join(
        f'<text x="{_LEFT}" y="{15 - above + _LINE * number}" class="title">{escaped(line)}</text>'
        for number, line in enumerate(title_lines)
    )
    svg = (
        f'<svg viewBox="0 {-above} {_WIDTH} {height + above}" role="{role}" '
        f'aria-label="{escaped(title)}">{heading}{"".join(body)}{"".join(legend)}</svg>'
    )
    return Chart(title, svg, y.label)


def as_file(chart: Chart) -> str:
    """The chart as an SVG file, on light paper and without links, which lead to rows of the page."""
    style = re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: LIGHT[match[1]], STYLE)
    svg = re.sub(r"<a href=[^>]*>", "<g>", chart.svg).replace("</a>", "</g>")
    box = re.search(r'viewBox="0 (\S+) (\S+) (\S+)"', svg)
    assert box is not None
    top, width, height = box.groups()
    paper = f'<rect y="{top}" width="{width}" height="{height}" fill="{LIGHT["paper"]}"/>'
    opening, rest = svg.split(">", 1)
    opening = opening.replace("<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"')
    return f"{opening}><style>{style}</style>{paper}{rest}\n"


class _Scale:
    """Maps values to pixels."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        self.log, self.values = axis.log, sorted({value for value in values if _fits(value, axis)})
        placed = [self._place(value) for value in self.values]
        low = self._place(axis.low) if axis.low is not None else min(placed, default=0.0)
        high = self._place(axis.high) if axis.high is not None else max(placed, default=1.0)
        if axis.names:
            low, high = -0.5, len(axis.names) - 0.5
        elif high - low < 1e-12:
            low, high = low - 0.5, high + 0.5
        elif axis.low is None or axis.high is None:
            margin = 0.04 * (high - low)
            low, high = low - (axis.low is None) * margin, high + (axis.high is None) * margin
        self.low, self.high, self.start, self.end = low, high, start, end

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def __call__(self, value: float) -> float:
        share = (self._place(value) - self.low) / (self.high - self.low)
        return round(self.start + min(1.02, max(-0.02, share)) * (self.end - self.start), 1)

    def ticks(self) -> list[tuple[float, str]]:
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            values: list[float] = []
            for multiples in (range(1, 10), (1, 2, 3, 5), (1, 3), (1,)):
                candidates = [factor * 10.0**power for power in powers for factor in multiples]
                values = [v for v in candidates if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]
                if len(values) <= _TICKS:
                    break
            if len(values) < 2:  # no round number lies between the points
                values = self.values if len(self.values) <= _TICKS else [self.values[0], self.values[-1]]
            return [(v, _short(v)) for v in values]
        rough = (self.high - self.low) / 5
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(number * step, f"{number * step:.6g}") for number in range(first, last + 1)]


def _short(value: float) -> str:
    """A value with at most three significant digits as text: 0.5, 300, 1.25e-4."""
    digits, power = f"{value:.2e}".split("e")
    return f"{float(f'{value:.2e}'):g}" if 0.01 <= value < 1e4 else f"{float(digits):g}e{int(power)}"


def _fits(value: float, axis: Axis) -> bool:
    """Whether an axis has a place for the value."""
    return math.isfinite(value) and (value > 0 or not axis.log)


def _frame(x: Axis, y: Axis, across: _Scale, up: _Scale) -> Iterator[str]:
    bottom, left, right = _HEIGHT - _BOTTOM, across.start, _WIDTH - _RIGHT
    ticks = [(float(i), name) for i, name in enumerate(x.names)] if x.names else across.ticks()
    for value, text in ticks:
        position = across(value)
        yield f'<path class="grid" d="M{position} {_TOP}V{bottom}"/>'
        yield f'<text x="{position}" y="{bottom + 14}" text-anchor="middle">{escaped(text)}</text>'
    for value, text in up.ticks():
        position = up(value)
        yield f'<path class="grid" d="M{left} {position}H{right}"/>'
        yield f'<text x="{left - 6}" y="{position + 3.5}" text-anchor="end">{escaped(text)}</text>'
    yield f'<path class="axis" d="M{left} {_TOP}V{bottom}H{right}"/>'
    middle = (left + right) / 2
    yield f'<text x="{middle}" y="{bottom + 32}" text-anchor="middle">{escaped(x.label)}</text>'
    side = (_TOP + bottom) / 2
    yield f'<text transform="translate(12 {side}) rotate(-90)" text-anchor="middle">{escaped(y.label)}</text>'


def _reference(line: Line, across: _Scale, up: _Scale, *, left: bool) -> str:
    name = escaped(line.name)
    note = f"{line.name} {line.note}".strip()
    if line.axis == "x":
        position = across(line.value)
        shapes = (
            f'<path class="ref" d="M{position} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
            f'<text class="small" transform="translate({position + 3} {_TOP + 4}) rotate(90)">{name}</text>'
        )
    else:
        position = up(line.value)
        text = position - 3 if position > _TOP + 10 else position + 11  # at the top, the title is above the line
        shapes = (
            f'<path class="ref" d="M{across.start} {position}H{across.end}"/>'
            f'<text class="small" x="{across.start + 4 if left else across.end}" y="{text}" '
            f'text-anchor="{"start" if left else "end"}">{name}</text>'
        )
    return _with_note(shapes, note, line.link)


def _with_note(shapes: str, note: str, link: str) -> str:
    """SVG elements with their note, and as a link where there is one."""
    title = f"<title>{escaped(note)}</title>"
    return f'<a href="#{escaped(link)}">{title}{shapes}</a>' if link else f"<g>{title}{shapes}</g>"


def _series(series: Series, look: int, across: _Scale, up: _Scale, offset: float) -> Iterator[str]:
    colour = f"c{look % _COLOURS}"
    positions = [(round(across(spot.x) + offset, 1), up(spot.y)) for spot in series.spots]
    if series.joined and len(positions) > 1:
        path = "M" + "L".join(f"{px} {py}" for px, py in positions)
        dash = _DASHES[look // _COLOURS % len(_DASHES)]
        yield f'<path class="line {colour}" stroke-dasharray="{dash}" d="{path}"/>'
    for spot, (px, py) in zip(series.spots, positions, strict=True):
        shapes = ""
        if spot.y_range is not None:
            shapes += f'<path class="bar {colour}" d="M{px} {up(spot.y_range[0])}V{up(spot.y_range[1])}"/>'
        if spot.x_range is not None:
            left, right = across(spot.x_range[0]), across(spot.x_range[1])
            shapes += f'<path class="bar {colour}" d="M{left} {py}H{right}"/>'
        shapes += f'<path class="dot {colour}" d="{_marker(look, px, py)}"/>'
        if spot.hollow:
            shapes += f'<circle class="hole" cx="{px}" cy="{py}" r="1.7"/>'
        yield _with_note(shapes, f"{series.name} {spot.note}".strip(), spot.link)


def _marker(look: int, x: float, y: float) -> str:
    marker = _MARKERS[(look + look // _COLOURS) % len(_MARKERS)]  # a different one where colours repeat
    if marker == "circle":
        return f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0Z"
    if marker == "square":
        return f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6Z"
    if marker == "diamond":
        return f"M{x:.1f} {y - 4.2:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2Z"
    return f"M{x:.1f} {y - 4:.1f}l4 7h-8Z"


def _legend(entries: Sequence[tuple[str, int]]) -> list[str]:
    """The legend, from pairs of (name, look)."""
    elements = []
    for index, (name, look) in enumerate(entries):
        x, y = _LEFT + 205 * (index % 2), _HEIGHT + 6 + 16 * (index // 2)
        elements.append(
            f'<g class="legend"><path class="dot c{look % _COLOURS}" d="{_marker(look, x, y)}"/>'
            f'<text x="{x + 10}" y="{y + 3.5}">{escaped(name)}</text></g>'
        )
    return elements
