"""The section on what models know: its intervals account for facts of one subject being alike."""

from __future__ import annotations

import math
import re
from pathlib import Path

import polars as pl
import pytest

from dual_data.bootstrap import share_ends
from dual_data.report.tables import Percent, shown
from tests.release.made import world
from tests.report.conftest import Report, judged, report_on
from tests.report.test_page import section, words


def cells(text: str, caption: str, row: str) -> list[list[str]]:
    """The cells with numbers in the rows that start with `row`, of the table whose caption starts with `caption`."""
    table = next(html for html in re.findall(r"<table.*?</table>", text, re.DOTALL) if f"<caption>{caption}" in html)
    rows = [html for html in re.findall(r"<tr.*?</tr>", table, re.DOTALL) if f'<th scope="row"><bdi>{row}' in html]
    return [re.findall(r'<td class="number">(.*?)</td>', html) for html in rows]


@pytest.mark.parametrize(("caption", "offset"), [("Known facts by model", 0), ("Known facts by decile", 3)])
def test_subjects_that_are_known_wholly_or_not_at_all_count_once(full: Report, caption: str, offset: int) -> None:
    # The second model knows all three facts of a subject with many links, and none of the others.
    rows = cells(section(full.text, "knowledge"), caption, "second")
    assert len(rows) == (10 if offset else 1)
    for row in rows:
        facts, subjects, known = (int(cell) for cell in row[offset : offset + 3])
        assert facts == 3 * subjects
        value = known / facts
        if value in (0, 1):
            expected = share_ends(value, value, subjects)
            assert row[offset + 3 : offset + 6] == [shown(Percent(number)) for number in (value, *expected)]
        else:
            low, high = (float(cell.rstrip(" %")) / 100 for cell in row[offset + 4 : offset + 6])
            assert low < value < high
            # As of so many facts, each of a subject of its own.
            assert high - low == pytest.approx(2 * 1.96 * math.sqrt(value * (1 - value) / subjects), rel=0.15)


def test_deciles_without_facts_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    frames = judged(world())
    links = frames["links"]["inbound_links"]
    frames["links"] = frames["links"].with_columns(inbound_links=pl.when(links > 100).then(500).otherwise(3))
    text = section(report_on(tmp_path, frames).text, "knowledge")
    deciles = [row[0] for row in cells(text, "Known facts by decile", "second")]
    assert 1 <= len(deciles) < 10
    left_out = "equal counts stay together, and deciles without facts are left out"
    assert words(text).count(left_out) == 2
    assert re.search(rf"second .*: \d+% in decile {deciles[0]}, \d+% in decile {deciles[-1]}\.", text)


def test_the_page_says_what_the_intervals_are(full: Report) -> None:
    text = words(section(full.text, "knowledge"))
    assert "Intervals are over subjects, drawn with all their facts: those of one tend to be known together." in text


def test_empty_answers_are_told(tmp_path: Path) -> None:
    frames = judged(world())
    second = pl.col("model").str.starts_with("second")
    frames["knowledge"] = frames["knowledge"].with_columns(
        generations=pl.when(second).then(pl.lit(["", "x", "", ""])).otherwise("generations")
    )
    text = section(report_on(tmp_path, frames).text, "knowledge")
    assert cells(text, "Known facts by model", "second")[0][-1] == shown(Percent(0.75))
    assert "empty answers, as of a model that declines" in words(text)
