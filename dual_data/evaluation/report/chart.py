"""Charts as hand-written SVG: no plotting library, and colours that follow the page in light, dark and print.

Series differ by colour, marker and dash, so that a chart reads in grey. Numbers are rounded to tenths of a pixel.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 44
_TITLE, _LINE = 60, 14
"""Characters that a line of a title has room for, and its height."""
COLOURS = 8
"""Colours that the page defines as .c0 to .c7; further series start over with other dashes."""
_TICKS = 6
"""On a logarithmic axis at most these, if its powers of ten are no more."""
_DASHES = ("", "6 3", "2 3")
_ASIDE = 3
"""Pixels between series that stand beside each other."""
_MARKERS = ("circle", "square", "diamond", "triangle")


class Spot(NamedTuple):
    """A point, with intervals where they are known and a text that shows on hovering."""

    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    note: str = ""
    link: str = ""
    """Id of the element of the page with the items behind it; none in a chart that stands alone."""
    hollow: bool = False
    """Whether its mark has a hole: its interval leaves something out."""


class Series(NamedTuple):
    """Points of one name, joined by a line where `joined`."""

    name: str
    spots: tuple[Spot, ...]
    joined: bool = True
    look: int | None = None
    """Which colour, marker and dash; by default its place in the chart."""


class Line(NamedTuple):
    """A reference line at one value of an axis."""

    axis: str
    """x or y."""
    value: float
    name: str
    note: str = ""
    link: str = ""
    """As those of a point."""


class Axis(NamedTuple):
    """An axis; without limits it spans the points."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    names: tuple[str, ...] = ()
    """Labels of 0, 1, 2, ...: the axis is one of categories."""
    aside: bool = False
    """Of x: series stand a little beside each other, so that bars at one value do not cover each other."""


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], lines: Sequence[Line] = ()) -> str:
    """One SVG. Points that are not finite, or not positive on a logarithmic axis, are left out."""
    kept = [one._replace(spots=tuple(spot for spot in one.spots if _shown(spot, x, y))) for one in series]
    spots = [spot for one in kept for spot in one.spots]
    at = {axis: [line.value for line in lines if line.axis == axis] for axis in "xy"}
    across = _Scale(x, [*at["x"], *(v for s in spots for v in (s.x, *(s.x_range or ())))], _LEFT, _WIDTH - _RIGHT)
    up = _Scale(y, [*at["y"], *(v for s in spots for v in (s.y, *(s.y_range or ())))], _HEIGHT - _BOTTOM, _TOP)
    body = [*_frame(x, y, across, up)]
    for number, line in enumerate(lines):
        body.append(_reference(line, across, up, left=number % 2 == 1))
    drawn = [(one, place if one.look is None else one.look) for place, one in enumerate(kept)]
    for place, (one, look) in enumerate(drawn):
        body += _series(one, look, across, up, _ASIDE * (place - (len(drawn) - 1) / 2) * x.aside)
    legend = _legend([(one.name, look) for one, look in drawn if one.spots])
    height = _HEIGHT + 16 * math.ceil(len(legend) / 2)
    # Whoever is read a picture as one thing is not led to the links in it.
    role = "group" if any(spot.link for spot in spots) else "img"
    words = textwrap.wrap(title, _TITLE) or [""]
    above = _LINE * (len(words) - 1)  # further lines of the title stand above the first's place
    heading = "".join(
        f'<text x="{_LEFT}" y="{15 - above + _LINE * number}" class="title">{html.escape(line)}</text>'
        for number, line in enumerate(words)
    )
    return (
        f'<svg viewBox="0 {-above} {_WIDTH} {height + above}" role="{role}" '
        f'aria-label="{html.escape(title, quote=True)}">{heading}{"".join(body)}{"".join(legend)}</svg>'
    )


