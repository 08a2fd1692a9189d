"""The sections on popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dual_data.evaluation.report.write import Written, write_report
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import SFT, SFT_RETAIN, write_cell
from tests.evaluation.report.page import Page


@pytest.fixture(scope="module")
def page(written: Written) -> Page:
    return Page(written.html.read_text())


def test_both_drops_are_drawn_by_part(page: Page) -> None:
    """60 facts are in 10 parts, with one chart per drop."""
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


def _traces(folder: Path) -> dict[str, dict[str, str]]:
    """The row of the only method, by stage."""
    page = Page(write_report([folder], folder / "report").html.read_text())
    (table,) = (table for table in page.tables if "held-out facts" in table.header)
    rows = [dict(zip(table.header, row.texts, strict=True)) for row in table.rows]
    return {row["stage"]: row for row in rows}


def _auc(text: str) -> float:
    return float(text.partition(" ")[0])


def test_over_unlearned_is_said_only_against_a_model_that_never_learned_the_facts(tmp_path: Path) -> None:
    options: dict[str, Any] = {"retain": 0.9, "more": ["world_facts"]}
    for stage, recipe in (("pretrained", None), ("sft", SFT)):
        write_cell(tmp_path, stage=stage, recipe=recipe, forget=1.0, **options)
        write_cell(tmp_path, stage=stage, recipe=recipe, method="NPO", lr=1e-4, forget=0.0, **options)
    without = _traces(tmp_path)
    for row in without.values():  # less likely than held-out facts after unlearning, more likely before
        assert (_auc(row["AUC by loss"]) < 0.2, _auc(row["AUC by loss, before"]) > 0.5) == (True, True)
        assert (row["AUC by loss, retrained"], row["note"]) == ("-", "")
    # The model that never learned the facts answers some of them by chance.
    write_cell(tmp_path, stage="sft_retain", recipe=SFT_RETAIN, forget=0.5, **options)
    with_reference = _traces(tmp_path)
    assert _auc(with_reference["sft"]["AUC by loss"]) < _auc(with_reference["sft"]["AUC by loss, retrained"]) < 0.5
    assert (with_reference["sft"]["note"], with_reference["pretrained"]["note"]) == ("over-unlearned", "")
    assert with_reference["pretrained"] == without["pretrained"]
    # The reference knows as little: the facts are just forgotten, though the AUC is as low as before.
    write_cell(tmp_path, stage="sft_retain", recipe=SFT_RETAIN, forget=0.0, **options)
    same = _traces(tmp_path)["sft"]
    assert _auc(same["AUC by loss"]) == _auc(same["AUC by loss, retrained"])
    assert same["note"] == ""


def test_the_models_are_asked_the_facts_that_have_a_pair(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=0.9)
    path = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.0, retain=0.9))
    assert _traces(tmp_path)["pretrained"]["held-out facts"] == "retain_eval (60 pairs of like popularity)"
    result = json.loads(path.read_text())
    for row in result["items"]["forget"][:40]:
        row["popularity"] = 1e6
    path.write_text(json.dumps(result))
    assert _traces(tmp_path)["pretrained"]["held-out facts"] == "retain_eval (20 pairs of like popularity)"
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.0, retain=0.9, more=["neighbor_relation"])
    assert _traces(tmp_path)["pretrained"]["AUC by loss, before"] == "-"  # the base was not asked that set
