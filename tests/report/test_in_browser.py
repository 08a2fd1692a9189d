"""The page in a real browser: accessible, usable by keyboard, without requests, in light, dark and print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.conftest import Report
from tests.services.browser import UNFOLD, Page, drawings

PAPER = 794
"""Width in pixels of A4."""
SHOWN = "[...document.querySelectorAll('#questions tbody tr')].filter(row => !row.hidden).length"


@pytest.fixture
def page(running: Page, full: Report) -> Page:
    running.begin(full.page.as_uri())
    return running


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 360)])
def test_axe_finds_nothing(page: Page, scheme: str, width: int) -> None:
    page.media(scheme)
    page.width(width)
    page.evaluate(UNFOLD)
    assert page.axe() == []


def test_axe_would_find_something(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<!doctype html><title>bad</title><img><p style='color:#ccc;background:#fff'>pale</p>")
    page.open(bad.as_uri())
    assert {"image-alt", "color-contrast", "html-has-lang"} <= {violation["rule"] for violation in page.axe()}


def test_nothing_is_requested_and_nothing_goes_wrong(page: Page, full: Report) -> None:
    assert page.requests == [full.page.as_uri()]
    assert page.messages == []
    assert page.evaluate("typeof pwned") == "undefined"


def test_the_page_itself_never_scrolls_sideways(page: Page) -> None:
    for width in (1200, 800, 360):
        page.width(width)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_on_a_common_screen_no_column_hides_behind_a_scroll_bar(page: Page) -> None:
    page.width(1200)
    page.evaluate(UNFOLD.replace("'details'", "'details:not(.tags)'"))  # the splits of a question stay folded
    tables = "[...document.querySelectorAll('.wide:has(table)')]"
    assert page.evaluate(f"{tables}.length") > 10
    cut = f"{tables}.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent.slice(0, 80))"
    assert page.evaluate(cut) == []


def test_the_first_tab_skips_to_the_content(page: Page) -> None:
    page.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_every_table_and_filter_is_reached_in_the_order_of_the_page(page: Page) -> None:
    focusable = "a[href], .wide, select, input, button, summary, pre"
    count = page.evaluate(
        f"(window.order = [...document.querySelectorAll('{focusable}')].filter(one => one.checkVisibility())).length"
    )
    reached = []
    for _ in range(count):
        page.press("Tab")
        reached.append(page.evaluate("order.indexOf(document.activeElement)"))
    assert reached == list(range(count))


def test_filters_narrow_the_questions_and_say_how_many_are_left(page: Page) -> None:
    everything = page.evaluate(SHOWN)

    def choose(field: str, value: str) -> int:
        page.evaluate(
            f"(() => {{ const one = document.getElementById('filter-{field}'); one.value = {value!r};"
            "one.dispatchEvent(new Event('input', {bubbles: true})) })()"
        )
        count: int = page.evaluate(SHOWN)
        assert page.evaluate("document.getElementById('filter-count').value").startswith(f"{count:,} question")
        return count

    of_topic = [choose("topic", "0"), choose("topic", "1")]
    assert sum(of_topic) == everything
    assert min(of_topic) > 0
    of_relation = choose("relation", "0")
    assert 0 < of_relation < of_topic[1]
    assert choose("split", "0") <= of_relation
    assert choose("text", "no question holds this") == 0
    page.evaluate("document.querySelector('#filters button').click(); new Promise(done => setTimeout(done, 50))")
    assert page.evaluate(SHOWN) == everything


def test_without_script_all_questions_show_and_no_filters(page: Page, full: Report) -> None:
    everything = page.evaluate(SHOWN)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(full.page.as_uri())
        assert page.evaluate("document.getElementById('filters').checkVisibility()") is False
        assert page.evaluate(SHOWN) == everything
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_screenshots_show_the_page_as_each_reader_sees_it(page: Page, tmp_path: Path) -> None:
    """Look at them: DUAL_DATA_SCREENSHOTS=DIR pytest tests/report/test_in_browser.py -k screenshots"""
    images = drawings(page, PAPER, tmp_path)
    assert images["narrow"].shape[0] > images["light"].shape[0], "columns stand below each other"
    assert images["print"].shape[0] > images["light"].shape[0], "what is folded on the screen is unfolded"


def test_dark_and_print_have_their_own_colours(page: Page) -> None:
    def colours() -> list[str]:
        values: list[str] = page.evaluate(
            "['body', '#figure-stages text'].map(one => getComputedStyle(document.querySelector(one)))"
            ".flatMap(style => [style.backgroundColor, style.fill])"
        )
        return values

    light = colours()
    page.media("dark")
    dark = colours()
    page.media("dark", "print")
    printed = colours()
    assert light[0] == printed[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 26)"
    assert light[3] != dark[3]
    assert printed[3] == "rgb(0, 0, 0)"


def test_print_shows_what_is_folded_and_hides_what_cannot_be_clicked(page: Page) -> None:
    page.media(media="print")
    # Folded content is laid out in the next frame.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("document.querySelector('#provenance pre').checkVisibility({contentVisibilityAuto: true})")
    assert page.evaluate("document.querySelector('nav').checkVisibility()") is False
    assert page.evaluate("document.getElementById('filters').checkVisibility()") is False
    assert page.pdf().startswith(b"%PDF")


def test_on_a_narrow_screen_figures_stay_readable_and_captions_in_sight(page: Page) -> None:
    page.width(360)
    smallest = (
        "Math.min(...[...document.querySelectorAll('figure svg text')].map(one => one.getBoundingClientRect().height))"
    )
    assert page.evaluate(smallest) > 9
    widest = "Math.max(...[...document.querySelectorAll('caption')].map(one => one.getBoundingClientRect().right))"
    assert page.evaluate(widest) <= 360
