"""The section on what models know: its intervals count facts of one subject as what they tell."""

from __future__ import annotations

import re

import pytest

from dual_data.report.statistics import wilson
from dual_data.report.tables import share as percent
from dual_data.report.tables import shown
from tests.report.conftest import Report
from tests.report.test_page import part, words


def cells(text: str, caption: str, row: str) -> list[list[str]]:
    """The cells with numbers, of the rows that start so in the table of that caption."""
    table = next(one for one in re.findall(r"<table.*?</table>", text, re.DOTALL) if f"<caption>{caption}" in one)
    rows = [one for one in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if f'<th scope="row"><bdi>{row}' in one]
    return [re.findall(r'<td class="number">(.*?)</td>', one) for one in rows]


@pytest.mark.parametrize(("caption", "first"), [("Known facts by model", 0), ("Known facts by decile", 3)])
def test_subjects_that_are_known_wholly_or_not_at_all_count_once(full: Report, caption: str, first: int) -> None:
    # The second model knows all three facts of a subject with many links, and none of the others.
    found = cells(part(full.text, "knowledge"), caption, "second")
    assert len(found) == (10 if first else 1)
    for row in found:
        facts, subjects, known = (int(cell) for cell in row[first : first + 3])
        assert facts == 3 * subjects
        low, high = wilson(known // 3, subjects)
        assert row[first + 3 : first + 6] == [shown(percent(value)) for value in (known / facts, low, high)]


def test_the_page_says_what_the_intervals_are(full: Report) -> None:
    text = words(part(full.text, "knowledge"))
    assert "Intervals are Wilson's for the effective number of facts" in text
    assert "those of one subject tend to be known together" in text
