"""The sections on popularity, traces of unlearning, quality and utility."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import Membership, examined
from dual_data.evaluation.report.analysis.quality import ForgetQuality
from dual_data.evaluation.report.document import Charts, Table
from dual_data.evaluation.report.sections.by_popularity import by_popularity
from dual_data.evaluation.report.sections.traces import traces
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import SFT, SFT_RETAIN, write_cell
from tests.evaluation.report.page import Page


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


def test_drops_by_part_are_hollow_as_all_points_of_one_seed_are(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=0.9)
    for seed in (0, 1):
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (cell,) = examined(collection)
    (charts,) = (block for block in by_popularity(collection, [cell]) if isinstance(block, Charts))
    assert all(chart.svg.count('class="hole"') == 10 for chart in charts.charts)
    assert "Hollow points are of one seed, here the first." in charts.caption
    assert cell.frequency is not None
    single = cell._replace(frequency=cell.frequency._replace(parts=cell.frequency.parts[:1]))
    (charts,) = (block for block in by_popularity(collection, [single]) if isinstance(block, Charts))
    assert not charts.charts


def test_each_figure_is_in_its_column(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=0.9)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (cell,) = examined(collection)
    assert cell.frequency is not None

    def only(value: float) -> Interval:
        return Interval(value, value, value)

    frequency = cell.frequency._replace(
        facts=41, by_probability=only(0.11), by_answer=only(0.12), agreement=only(0.13), disagreeing=3
    )
    aucs = {"loss": only(0.6), "min_k_plus_plus_20": only(0.65), "zlib": only(0.2), "min_k_20": only(0.7)}
    cell = cell._replace(
        membership=Membership(aucs, {}, {}),
        audit=only(0.55), frequency=frequency, fluency=cell.fluency._replace(entropy=only(3.5), looping=only(0.25)),
        quality=ForgetQuality(p_value=0.03, distance=0.5), model_utility=only(0.4), utility_before=only(0.8),
    )  # fmt: skip
    blocks = [*by_popularity(collection, [cell]), *traces([cell])]
    tables = [block for block in blocks if isinstance(block, Table)]
    figures = {name: text for table in tables for name, text in zip(table.header, table.rows[0], strict=True)}
    expected = {
        "facts": "41",
        "rho: popularity, probability drop": "0.110 [0.110, 0.110]",
        "rho: popularity, answer drop": "0.120 [0.120, 0.120]",
        "rho: the two drops": "0.130 [0.130, 0.130]",
        "disagreeing facts": "3",
        "AUC by loss": "0.600 [0.600, 0.600]",
        "AUC by min-k++": "0.650 [0.650, 0.650]",
        "strongest attack": "zlib 0.200 [0.200, 0.200]",  # farther from 0.5 than 0.7 is
        "posterior-difference audit": "0.550 [0.550, 0.550]",
        "forget quality p": "0.03 (D 0.500)",
        "model utility before": "0.800 [0.800, 0.800]",
        "model utility": "0.400 [0.400, 0.400]",
        "n-gram entropy": "3.500 [3.500, 3.500]",
        "looping": "0.250 [0.250, 0.250]",
    }
    assert {name: figures[name] for name in expected} == expected
    assert "Forget quality p: the p-value, with the statistic D in parentheses, of the" in tables[-1].caption


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


def test_model_utility_is_over_all_sets_to_keep_whatever_their_names(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=0.9, more=("languages",))
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9, more=("languages",))

    def utility() -> float:
        collection = collect([tmp_path])
        (cell,) = examined(collection)
        return cell.model_utility.value

    whole = utility()
    for path in (tmp_path / "cells").iterdir():
        result = json.loads(path.read_text())
        for row in result["items"]["languages"]:
            row["scores"]["rougeL_recall"] = 0.0
        path.write_text(json.dumps(result))
    assert utility() == 0.0 < whole
