"""Charts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from dual_data.evaluation.report.chart import Axis, Line, Series, Spot, as_file
from dual_data.evaluation.report.chart import chart as drawn
from dual_data.text.markup import LIGHT


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], lines: Sequence[Line] = ()) -> str:
    return drawn(title, x, y, series, lines).svg


_DOT = r'class="dot (c\d)" d="([^"]+)"'


def _numbers(svg: str, kind: str) -> list[tuple[float, float]]:
    """Positions of the circles of the first series."""
    return [(float(x) + 3.5, float(y)) for x, y in re.findall(rf'class="{kind} c0" d="M([-\d.]+) ([-\d.]+)a', svg)]


@pytest.mark.parametrize(("value", "place"), [(1.0, 37), (0.5, 138)])
def test_the_name_of_a_line_is_clear_of_the_title(value: float, place: int) -> None:
    svg = chart("t", Axis("x", 0, 1), Axis("y", 0, 1), [Series("one", (Spot(0, 0),))], [Line("y", value, "before")])
    assert re.findall(r'<text class="small" x="\d+" y="([\d.]+)" text-anchor="end">before<', svg) == [f"{place:g}.0"]


def test_values_go_where_the_axes_say() -> None:
    spots = (Spot(0.0, 0.0), Spot(0.5, 1.0, (0.4, 0.6), (0.9, 1.0), "middle"), Spot(1.0, 0.5))
    svg = chart("A & B", Axis("x", 0, 1), Axis("y", 0, 1), [Series("one", spots)], [Line("x", 0.25, "rule")])
    ElementTree.fromstring(svg)
    first, second, third = _numbers(svg, "dot")[:3]
    assert first == pytest.approx((52, 256))
    assert second == pytest.approx((250, 26))
    assert third == pytest.approx((448, 141))
    assert "A &amp; B" in svg
    assert "<title>one middle</title>" in svg
    assert ">rule<" in svg
    assert "<a " not in svg  # no mark has a link
    assert 'role="img"' in svg


def test_no_name_steers_the_page_or_makes_the_file_unreadable() -> None:
    name = 'esc\x1b[2J bell\x07 \u202eabc \ud800 <b> & "x"'
    spot, line = Spot(0.5, 0.5, note=name, link=name), Line("y", 0.2, name, name, name)
    made = drawn(name, Axis(name, names=(name,)), Axis(name), [Series(name, (spot,))], [line])
    ElementTree.fromstring(as_file(made))
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", made.svg)


def test_marks_with_a_link_are_links_with_a_name_and_all_that_is_drawn_of_them() -> None:
    spots = (Spot(0.5, 0.5, (0.4, 0.6), (0.4, 0.6), "0.5 & more", "row-1"), Spot(1.0, 0.5))
    line = Line("y", 0.2, "before", "0.2", "row-2")
    svg = chart("t", Axis("x", 0, 1), Axis("y", 0, 1), [Series("one", spots)], [line, Line("x", 0.1, "plain")])
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "group"  # role="img" would hide its links from screen readers
    links = {link.get("href"): link for link in root.iter("a")}
    assert set(links) == {"#row-1", "#row-2"}
    assert [element.get("class", element.text) for element in links["#row-1"]] == [
        "one 0.5 & more",
        "bar c0",
        "bar c0",
        "dot c0",
    ]
    assert [element.get("class", element.text) for element in links["#row-2"]] == ["before 0.2", "ref", "small"]


def test_a_hollow_point_has_a_hole_where_it_is() -> None:
    spots = (Spot(0.0, 0.0), Spot(0.5, 1.0, link="row", hollow=True))
    root = ElementTree.fromstring(chart("t", Axis("x", 0, 1), Axis("y", 0, 1), [Series("one", spots)]))
    (hole,) = root.iter("circle")
    assert (hole.get("class"), hole.get("cx"), hole.get("cy")) == ("hole", "250.0", "26.0")
    assert hole in list(next(root.iter("a")))


def test_a_line_lies_within_the_axis_that_it_is_at() -> None:
    svg = chart("t", Axis("x"), Axis("y"), [Series("one", (Spot(0, -1), Spot(1, -0.5)))], [Line("y", 0.0, "no change")])
    match = re.search(r'class="ref" d="M52 ([\d.]+)H', svg)
    assert match is not None
    assert float(match[1]) > 26  # below the top of the frame


@pytest.mark.parametrize(("top", "longest", "left"), [(1.0, "0.5", 52), (0.002, "0.0005", 66)])
def test_long_numbers_of_the_axis_do_not_reach_its_label(top: float, longest: str, left: float) -> None:
    svg = chart("t", Axis("x", 0, 1), Axis("y"), [Series("one", (Spot(0, 0), Spot(1, top)))], [Line("y", top, "l")])
    ends = {text: float(x) for x, text in re.findall(r'x="([\d.]+)" y="[\d.]+" text-anchor="end">([^<]+)<', svg)}
    assert ends[longest] == left - 6
    assert ends[longest] - 7 * len(longest) > 16  # the label is written upwards, from a baseline at 12
    # What is drawn moves along.
    assert _numbers(svg, "dot")[0][0] == pytest.approx(left)
    for kind in ("axis", "ref"):
        assert re.findall(rf'class="{kind}" d="M([\d.]+) ', svg) == [str(left)]


def test_logarithmic_axes_and_what_they_cannot_show() -> None:
    spots = (Spot(1e-6, 1.0), Spot(1e-5, 0.5), Spot(1e-4, math.nan), Spot(0.0, 0.3), Spot(1e-4, 0.0))
    lines = [Line(axis, value, f"line {value}") for axis in "xy" for value in (math.nan, 0.0)]
    svg = chart("t", Axis("x", log=True), Axis("y", 0, 1), [Series("one", spots)], lines)
    ElementTree.fromstring(svg)
    assert re.findall('class="ref" d="([^"]+)"', svg) == ["M52 256.0H448"]  # y = 0; a rate of 0 has no place
    dots = _numbers(svg, "dot")[:3]
    assert dots[1][0] - dots[0][0] == pytest.approx(dots[2][0] - dots[1][0], abs=0.2)  # a decade each
    assert "nan" not in svg
    assert ">1e-5<" in svg


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (6e-5, 9e-5, ["6e-5", "7e-5", "8e-5", "9e-5"]),
        (3e-4, 1e-3, ["3e-4", "5e-4", "1e-3"]),
        (1e-4, 1e-3, ["1e-4", "2e-4", "3e-4", "5e-4", "1e-3"]),
        (3e-5, 1e-3, ["3e-5", "1e-4", "3e-4", "1e-3"]),
        (1.0, 1e7, ["1", "10", "100", "1000", "1e4", "1e5", "1e6", "1e7"]),
        (1.2e-4, 1.4e-4, ["1.2e-4", "1.4e-4"]),  # one digit after another, between which nothing is round
        (12.3456, 14.0, ["12.3", "14"]),
    ],
)
def test_a_logarithmic_axis_names_more_than_its_powers_where_they_are_few(
    low: float, high: float, ticks: list[str]
) -> None:
    svg = chart("t", Axis("", log=True), Axis("", 0, 1), [Series("", (Spot(low, 1.0), Spot(high, 0.5)))])
    assert re.findall(r'y="270" text-anchor="middle">([^<]+)<', svg) == ticks


def test_of_many_points_without_a_round_number_the_ends_are_named() -> None:
    spots = tuple(Spot(1.1 + 0.01 * number, 0.5) for number in range(9))
    svg = chart("t", Axis("", log=True), Axis("", 0, 1), [Series("", spots)])
    assert re.findall(r'y="270" text-anchor="middle">([^<]+)<', svg) == ["1.1", "1.18"]


def test_series_stand_beside_each_other_at_one_rate() -> None:
    series = [Series(name, (Spot(1e-4, 0.5, None, (0.4, 0.6)), Spot(1e-3, 0.5))) for name in "abc"]
    positions = []
    for aside in (False, True):
        svg = chart("t", Axis("x", log=True, aside=aside), Axis("y", 0, 1), series)
        positions.append([float(x) for x in re.findall(r'class="bar c\d" d="M([\d.]+) ', svg)])
    apart, together = positions[1], positions[0]
    assert len(set(together)) == 1
    assert [x - together[0] for x in apart] == pytest.approx([-3, 0, 3])


def test_a_series_looks_alike_in_every_chart_whatever_stands_before_it() -> None:
    first, second = Series("one", (Spot(0, 1),), look=0), Series("other", (Spot(1, 0),), look=5)
    charts = [
        ElementTree.fromstring(chart("t", Axis("x", 0, 1), Axis("y", 0, 1), series))
        for series in ([first, second], [second])
    ]
    marks = [[mark for mark in root.iter("path") if mark.get("class") == "dot c5"] for root in charts]
    assert [len(dots) for dots in marks] == [2, 2]  # the point and the legend
    assert marks[0][0].get("d") == marks[1][0].get("d")


def test_a_series_whose_colour_starts_over_has_another_mark() -> None:
    svg = chart("t", Axis("x", 0, 1), Axis("y", 0, 1), [Series(str(k), (Spot(0.5, 0.5),)) for k in range(13)])
    marks = [(match[0], re.sub(r"[\d.]+ [\d.]+", "", match[1], count=1)) for match in re.findall(_DOT, svg)[:13]]
    assert len(set(marks)) == 13


def test_names_of_two_lines_do_not_stand_on_each_other() -> None:
    lines = (Line("y", 0.5, "one"), Line("y", 0.5, "other"))
    svg = chart("t", Axis("x"), Axis("y", 0, 1), [Series("s", (Spot(0, 1), Spot(1, 0)))], lines)
    labels = re.findall(r'class="small" x="(\d+)" y="[^"]+" text-anchor="(\w+)"', svg)
    assert [anchor for _, anchor in labels] == ["end", "start"]
    assert int(labels[0][0]) - int(labels[1][0]) > 200


def test_a_long_title_is_in_lines_above_the_frame() -> None:
    short, long = (chart(title, Axis("x"), Axis("y"), []) for title in ("t", "word " * 30))
    assert short.startswith('<svg viewBox="0 0 460 300"')
    assert long.startswith('<svg viewBox="0 -28 460 328"')
    lines = re.findall(r'y="(-?\d+)" class="title">([^<]*)<', long)
    assert [int(y) for y, _ in lines] == [-13, 1, 15]
    assert " ".join(line for _, line in lines) == ("word " * 30).strip()
    assert max(len(line) for _, line in lines) <= 60


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, 0.5), (math.nan,)])
def test_few_points(values: tuple[float, ...]) -> None:
    series = [Series("one", tuple(Spot(value, value) for value in values))]
    ElementTree.fromstring(chart("t", Axis("x"), Axis("y"), series))


def test_categories_and_many_series() -> None:
    series = [Series(f"s{i}", (Spot(0, i / 20), Spot(1, 1 - i / 20))) for i in range(20)]
    svg = chart("t", Axis("method", names=("NPO", "GA")), Axis("y", 0, 1), series)
    ElementTree.fromstring(svg)
    assert ">NPO<" in svg
    assert {int(n) for n in re.findall(r'class="line c(\d)"', svg)} == set(range(8))
    assert 'stroke-dasharray="6 3"' in svg


def test_a_file_has_everything_but_links_and_its_own_colours() -> None:
    spots = (Spot(0.5, 0.5, (0.4, 0.6), note="0.5 & more", link="row-1"),)
    figure = drawn("A <title> " * 9, Axis("x", 0, 1), Axis("y", 0, 1), [Series("one", spots)])
    root = ElementTree.fromstring(as_file(figure))
    box = [float(number) for number in root.attrib["viewBox"].split()]
    assert (float(root.attrib["width"]), float(root.attrib["height"])) == (box[2], box[3])
    space = "{http://www.w3.org/2000/svg}"
    style, paper = root.find(f"{space}style"), root.find(f"{space}rect")
    assert style is not None
    assert style.text is not None
    assert paper is not None
    assert ".dot.c0{fill:#c2410c}" in style.text
    assert "var(" not in style.text
    assert (float(paper.attrib["y"]), paper.attrib["fill"]) == (box[1], LIGHT["paper"])
    in_page, in_file = (
        [(element.tag.removeprefix(space), element.text) for element in page.iter()]
        for page in (ElementTree.fromstring(figure.svg), root)
    )
    assert [entry for entry in in_file if entry[0] not in ("style", "rect")] == [
        ("g" if tag == "a" else tag, text) for tag, text in in_page
    ]
