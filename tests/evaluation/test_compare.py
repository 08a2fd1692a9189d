"""Two results item by item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.errors import InputError
from dual_data.evaluation.compare import COMPARED, compare_results
from dual_data.evaluation.results import cell_path, read_result, write_result
from tests.evaluation.report.made_up import write_cell

HELD = set(COMPARED) - {"minilm_cosine"}
"""What made-up cells hold: the cosine is measured only where it is asked for."""


def test_paired_differences(tmp_path: Path) -> None:
    base = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=0.9))
    cell = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9))
    rows = {(row.set, row.score): row for row in compare_results(cell, base)}
    assert set(rows) == {(name, score) for name in ("forget", "retain_train", "retain_eval") for score in HELD}
    forget, retain = rows["forget", "rougeL_recall"], rows["retain_eval", "rougeL_recall"]
    held = [row["scores"]["rougeL_recall"] for row in read_result(cell)["items"]["forget"]]
    assert forget.difference.value == pytest.approx(np.mean(held) - 1)
    assert forget.difference.high < 0
    assert forget.corrected < 0.05
    assert (retain.difference.value, retain.corrected) == (0, 1)  # the same facts are still answered
    opposite = {(row.set, row.score): row for row in compare_results(base, cell)}
    assert opposite["forget", "rougeL_recall"].difference.value == -forget.difference.value


def test_order_does_not_matter_but_items_do(tmp_path: Path) -> None:
    first = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    result = read_result(first)
    shuffled = {**result, "items": {name: rows[::-1] for name, rows in result["items"].items()}}
    second = write_result(tmp_path, "shuffled", shuffled)
    assert all(row.difference.value == 0 for row in compare_results(first, second))
    other = write_result(tmp_path, "other", {**result, "items": {"forget": result["items"]["retain_eval"]}})
    with pytest.raises(InputError, match="different items of forget"):
        compare_results(first, other)
    nothing = write_result(tmp_path, "nothing", {**result, "items": {}})
    with pytest.raises(InputError, match="no set in common"):
        compare_results(first, nothing)


def test_scores_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    first = cell_path(tmp_path, write_cell(tmp_path, forget=0.6, retain=0.9))
    result = read_result(first)
    result["items"]["forget"][0]["scores"]["probability"] = None
    broken = write_result(tmp_path, "broken", result)
    scores = {row.score for row in compare_results(first, broken) if row.set == "forget"}
    assert scores == HELD - {"probability"}
