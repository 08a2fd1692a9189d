"""The section on the utility panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.bootstrap import bootstrap_difference
from dual_data.errors import InputError
from dual_data.evaluation.compare import compare_results
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.runs import PANEL_SCORES
from dual_data.evaluation.report.document import Block, Charts, Folded, Table
from dual_data.evaluation.report.sections.every_cell import every_cell
from dual_data.evaluation.report.sections.main_table import main_rows, main_table
from dual_data.evaluation.report.sections.panel import panel, panel_accuracy
from dual_data.evaluation.results import cell_path, read_result, write_result
from tests.evaluation.report.made_up import write_cell


def _cells(folder: Path, seeds: int = 2, before: int = 2) -> tuple[list[str], list[str]]:
    return (
        [write_cell(folder, seed=seed, forget=1.0, retain=1.0, panel=0.8) for seed in range(before)],
        [
            write_cell(folder, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9, panel=0.5)
            for seed in range(seeds)
        ],
    )


def _tables(folder: Path) -> tuple[Table, Table]:
    _, _, scores, folded = panel(collect([folder]))
    assert isinstance(scores, Table)
    assert isinstance(folded, Folded)
    (kinds,) = folded.blocks
    assert isinstance(kinds, Table)
    return scores, kinds


def _by_column(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def _items(folder: Path, cells: list[str], name: str) -> np.ndarray:
    return np.array([read_result(cell_path(folder, cell))["panel_items"][name] for cell in cells], dtype=float)


def _replace(folder: Path, cell: str, key: str, **changes: Any) -> Path:
    result: Any = read_result(cell_path(folder, cell))
    return write_result(folder, cell, result | {key: result[key] | changes})


@pytest.mark.parametrize("seeds_before", [2, 1])
def test_scores_and_their_changes_are_over_seeds_and_questions(tmp_path: Path, seeds_before: int) -> None:
    before, after = _cells(tmp_path, before=seeds_before)
    first, second = _by_column(_tables(tmp_path)[0])
    assert [(row["method"], row["lr"], row["seeds"]) for row in (first, second)] == [
        ("before", "", str(seeds_before)), ("NPO", "0.0001", "2"),
    ]  # fmt: skip
    assert second["panel"] == "hard.jsonl (40)"
    for name, label in (("right", "accuracy"), ("right_by_length", "accuracy by length"), ("nll", "NLL of the texts")):
        old, new = (_items(tmp_path, side, name) for side in (before, after))
        assert first[label].startswith(f"{old.mean():.3f} [")
        assert first[f"change of {label}"] == "-"
        assert second[label].startswith(f"{new.mean():.3f} [")
        change = bootstrap_difference(new, old, range(old.shape[1]), PANEL_SCORES[name][1])
        assert second[f"change of {label}"] == f"{change.value:.3f} [{change.low:.3f}, {change.high:.3f}]"
    # The probability drops by the same amount on every question, so the paired change has no spread.
    assert second["change of probability of the right option"] == "-0.300 [-0.300, -0.300]"


def test_accuracy_by_kind(tmp_path: Path) -> None:
    _, after = _cells(tmp_path)
    right = _items(tmp_path, after, "right")
    _, row = _by_column(_tables(tmp_path)[1])
    assert row["birds"].startswith(f"{right[:, 1::2].mean():.3f} [")
    assert row["fish"].startswith(f"{right[:, ::2].mean():.3f} [")


def test_each_method_is_held_against_its_own_base(tmp_path: Path) -> None:
    _cells(tmp_path)
    collection = collect([tmp_path])
    (group,), ((key, base),) = collection.groups, collection.bases.items()
    worse = tuple(run._replace(panel=group.at(1e-4)[0].panel) for run in base)
    other = group._replace(key=group.key._replace(preset="q"), before=worse)
    combined = collection._replace(groups=(group, other), bases={key: base, key._replace(preset="q"): worse})
    scores: list[Block] = [block for block in panel(combined) if isinstance(block, Table)]
    (table,) = scores
    assert isinstance(table, Table)
    rows = _by_column(table)
    assert [row["method"] for row in rows] == ["before", "NPO", "before", "NPO"]
    changes = [row["change of probability of the right option"] for row in rows]
    assert changes == ["-", "-0.300 [-0.300, -0.300]", "-", "0.000 [0.000, 0.000]"]


def test_tables_have_its_column_where_it_was_measured(tmp_path: Path) -> None:
    write_cell(tmp_path / "none", forget=1.0, retain=1.0)
    write_cell(tmp_path / "none", method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    _cells(tmp_path / "some")
    for name, measured in (("none", False), ("some", True)):
        collection = collect([tmp_path / name])
        tables = [main_table(main_rows(collection))]
        tables += [block for block in every_cell(collection) if isinstance(block, Table)]
        assert [("utility panel" in table.header) for table in tables] == [measured, measured]
        assert all(len(row) == len(table.header) for table in tables for row in table.rows)
        assert ["panel" in table.caption for table in tables] == [measured, measured]
        assert bool(panel(collection)) is measured
    accuracy = panel_accuracy(collection.groups[0].runs)
    assert accuracy.low < accuracy.value < accuracy.high
    assert main_rows(collection)[1].scores["utility panel"] == accuracy


def test_a_model_without_numbers_has_none_here(tmp_path: Path) -> None:
    _, (after, *_) = _cells(tmp_path, 1)
    missing: dict[str, Any] = {"right": [None, *[1] * 39], "right_by_length": [None] * 40, "probability": [None] * 40}
    _replace(tmp_path, after, "panel_items", **missing, nll=[None, 1.0, 2.0])
    scores, kinds = _tables(tmp_path)
    row = _by_column(scores)[1]
    assert {text for name, text in row.items() if name.startswith(("acc", "change", "prob", "NLL"))} == {"-"}
    row = _by_column(kinds)[1]
    assert (row["birds"], row["fish"]) == ("1.000 [0.832, 1.000]", "-")


def test_there_is_no_chart_over_learning_rates_where_none_was_measured(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0, panel=0.8)
    for status, charts in (("failed", 0), ("done", 1)):
        write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9, panel=0.5, status=status)
        (drawn,) = [block for block in panel(collect([tmp_path])) if isinstance(block, Charts)]
        assert len(drawn.charts) == charts


def test_cells_of_different_panels_are_not_mixed(tmp_path: Path) -> None:
    _, (after, other) = _cells(tmp_path)
    path = _replace(tmp_path, after, "panel", hash="other")
    with pytest.raises(InputError, match=r"were not asked the same utility panel") as raised:
        _tables(tmp_path)
    assert str(path) in str(raised.value)
    assert str(cell_path(tmp_path, other)) in str(raised.value)


def test_two_results_are_compared_on_it_where_both_were_asked_the_same(tmp_path: Path) -> None:
    (before, _), (after, _) = _cells(tmp_path)
    after_path, before_path = cell_path(tmp_path, after), cell_path(tmp_path, before)
    rows = {row.score: row for row in compare_results(after_path, before_path).rows if row.set == "utility panel"}
    assert set(rows) == {"accuracy", "accuracy by length", "probability of the right option", "NLL of the texts"}
    assert (rows["accuracy"].items, rows["NLL of the texts"].items) == (40, 3)
    assert rows["accuracy"].difference.value == pytest.approx(rows["accuracy"].first - rows["accuracy"].second)
    assert rows["accuracy"].difference.high < 0
    result = read_result(after_path)
    del result["panel"]
    without = write_result(tmp_path, "without", result)
    other = _replace(tmp_path, after, "panel", hash="other")
    for path in (other, without):
        assert not [row for row in compare_results(path, before_path).rows if row.set == "utility panel"]
