"""Every number of the report has an interval or is declared exact, and links to the items behind it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dual_data.evaluation.report.document import Heading, Points, Table, to_html
from dual_data.evaluation.report.write import Written, write_report
from tests.evaluation.report.made_up import write_cell
from tests.evaluation.report.page import INTERVAL, TEXTS, Page, bare_numbers, without_interval


def test_every_number_of_a_table_has_an_interval_or_is_said_to_be_exact(page: Page) -> None:
    assert len(page.tables) > 15
    for table in page.tables:
        assert without_interval(table) == [], table.header


def test_markdown_says_the_same_of_every_table(page: Page, written: Written) -> None:
    lines = written.markdown.read_text().splitlines()
    for table in page.tables:
        head = lines.index(f"| {' | '.join(table.header)} |")
        end = head + 2 + len(table.rows)
        table_lines = [re.sub(r"\[([^]]*)\]\([^)]*\)", "", line) for line in lines[head + 2 : end]]
        assert lines[end + 1].replace("\\|", "|") == table.caption
        for line, row in zip(table_lines, table.rows, strict=True):
            cells = [
                cell.strip().replace("\\|", "|").replace("&lt;", "<") for cell in re.split(r"(?<!\\)\|", line)[1:-1]
            ]
            assert cells == [text.strip() for text in row.texts]
        lines = lines[:head] + lines[end:]


def test_every_row_of_scores_leads_to_items_that_are_there(page: Page, written: Written) -> None:
    for table in page.tables:
        for row in table.rows:
            assert row.links or table.header[0] in TEXTS, table.header
            assert all((written.html.parent / link).is_file() for link in row.links)


def test_every_decimal_of_a_sentence_has_an_interval(page: Page) -> None:
    assert len(page.points) > 5
    for text in page.points:
        scores = re.sub(r"\blr \S+", "", text)  # without settings, which are exact
        assert not [number for number in bare_numbers(scores) if "." in number.rstrip(".,")], text


def test_every_mark_of_a_chart_leads_to_the_row_of_its_items(page: Page, written: Written) -> None:
    rows = {row.id: row for table in page.tables for row in table.rows if row.id}
    assert len(page.ids) == len(set(page.ids))
    # These two lines are no measurements.
    marks = [mark for mark in page.marks if mark.title not in ("no change", "guessing")]
    assert sum(mark.kind == "dot" for mark in marks) > 100
    for mark in marks:
        assert mark.link.startswith("#"), mark
        row = rows[mark.link[1:]]
        assert row.links
        assert all((written.html.parent / link).is_file() for link in row.links)
        stated = re.sub(r"\b(lr|step|part) \S+:", "", mark.title)
        assert re.search(r"\d \[", stated), "a mark's title has the number that it shows"
        assert not bare_numbers(stated), mark.title
        kind, method, lr = row.id.partition("-")[0], *row.texts[:2]
        if kind == "cell":  # of that method and learning rate, and of no other
            assert mark.title.startswith("before" if method == "before" else f"{method} lr {lr}: "), mark
        elif kind in ("shift", "chosen"):
            method = row.texts[4]
            start = r"(trivial rule|.*before) " if method == "before" else rf".* {method}: "
            assert re.match(start, mark.title), mark
        # The numbers of a mark are those of its row, unless it is a point of a curve that the row summarises.
        if kind not in ("popularity", "relearning"):
            assert set(INTERVAL.findall(stated)) <= set(INTERVAL.findall(" ".join(row.texts)))


def test_the_question_alone_and_any_wording_each_have_their_line_of_before(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=0.5, retain=0.9)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.2, retain=0.9)
    page = Page(write_report([tmp_path], tmp_path / "report").html.read_text())
    (table,) = (table for table in page.tables if "worst case" in table.header)
    before, _ = (dict(zip(table.header, row.texts, strict=True)) for row in table.rows)
    assert before["answers held"] != before["worst case"]
    lines = {mark.title for mark in page.marks if mark.kind == "ref"}
    assert f"the question itself, before {before['answers held']}" in lines
    assert f"any wording or prompt, before {before['worst case']}" in lines


def test_ranks_are_whole_in_table_and_chart(page: Page) -> None:
    (table,) = (table for table in page.tables if "rank on forget" in table.header)
    ranks = {row.texts[table.header.index("rank on forget")] for row in table.rows}
    assert "1 [1, 1]" in ranks
    titles = {mark.title for mark in page.marks if mark.link.startswith("#shift-")}
    assert "forget before 1 [1, 1]" in titles
    assert not any(re.search(r"\d\.0\b", text) for text in (*ranks, *titles))


def test_charts_have_a_mark_for_every_learning_rate_and_before(page: Page) -> None:
    cells = [row.id for table in page.tables for row in table.rows if row.id.startswith("cell-")]
    assert set(cells) == {mark.link[1:] for mark in page.marks if mark.link.startswith("#cell-")}


@pytest.mark.parametrize(
    ("cell", "exact", "expected"),
    [
        ("0.500", (), [("score", "0.500")]),
        ("0.500", ("score",), []),
        ("0.500 [0.4, 0.6]", (), []),
        ("0.500 [0.4, 0.6] and 3", (), [("score", "0.500 [0.4, 0.6] and 3")]),
        ("1e-05", (), [("score", "1e-05")]),
        ("never [1, never]", (), []),
        ("min_k_20, int4", (), []),
        ("0.500 [attack again]", (), [("score", "0.500 [attack again]")]),
    ],
)
def test_a_number_without_an_interval_would_be_found(
    cell: str, exact: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    page = Page(to_html("t", [Heading("h"), Points(("0.5",)), Table(("score",), ((cell,),), "c.", exact)], Path()))
    (table,) = page.tables
    assert without_interval(table) == expected
    assert page.points == ["0.5"]


def test_a_caption_that_names_no_column_would_be_found() -> None:
    (table,) = Page(to_html("t", [Table(("score",), (("1",),), "c.", ("scores",))], Path())).tables
    with pytest.raises(AssertionError, match="not there"):
        without_interval(table)
