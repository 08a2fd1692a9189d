"""Sets of which many facts have one answer."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.sections.common_answers import frequent_answers, too_narrow
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import write_cell


def _write(folder: Path, share_with_one: float) -> None:
    """Held-out facts with a subject each, of which NPO keeps those with one answer and loses the others."""
    for method, lr in (("none", 0.0), ("NPO", 1e-4)):
        path = cell_path(folder, write_cell(folder, method=method, lr=lr, forget=0.5, retain=0.9))
        result = json.loads(path.read_text())
        rows = result["items"]["retain_eval"]
        for index, row in enumerate(rows):
            is_frequent = index < share_with_one * len(rows)
            row |= {"ground_truth": "France" if is_frequent else f"Land{index}", "subject": f"subject {index}"}
            row["scores"]["rougeL_recall"] = float(method == "none" or is_frequent)
        path.write_text(json.dumps(result))


def test_facts_of_one_answer_that_are_kept_together_are_told(tmp_path: Path) -> None:
    _write(tmp_path, 0.5)
    collection = collect([tmp_path])
    (table,) = frequent_answers(collection)  # of the facts to forget a fifth have one answer, each for itself
    assert isinstance(table, Table)
    assert [row[4:-1] for row in table.rows] == [
        ("before", "", "retain_eval", "50%", "1.000 [0.884, 1.000]", "1.000 [0.884, 1.000]"),
        ("NPO", "0.0001", "retain_eval", "50%", "1.000 [0.884, 1.000]", "0.000 [0.000, 0.116]"),
    ]
    (sentence,) = too_narrow(collection)
    (wider,) = re.findall(r"50% of retain_eval have one answer.* would be (\d+)% wider \(the median of 1 row", sentence)
    # Over 60 subjects the share that is kept has a standard error of 0.5 / sqrt(60). Over answers it is drawn as about
    # w / (w + 1), where w is how often France is drawn: of a Poisson variable of mean 1, with a deviation of 0.2915.
    assert int(wider) == pytest.approx(100 * (0.2915 * math.sqrt(60) / 0.5 - 1), rel=0.05)


def test_a_set_of_one_answer_has_no_other_facts(tmp_path: Path) -> None:
    _write(tmp_path, 1.0)
    (table,) = frequent_answers(collect([tmp_path]))
    assert isinstance(table, Table)
    assert {row[-2] for row in table.rows} == {"-"}


def test_nothing_is_said_of_sets_without_such_an_answer(tmp_path: Path) -> None:
    _write(tmp_path, 0.2)
    assert frequent_answers(collect([tmp_path])) == []
    assert too_narrow(collect([tmp_path])) == []