class _Scale:
    """From values to pixels."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        self.log = axis.log
        known = [self._place(value) for value in values if math.isfinite(value) and (value > 0 or not axis.log)]
        low = self._place(axis.low) if axis.low is not None else min(known, default=0.0)
        high = self._place(axis.high) if axis.high is not None else max(known, default=1.0)
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
            found: list[float] = []
            for multiples in ((1, 2, 3, 5), (1, 3), (1,)):
                values = [times * 10.0**power for power in powers for times in multiples]
                found = [v for v in values if self.low - 1e-9 <= math.log10(v) <= self.high + 1e-9]
                if len(found) <= _TICKS:
                    break
            return [(v, _short(v)) for v in found]
        rough = (self.high - self.low) / 5
        unit = 10 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(place * step, f"{place * step:.6g}") for place in range(first, last + 1)]


def _short(value: float) -> str:
    """A value of one digit: 0.5, 300, 3e-4."""
    return f"{value:g}" if 0.01 <= value < 1e4 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _shown(spot: Spot, x: Axis, y: Axis) -> bool:
    return all(math.isfinite(value) and (value > 0 or not axis.log) for value, axis in ((spot.x, x), (spot.y, y)))


def _frame(x: Axis, y: Axis, across: _Scale, up: _Scale) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    ticks = [(float(i), name) for i, name in enumerate(x.names)] if x.names else across.ticks()
    for value, text in ticks:
        place = across(value)
        parts.append(f'<path class="grid" d="M{place} {_TOP}V{bottom}"/>')
        parts.append(f'<text x="{place}" y="{bottom + 14}" text-anchor="middle">{html.escape(text)}</text>')
    for value, text in up.ticks():
        place = up(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {place}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 3.5}" text-anchor="end">{html.escape(text)}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 32}" text-anchor="middle">{html.escape(x.label)}</text>')
    side = (_TOP + bottom) / 2
    parts.append(
        f'<text transform="translate(12 {side}) rotate(-90)" text-anchor="middle">{html.escape(y.label)}</text>'
    )
    return parts


def _reference(line: Line, across: _Scale, up: _Scale, *, left: bool) -> str:
    name = html.escape(line.name)
    note = f"{line.name} {line.note}".strip()
    if line.axis == "x":
        place = across(line.value)
        return _mark(
            f'<path class="ref" d="M{place} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
            f'<text class="small" transform="translate({place + 3} {_TOP + 4}) rotate(90)">{name}</text>',
            note,
            line.link,
        )
    place = up(line.value)
    return _mark(
        f'<path class="ref" d="M{_LEFT} {place}H{_WIDTH - _RIGHT}"/>'
        f'<text class="small" x="{_LEFT + 4 if left else _WIDTH - _RIGHT}" y="{place - 3}" '
        f'text-anchor="{"start" if left else "end"}">{name}</text>',
        note,
        line.link,
    )


def _mark(drawn: str, note: str, link: str) -> str:
    """What is drawn with its note, as a link where there is one."""
    title = f"<title>{html.escape(note)}</title>"
    return f'<a href="#{html.escape(link, quote=True)}">{title}{drawn}</a>' if link else f"<g>{title}{drawn}</g>"


def _series(series: Series, number: int, across: _Scale, up: _Scale, aside: float) -> list[str]:
    colour = f"c{number % COLOURS}"
    parts = []
    places = [(round(across(spot.x) + aside, 1), up(spot.y)) for spot in series.spots]
    if series.joined and len(places) > 1:
        path = "M" + "L".join(f"{px} {py}" for px, py in places)
        dash = _DASHES[number // COLOURS % len(_DASHES)]
        parts.append(f'<path class="line {colour}" stroke-dasharray="{dash}" d="{path}"/>')
    for spot, (px, py) in zip(series.spots, places, strict=True):
        drawn = ""
        if spot.y_range is not None:
            drawn += f'<path class="bar {colour}" d="M{px} {up(spot.y_range[0])}V{up(spot.y_range[1])}"/>'
        if spot.x_range is not None:
            left, right = across(spot.x_range[0]), across(spot.x_range[1])
            drawn += f'<path class="bar {colour}" d="M{left} {py}H{right}"/>'
        drawn += f'<path class="dot {colour}" d="{_marker(number, px, py)}"/>'
        if spot.hollow:
            drawn += f'<circle class="hole" cx="{px}" cy="{py}" r="1.7"/>'
        parts.append(_mark(drawn, f"{series.name} {spot.note}".strip(), spot.link))
    return parts


def _marker(number: int, x: float, y: float) -> str:
    kind = _MARKERS[(number + number // COLOURS) % len(_MARKERS)]  # another where colours start over
    if kind == "circle":
        return f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0Z"
    if kind == "square":
        return f"M{x - 3:.1f} {y - 3:.1f}h6v6h-6Z"
    if kind == "diamond":
        return f"M{x:.1f} {y - 4.2:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2Z"
    return f"M{x:.1f} {y - 4:.1f}l4 7h-8Z"


def _legend(shown: Sequence[tuple[str, int]]) -> list[str]:
    """Of names and their looks."""
    parts = []
    for place, (name, number) in enumerate(shown):
        x, y = _LEFT + 205 * (place % 2), _HEIGHT + 6 + 16 * (place // 2)
        parts.append(
            f'<g class="legend"><path class="dot c{number % COLOURS}" d="{_marker(number, x, y)}"/>'
            f'<text x="{x + 10}" y="{y + 3.5}">{html.escape(name)}</text></g>'
        )
    return parts
