"""The printed table fits the terminal and loses nothing."""

from __future__ import annotations

import polars as pl
import pytest

from dual_data.audit import audit
from dual_data.audit.table import render

REPORT = audit(
    {
        name: pl.DataFrame({"question": [f"What is the country of {name}?"], "answer": ["A very long answer " * 4]})
        for name in ("one_split", "another_split", "a_third_split")
    }
)


def test_a_wide_terminal_holds_all_splits_beside_each_other() -> None:
    text = render(REPORT, width=200)
    first, _, *rest = text.splitlines()
    assert first.split() == ["split", "one_split", "another_split", "a_third_split"]
    assert next(line for line in rest if line.startswith("rows")).split() == ["rows", "1", "1", "1"]
    assert next(line for line in rest if line.startswith("popularity")).split() == ["popularity", "-", "-", "-"]


def test_a_table_that_just_fits_is_not_split() -> None:
    splits = {**REPORT, "pairs": {}}
    width = max(map(len, render(splits, width=200).splitlines()))
    tables = [f"\n{render(splits, room)}".count("\nsplit ") for room in (width, width - 1)]
    assert tables == [1, 2]


@pytest.mark.parametrize("width", [40, 70, 90, 120])
def test_a_narrow_terminal_gets_several_tables(width: int) -> None:
    lines = [line for line in render(REPORT, width).splitlines() if not line.startswith("no ")]
    tables = sum(line.startswith(("split ", "pair ")) for line in lines)
    assert tables > 2 or width >= 120
    # A table has at least one split, however narrow the terminal.
    assert max(map(len, lines)) <= max(width, 26 + 34)


def test_every_measurement_of_every_split_is_printed() -> None:
    text = render(REPORT, width=60)
    for section in ("splits", "pairs"):
        for measures in REPORT[section].values():
            for name in measures.keys() - {"untold"}:
                assert any(line.split(" ")[0] == name for line in text.splitlines())
        columns = [name for key in REPORT[section] for name in key.split("|")]
        words = text.split()
        assert all(words.count(name) >= columns.count(name) for name in columns)


def test_what_is_not_told_has_its_reason_below() -> None:
    lines = render(REPORT, width=120).splitlines()
    assert next(line for line in lines if line.startswith("auc_answer ")).split()[1:] == ["-"] * 3
    notes = [line for line in lines if line.startswith("no auc_answer ")]
    assert len(notes) == 1, "one line, however many pairs"
    assert notes[0].startswith(
        "no auc_answer for one_split and another_split and 2 more of the pairs, as most rows share their value with no"
    )
    two = {**REPORT, "pairs": dict([*REPORT["pairs"].items()][:1])}
    assert "\nno auc_answer for one_split and another_split, as most rows" in render(two)
    assert render({**REPORT, "pairs": {}}).splitlines()[-1].startswith("popularity "), "nothing where all is told"


def test_nothing_steers_the_terminal() -> None:
    rows = pl.DataFrame({"question": ["Who?"] * 3, "answer": ["\x1b[31mEvil\x07\u202e"] * 3})
    text = render(audit({"a\x9b31m": rows, "b": rows}), width=100)
    assert "[31mEvil" in text
    assert text.replace("\n", "").isprintable()


def test_large_popularity_is_printed_with_all_its_digits() -> None:
    rows = pl.DataFrame({"question": ["Who?"] * 3, "answer": ["A"] * 3, "pop_sum": [2.5, 1_234_567, 12_345_678]})
    line = next(line for line in render(audit({"a": rows})).splitlines() if line.startswith("popularity"))
    assert line.split(maxsplit=1)[1] == "2.5 / 1,234,567 / 12,345,678"
