"""The sections on popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

import re

import pytest

from dual_data.evaluation.report.write import Written
from tests.evaluation.report.page import Page


@pytest.fixture(scope="module")
def page(written: Written) -> Page:
    return Page(written.html.read_text())


def test_both_drops_are_drawn_by_part(page: Page) -> None:
    """Of 60 facts in 10 parts, in a chart each."""
    marks = [mark for mark in page.marks if mark.link.startswith("#popularity-")]
    by_row: dict[str, list[float]] = {}
    for mark in marks:
        number = re.search(r": (-?\d\.\d+) \[", mark.title)
        assert number is not None
        by_row.setdefault(mark.link, []).append(float(number[1]))
    assert {len(drops) for drops in by_row.values()} == {2 * 10}
    for drops in by_row.values():  # a fact that is lost goes from 0.8 to 0.1
        assert drops[:10] == pytest.approx([0.7 * drop for drop in drops[10:]], abs=1e-3)
    assert max(max(drops) for drops in by_row.values()) > 0.5
