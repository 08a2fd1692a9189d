"""The section on the utility panel."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dual_data.errors import InputError
from dual_data.evaluation.compare import compare_results
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.every_cell import every_cell
from dual_data.evaluation.report.main_table import main_rows, main_table
from dual_data.evaluation.report.panel import panel, panel_accuracy
from dual_data.evaluation.results import cell_path, read_result, write_result
from tests.evaluation.report.made_up import write_cell


def _cells(folder: Path, seeds: int = 2) -> tuple[list[str], list[str]]:
    before = [write_cell(folder, seed=seed, forget=1.0, retain=1.0, panel=0.8) for seed in range(seeds)]
    after = [
        write_cell(folder, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9, panel=0.5) for seed in range(seeds)
    ]
    return before, after


def _table(folder: Path) -> Table:
    _, table = panel(collect([folder]), folder)
    assert isinstance(table, Table)
    return table


def test_scores_and_their_changes_are_over_seeds_and_questions(tmp_path: Path) -> None:
    before, after = _cells(tmp_path)
    table = _table(tmp_path)
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert [(row["method"], row["lr"], row["seeds"]) for row in rows] == [("before", "", "2"), ("NPO", "0.0001", "2")]
    rights = [[read_result(cell_path(tmp_path, one))["utility"]["right"] for one in side] for side in (before, after)]
    old, new = (np.mean(side) for side in rights)
    assert str(rows[0]["accuracy"]).startswith(f"{old:.3f} [")
    assert (rows[0]["change of accuracy"], rows[0]["change of NLL of the texts"]) == ("-", "-")
    assert str(rows[1]["accuracy"]).startswith(f"{new:.3f} [")
    assert str(rows[1]["change of accuracy"]).startswith(f"{new - old:.3f} [-")
    # Every text is worse by as much: paired, there is no doubt about the change.
    assert rows[1]["change of NLL of the texts"] == "0.300 [0.300, 0.300]"
    assert "Panel hard.jsonl: 40 questions, of which guessing answers 25%, and 3 texts." in table.caption


def test_tables_have_its_column_where_it_was_measured(tmp_path: Path) -> None:
    write_cell(tmp_path / "none", forget=1.0, retain=1.0)
    write_cell(tmp_path / "none", method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    _cells(tmp_path / "some")
    for name, there in (("none", False), ("some", True)):
        collection = collect([tmp_path / name])
        tables = [main_table(main_rows(collection), tmp_path)]
        tables += [block for block in every_cell(collection, tmp_path) if isinstance(block, Table)]
        assert [("utility panel" in table.header) for table in tables] == [there, there]
        assert bool(panel(collection, tmp_path)) is there
    accuracy = panel_accuracy(collection.groups[0].runs)
    assert accuracy.low < accuracy.value < accuracy.high
    assert main_rows(collection)[1].scores["utility panel"] == accuracy


def test_a_model_without_numbers_has_none_here(tmp_path: Path) -> None:
    _, (after, *_) = _cells(tmp_path, 1)
    result = read_result(cell_path(tmp_path, after))
    lost = {"right": [None] * 40, "right_by_length": [None] * 40, "nlls": [math.nan] * 3}
    write_result(tmp_path, after, result | {"utility": result["utility"] | lost})
    row = _table(tmp_path).rows[1]
    assert row[7:13] == ("-",) * 6


def test_cells_of_different_panels_are_not_mixed(tmp_path: Path) -> None:
    _, (after, *_) = _cells(tmp_path)
    path = cell_path(tmp_path, after)
    result = read_result(path)
    write_result(tmp_path, after, result | {"utility": result["utility"] | {"hash": "other"}})
    with pytest.raises(InputError, match="another utility panel than the rest"):
        _table(tmp_path)


def test_two_results_are_compared_on_it_where_both_were_asked_the_same(tmp_path: Path) -> None:
    (before, _), (after, _) = _cells(tmp_path)
    one, two = cell_path(tmp_path, after), cell_path(tmp_path, before)
    rows = {row.score: row for row in compare_results(one, two) if row.set == "utility panel"}
    assert set(rows) == {"right", "right_by_length", "nlls"}
    assert (rows["right"].items, rows["nlls"].items) == (40, 3)
    assert rows["right"].difference.value == pytest.approx(rows["right"].first - rows["right"].second)
    assert rows["right"].difference.high < 0
    result = read_result(one)
    other = write_result(tmp_path, "other", result | {"utility": result["utility"] | {"hash": "other"}})
    without = write_result(tmp_path, "without", {name: part for name, part in result.items() if name != "utility"})
    for path in (other, without):
        assert not [row for row in compare_results(path, two) if row.set == "utility panel"]
