"""Figures in the page and as files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest

from dual_data.errors import MissingExtra
from dual_data.report.content import _flow
from dual_data.report.figures import POPULAR, RARE, VARIABLES, Figure, in_page, shortened, write_figures
from dual_data.report.popularity import Pair, _ridges


def draw(canvas: Any) -> None:
    axes = canvas.subplots()
    axes.plot([1, 2], [3, 4], color=RARE, label="$x^2$ & <b>")
    axes.fill_between([1, 2], [1, 1], color=POPULAR, hatch="//")
    axes.set_title("東京 $\\frac")
    axes.legend()


FIGURE = Figure("made", "A line & more.", 'Says "two" < three.', (4, 3), draw)


def test_the_page_colours_the_figure_and_reads_it_out() -> None:
    html = in_page(FIGURE)
    assert not [colour for colour in VARIABLES if colour in html]
    assert {"var(--c0)", "var(--c1)", "var(--ink)"} <= set(re.findall(r"var\(--\w+\)", html))
    assert 'role="img" aria-label="Says &quot;two&quot; &lt; three."' in html
    assert "<figcaption>A line &amp; more.</figcaption>" in html
    assert "$x^2$ &amp; &lt;b&gt;" in html
    assert "東京 $\\frac" in html
    assert "<style" not in html
    assert "<metadata" not in html


def test_two_figures_of_a_page_share_no_identifier_and_point_to_their_own() -> None:
    first, second = (in_page(FIGURE._replace(name=name)) for name in ("one", "two"))
    identifiers = [set(re.findall(r'\bid="([^"]*)"', html)) for html in (first, second)]
    assert identifiers[0].isdisjoint(identifiers[1])
    for html, own in zip((first, second), identifiers, strict=True):
        assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', html)) <= {
            pair for i in own for pair in ((i, ""), ("", i))
        }


def test_files_are_whole_and_the_same_every_time(tmp_path: Path) -> None:
    paths = write_figures([FIGURE], tmp_path / "a")
    assert [path.name for path in paths] == ["made.svg", "made.png"]
    assert ElementTree.fromstring(paths[0].read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    assert RARE in paths[0].read_text()
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    again = write_figures([FIGURE], tmp_path / "b")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    assert in_page(FIGURE) == in_page(FIGURE)


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install -e '.*\[report\]'"):
        in_page(FIGURE)


def test_a_long_name_keeps_both_ends_and_leaves_the_figure_its_room() -> None:
    assert shortened("city", 26) == "city"
    assert shortened("meta-llama/Llama-3.1-8B-Instruct, matched", 21) == "meta-llama…t, matched"
    assert shortened("a\u202eb", 9) == "a\ufffdb"


def _numbers(figure: Figure) -> list[str]:
    """The numbers at its axes."""
    return re.findall(r"<text[^>]*>([\d.,]+)</text>", in_page(figure))


@pytest.mark.parametrize(
    ("popularity", "ticks"),
    [([2.0, 3.0, 4.0], ["2", "3", "4"]), ([1.0, 1.5, 2.0], ["1.0", "1.2", "1.4", "1.6", "1.8", "2.0"])],
)
def test_an_axis_of_few_counts_has_whole_numbers_only(popularity: list[float], ticks: list[str]) -> None:
    rows = pl.DataFrame({"popularity": popularity})
    pair = Pair("matched", "city", 5, rows, rows)
    assert _numbers(_ridges("matched", [pair], "popularity", "inbound links")) == ticks
    assert _numbers(_flow([("facts", 2, 1)])) == ["0", "1", "2", "3"]
