"""Figures drawn by matplotlib: put into the page as SVG with the page's colours, and written to files for papers."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.system.extras import expect_installed
from dual_data.system.files import write_whole
from dual_data.text.display import visible
from dual_data.text.markup import LIGHT, Html, element

INK, SOFT, RULE, PAPER = (LIGHT[name] for name in ("ink", "soft", "rule", "paper"))
SERIES = tuple(LIGHT[f"c{number}"] for number in range(8))
RARE, POPULAR = SERIES[0], SERIES[1]
VARIABLES: Mapping[str, str] = {
    INK: "--ink", SOFT: "--soft", RULE: "--rule", PAPER: "--paper",
    **{colour: f"--c{number}" for number, colour in enumerate(SERIES)},
}  # fmt: skip
"""CSS variable of each drawn colour; the page sets its value for light, dark and print."""
_FORMATS = ("svg", "png")
_DPI = 200
_BASE: dict[str, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 10,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.grid": True, "grid.color": RULE, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "figure.facecolor": PAPER, "axes.facecolor": "none", "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
}  # fmt: skip


class Figure(NamedTuple):
    """A figure that can be drawn repeatedly."""

    name: str
    """Stem of its files, and part of its id in the page."""
    caption: str
    description: str
    """Text for readers who cannot see the figure."""
    size: tuple[float, float]
    """Inches."""
    draw: Callable[[Any], None]
    """Draws on a matplotlib figure."""


def in_page(figure: Figure) -> Html:
    """The figure with its caption; colours are CSS variables of the page, text is kept as text."""
    svg = _render(figure, "svg", {"svg.fonttype": "none", "figure.facecolor": "none"}).decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{figure.name}-", svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None
    described = html.escape(visible(figure.description), quote=True)
    opening = f'<svg {size.group()} style="max-width:{figure.size[0]:g}in" role="img" aria-label="{described}">'
    body = Html(opening + svg[svg.index(">") + 1 :])
    # On a narrow screen it scrolls, as tables do: shrunk to fit, its text would be illegible.
    scrolled = element("div", body, class_="wide", role="region", aria_label=f"Figure: {figure.name}", tabindex=0)
    return element("figure", scrolled, element("figcaption", figure.caption), id=f"figure-{figure.name}")


def whole_ticks(axis: Any) -> None:
    """Let the linear axis of counts have ticks at whole numbers only; of 2 to 3, matplotlib would mark 2.25 too."""
    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def shortened(text: str, most: int) -> str:
    """`text` for a label of a figure; if it has more than `most` characters, its middle is cut out.

    >>> shortened("meta-llama/Llama-3.1-8B-Instruct", 13)
    'meta-l…struct'
    """
    text = visible(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def write_figures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """Write every figure as SVG (with text as paths, to look the same everywhere) and PNG (200 dots per inch)."""
    paths = []
    for figure in figures:
        for kind in _FORMATS:
            image = _render(figure, kind, {"svg.fonttype": "path"})
            paths.append(folder / f"{figure.name}.{kind}")
            write_whole(paths[-1], partial(Path.write_bytes, data=image))
    return paths


def _render(figure: Figure, kind: str, settings: dict[str, Any]) -> bytes:
    """Bytes of one file; deterministic for the same data. Raises MissingExtra without matplotlib."""
    expect_installed("report", "matplotlib")
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    parameters: Any = _BASE | settings | {"svg.hashsalt": figure.name}
    with matplotlib.rc_context(parameters), warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes in files; the page uses the reader's fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas = Canvas(figsize=figure.size, layout="constrained")
        figure.draw(canvas)
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        canvas.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()
