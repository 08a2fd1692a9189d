"""The page in a real browser: accessible, its marks reached and followed by keyboard, in light, dark and print."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.evaluation.report.write import Written
from tests.services.browser import UNFOLD, Page, drawings

PAPER = 1032
"""Width in pixels of A4 in landscape, without its margins."""


@pytest.fixture
def page(running: Page, written: Written) -> Page:
    running.begin(written.html.as_uri())
    return running


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360)])
def test_axe_finds_nothing(page: Page, scheme: str, width: int) -> None:
    page.media(scheme)
    page.width(width)
    page.evaluate(UNFOLD)
    assert page.axe() == []


def test_nothing_is_requested_and_nothing_goes_wrong(page: Page, written: Written) -> None:
    assert page.requests == [written.html.as_uri()]
    assert page.messages == []


def test_the_page_itself_never_scrolls_sideways(page: Page) -> None:
    page.evaluate(UNFOLD)
    for width in (1200, 800, 360):
        page.width(width)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_on_a_common_screen_no_column_hides_behind_a_scroll_bar(page: Page) -> None:
    page.width(1200)
    page.evaluate(UNFOLD)
    tables = "[...document.querySelectorAll('.wide:has(table)')]"
    assert page.evaluate(f"{tables}.length") > 10
    cut = f"{tables}.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent.slice(0, 80))"
    assert page.evaluate(cut) == []


def test_marks_are_stops_of_the_tab_key_in_the_order_of_the_page(page: Page) -> None:
    wanted = page.evaluate("(window.marks = [...document.querySelectorAll('svg')[1].querySelectorAll('a')]).length")
    assert wanted >= 5
    # From the last link before the chart, the next stop is its first mark.
    page.evaluate("[...document.querySelectorAll('svg')[0].querySelectorAll('a')].at(-1).focus()")
    reached = []
    for _ in range(wanted):
        page.press("Tab")
        reached.append(page.evaluate("marks.indexOf(document.activeElement)"))
    assert reached == list(range(wanted))
    assert page.evaluate("getComputedStyle(document.activeElement.querySelector('.dot')).stroke") == "rgb(27, 31, 36)"


def test_a_mark_leads_to_its_row_in_sight(page: Page) -> None:
    page.evaluate("document.querySelectorAll('svg')[1].querySelector('a .dot').parentNode.focus()")
    note = page.evaluate("document.activeElement.querySelector('title').textContent")
    page.press("Enter")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    row = page.evaluate("document.querySelector('tr:target').textContent")
    assert note.rpartition(", retain_eval ")[2] in row
    assert page.evaluate(
        "(box => box.top > 0 && box.bottom < innerHeight)(document.querySelector('tr:target').getBoundingClientRect())"
    )


def test_screenshots_show_the_page_as_each_reader_sees_it(page: Page, tmp_path: Path) -> None:
    """Look at them: DUAL_DATA_SCREENSHOTS=DIR pytest tests/evaluation/report/test_in_browser.py -k screenshots"""
    drawings(page, PAPER, tmp_path, "evaluation-")


def test_print_shows_what_is_folded_and_no_table_is_cut(page: Page) -> None:
    page.width(PAPER)
    page.media(media="print")
    # Folded content is laid out with the next frame.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.querySelector('details td').checkVisibility({contentVisibilityAuto: true})")
    assert page.evaluate("document.querySelector('nav').checkVisibility()") is False
    widest = "Math.max(...[...document.querySelectorAll('table, svg')].map(one => one.getBoundingClientRect().right))"
    assert page.evaluate(widest) <= PAPER
    assert page.pdf().startswith(b"%PDF")


def test_on_a_narrow_screen_the_text_of_charts_can_be_read(page: Page) -> None:
    page.width(360)
    smallest = (
        "Math.min(...[...document.querySelectorAll('svg text')].map(one => parseFloat(getComputedStyle(one).fontSize)))"
    )
    scale = "document.querySelector('svg').getBoundingClientRect().width / 460"
    assert page.evaluate(f"({smallest}) * ({scale})") > 8
