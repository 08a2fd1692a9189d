"""Results of attacks, and their controls."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.attack_results import LAYOUT
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import ExaminedCell, examined
from dual_data.evaluation.report.analysis.relearned import relearned
from dual_data.evaluation.report.analysis.runs import Collection
from dual_data.evaluation.report.chart import Axis, Chart, Series, chart
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.sections.attacked import attacks
from dual_data.evaluation.results import cell_path, read_result
from tests.evaluation.report.made_up import SFT, SFT_RETAIN, attacked, write_attacks, write_cell


def _attack(
    folder: Path,
    results: dict[str, Any],
    stage: str,
    recipe: dict[str, Any] | None,
    seed: int = 0,
    model: str = "m",
    forget: float = 0.3,
    **options: Any,
) -> str:
    """Write a cell that still answers this share of the facts to forget, and attacks on it; its id."""
    coordinates: dict[str, Any] = {"stage": stage, "recipe": recipe, "seed": seed, "model": model}
    write_cell(folder, **coordinates, forget=1.0, retain=1.0)
    identifier = write_cell(folder, **coordinates, method="NPO", lr=1e-4, forget=forget, retain=0.9)
    write_attacks(folder, identifier, results, **options)
    return identifier


def _chosen_cells(folder: Path) -> tuple[Collection, list[ExaminedCell]]:
    collection = collect([folder])
    return collection, examined(collection)


def _tables(folder: Path) -> dict[str, Table]:
    collection, cells = _chosen_cells(folder)
    blocks = attacks(relearned(collection, cells), cells)
    tables = [block for block in blocks if isinstance(block, Table)]
    return dict(zip(("relearning", "quantisation", "tasks"), tables, strict=True))


def test_the_control_is_the_model_that_never_learned_the_facts_where_there_is_one(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "sft", SFT)
    (row,) = _tables(tmp_path)["relearning"].rows
    assert row[6:12] == (
        "lr 0.0001, 3 steps",
        "the model before unlearning",
        "0.500 [0.500, 0.500]",
        "0.500 [0.500, 0.500]",
        "1 [1, 1]",
        "3 [3, 3]",
    )
    _attack(tmp_path, attacked(shift=0.1), "sft_retain", SFT_RETAIN)
    rows = {str(row[2]): row for row in _tables(tmp_path)["relearning"].rows}
    # 0.2 and 0.4 of the gap of 0.4, less 0.1 and 0.2 that the other model gains.
    assert rows["sft"][7:12] == (
        "the retrained model, whose stage left out the facts",
        "0.250 [0.250, 0.250]",
        "0.250 [0.250, 0.250]",
        "3 [3, 3]",
        "never [never, never]",
    )
    assert rows["sft_retain"][7] == "the model before unlearning"  # which may know no more than the other
    # With other options there is no such control.
    _attack(tmp_path, {"relearning": attacked()["relearning"]}, "sft", SFT, lr=1e-3)
    controls = {row[6]: row[7] for row in _tables(tmp_path)["relearning"].rows if row[2] == "sft"}
    assert controls == {
        "lr 0.0001, 3 steps": "the retrained model, whose stage left out the facts",
        "lr 0.001, 3 steps": "the model before unlearning",
    }


def test_seeds_go_together_and_options_do_not(tmp_path: Path) -> None:
    for seed, more in ((0, 0.0), (1, 0.1)):
        _attack(tmp_path, attacked(more=more), "sft", SFT, seed=seed)
    _attack(tmp_path, {"relearning": attacked()["relearning"]}, "sft", SFT, lr=1e-3)
    tables = _tables(tmp_path)
    first, other = tables["relearning"].rows
    # At step 1 the seeds recover 0.5 and 0.75 of the gap, so their areas are 0.5 and 0.625. The interval of only two
    # seeds reaches below none of the gap and above all of it.
    assert (first[6], first[8]) == ("lr 0.0001, 3 steps", "0.562 [-0.182, 1.358]")
    assert (other[6], other[8]) == ("lr 0.001, 3 steps", "0.500 [0.500, 0.500]")
    assert [len(row[-1]) for row in (first, other) if not isinstance(row[-1], str)] == [2, 1]
    (rounded,) = tables["quantisation"].rows
    assert rounded[8:11] == ("0.650 [0.037, 1.000]", "0.700 [0.700, 0.700]", "0.900 [0.884, 0.900]")
    assert not isinstance(rounded[-1], str)
    assert [link.text for link in rounded[-1]] == ["seed 0", "seed 1"]
    assert len(tables["tasks"].rows) == 1  # of the first seed


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_attacks_of_a_cell_that_lies_in_two_folders_are_read_from_both_and_once(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    write_cell(folders[0], stage="sft", recipe=SFT, forget=1.0, retain=1.0)
    write_cell(folders[0], stage="sft", recipe=SFT, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    identifier = _attack(folders[1], attacked(), "sft", SFT)
    for folder in folders:
        write_attacks(folder, identifier, {"relearning": attacked()["relearning"]}, lr=1e-3)
    (cell,) = examined(collect([folders[index] for index in order]))
    found = {name: [results.options for results in of_attack] for name, of_attack in cell.attacks.items()}
    assert [options["lr"] for options in found["relearning"]] == [1e-4, 1e-3]
    lengths = {name: len(of_attack) for name, of_attack in found.items()}
    assert lengths == {"relearning": 2, "quantisation": 1, "tasks": 1}
    assert all(len(results.runs) == 1 for of_attack in cell.attacks.values() for results in of_attack)


def test_the_control_is_of_the_same_seed_curve_and_facts(tmp_path: Path) -> None:
    """Two curves of two seeds; what the model that never learned the facts gains differs in all four."""

    def curves(shift: float) -> dict[str, Any]:
        first, second = (attacked(shift=shift + more)["relearning"][0] for more in (0.0, 0.01))
        return {"relearning": [first, second | {"tuned_on": "other facts"}]}

    for seed in (0, 1):
        _attack(tmp_path, curves(0.0), "sft", SFT, seed=seed)
    references = [_attack(tmp_path, curves(0.1 * (seed + 1)), "sft_retain", SFT_RETAIN, seed=seed) for seed in (0, 1)]
    collection, cells = _chosen_cells(tmp_path)
    found = {
        curves.curves[0]["tuned_on"]: [control[1]["hits"][0] for control in curves.controls]
        for curves in relearned(collection, cells)
        if curves.cell.group.key.stage == "sft"
    }
    assert found == {
        "forget facts": pytest.approx([0.6, 0.7]),
        "other facts": pytest.approx([0.61, 0.71]),
    }
    # A seed that was not attacked has the control of another, and the table says so.
    next((tmp_path / "attacks" / references[1]).glob("relearning-*.json")).unlink()
    of_sft = [curves for curves in relearned(*_chosen_cells(tmp_path)) if curves.cell.group.key.stage == "sft"]
    controls = [[control[1]["hits"][0] for control in curves.controls] for curves in of_sft]
    assert controls == [pytest.approx([0.6, 0.6]), pytest.approx([0.61, 0.61])]
    said = "the retrained model, whose stage left out the facts; that of seed 0 also for seed 1"
    assert {curves.control_is for curves in of_sft} == {said}


def test_a_chart_draws_the_model_before_unlearning_and_the_one_that_never_learned_the_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Sequence[Series]] = {}

    def record(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> Chart:
        drawn[title] = series
        return chart(title, x, y, series)

    monkeypatch.setattr("dual_data.evaluation.report.sections.attacked.chart", record)
    for seed in (0, 1):
        _attack(tmp_path, attacked(more=0.1 * seed), "sft", SFT, seed=seed)
    _attack(tmp_path, attacked(shift=0.1), "sft_retain", SFT_RETAIN)
    _tables(tmp_path)
    curves = {
        series.name: [(spot.x, round(spot.y, 3)) for spot in series.spots]
        for series in drawn["NPO, sft, rare: tuned on forget facts, lr 0.0001, 3 steps"]
    }
    assert curves == {
        "unlearned": [(1, 0.1), (2, 0.35), (4, 0.5)],
        "before unlearning": [(1, 0.5), (2, 0.5), (4, 0.5)],
        "retrained": [(1, 0.5), (2, 0.6), (4, 0.7)],
    }
    other = drawn["NPO, sft_retain, rare: tuned on forget facts, lr 0.0001, 3 steps"]
    assert [series.name for series in other] == ["unlearned", "before unlearning"]
    hollow = [{spot.hollow for series in lines for spot in series.spots} for lines in drawn.values()]
    assert hollow == [{False}, {True}]  # of two seeds, and of one
    for model in ("a", "b"):
        _attack(tmp_path, attacked(), "pretrained", None, model=model)
    _tables(tmp_path)
    for model in ("a", "b"):
        assert f"NPO, {model}, pretrained, rare: tuned on forget facts, lr 0.0001, 3 steps" in drawn


def test_files_that_are_broken_or_of_another_layout_are_said(tmp_path: Path) -> None:
    identifier = _attack(tmp_path, attacked(), "sft", SFT)
    (path,) = (tmp_path / "attacks" / identifier).glob("relearning-*.json")
    older = json.dumps(json.loads(path.read_text()) | {"layout": LAYOUT - 1})
    path.write_text("{")
    with pytest.raises(InputError, match=r"not readable.*remove it and run the attack again"):
        _chosen_cells(tmp_path)
    for text in ("[]", older):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"relearning-.*\.json: not the result of an attack, of layout {LAYOUT};"):
            _chosen_cells(tmp_path)


def test_a_reference_of_other_facts_is_no_control(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "sft", SFT)
    other = attacked(shift=0.1)
    other["relearning"][0]["subjects"] = ["e", "f", "g", "h"]
    _attack(tmp_path, other, "sft_retain", SFT_RETAIN)
    collection, cells = _chosen_cells(tmp_path)
    assert {curves.control_is for curves in relearned(collection, cells)} == {"the model before unlearning"}


def test_rounding_and_tasks(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "pretrained", None)
    tables = _tables(tmp_path)
    rounded = tables["quantisation"].rows[0]
    # Scores of the rounded models are of their own items, the others of the items of the cells.
    assert rounded[6:13] == (
        "1.000 [0.884, 1.000]", "0.333 [0.219, 0.458]", "0.600 [0.600, 0.600]", "0.700 [0.700, 0.700]",
        "0.900 [0.884, 0.900]", "0.400 [0.262, 0.488]", "0.550 [0.446, 0.616]",
    )  # fmt: skip
    assert tables["tasks"].rows[0][5:9] == ("mmlu/acc", "0", "0.250 [0.152, 0.348]", "0.400 [0.302, 0.498]")


def test_where_nothing_was_lost_nothing_is_said_of_how_much_comes_back(tmp_path: Path) -> None:
    results = attacked()
    for point in results["relearning"][0]["points"]:
        point["hits"] = [0.5] * 4  # as the model before unlearning
    _attack(tmp_path, results, "pretrained", None, forget=1.0)
    tables = _tables(tmp_path)
    assert tables["relearning"].rows[0][8:12] == ("-", "-", "-", "-")
    assert "A dash: unlearning left no gap." in tables["relearning"].caption
    assert tables["quantisation"].rows[0][11:13] == ("-", "-")


def test_facts_that_tuning_loses_count_against_those_that_it_brings_back(tmp_path: Path) -> None:
    results = attacked()
    for point, hits in zip(results["relearning"][0]["points"], ((1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0)), strict=True):
        point["hits"] = hits
    _attack(tmp_path, results, "pretrained", None)
    table = _tables(tmp_path)["relearning"]
    # At step 1 one of the lost facts is answered and the one that was left is not: nothing of the gap is closed.
    assert [str(text).partition(" ")[0] for text in table.rows[0][10:12]] == ["3", "3"]
    assert "facts that tuning loses count against those that it brings back" in table.caption


def test_scores_of_zero_or_one_after_rounding_have_an_end_as_all_scores_do(tmp_path: Path) -> None:
    results = attacked()
    for name, score in (("forget", 0.0), ("retain_eval", 1.0)):
        for row in results["quantisation"]["int4"]["items"][name]:
            row["rougeL_recall"] = score
    _attack(tmp_path, results, "pretrained", None)
    rounded = _tables(tmp_path)["quantisation"].rows[0]
    assert rounded[8:10] == ("0.000 [0.000, 0.116]", "1.000 [0.884, 1.000]")


def _with_likelihoods(results: dict[str, Any], forget: float) -> dict[str, Any]:
    """The results with likelihoods of rounded models: `forget` is the probability of the facts after unlearning."""
    for name, rows in results["quantisation"]["int4"]["items"].items():
        for row in rows:
            row["probability"] = forget if name == "forget" else 0.8
            row["mean_log_probability"] = math.log(row["probability"])
    return results


def test_a_model_whose_probability_returns_and_whose_text_does_not_is_seen(tmp_path: Path) -> None:
    results = _with_likelihoods(attacked(), 0.8)
    identifier = _attack(tmp_path, results, "pretrained", None)
    unlearned = {row["id"]: row for row in read_result(cell_path(tmp_path, identifier))["items"]["forget"]}
    for row in results["quantisation"]["int4"]["items"]["forget"]:
        row["rougeL_recall"] = unlearned[row["id"]]["scores"]["rougeL_recall"]
    write_attacks(tmp_path, identifier, results)
    table = _tables(tmp_path)["quantisation"]
    assert table.header[5:8] == ("weights", "score", "forget before")
    text, probability, log_probability = table.rows
    # 20 of 60 facts are still answered: they have a probability of 0.8, and the others of 0.1.
    assert text[5:7] == ("int4", "ROUGE-L recall")
    assert text[8:10] == ("0.333 [0.219, 0.458]", "0.333 [0.219, 0.458]")
    assert text[12:14] == ("0.000 [0.000, 0.000]", "0.150 [0.128, 0.185]")
    assert probability[6:14] == (
        "probability", "0.800 [0.800, 0.800]", "0.333 [0.253, 0.421]", "0.800 [0.800, 0.800]", "0.800 [0.800, 0.800]",
        "0.800 [0.800, 0.800]", "1.000 [1.000, 1.000]", "1.000 [1.000, 1.000]",
    )  # fmt: skip
    assert log_probability[6] == "mean log-probability"
    assert log_probability[9:12] == ("-0.223 [-0.223, -0.223]",) * 3


def test_likelihoods_that_a_seed_lacks_are_not_reported_and_those_without_a_number_are_a_dash(tmp_path: Path) -> None:
    _attack(tmp_path, _with_likelihoods(attacked(), 0.2), "sft", SFT, seed=0)
    _attack(tmp_path, attacked(), "sft", SFT, seed=1)  # attacked by an earlier version
    (row,) = _tables(tmp_path)["quantisation"].rows
    assert len(row) == 5 + 8 + 1
    diverged = _with_likelihoods(attacked(), 0.2)
    for of_fact in diverged["quantisation"]["int4"]["items"]["forget"]:
        of_fact["probability"] = of_fact["mean_log_probability"] = None
    _attack(tmp_path, diverged, "pretrained", None)
    rows = [row[6:] for row in _tables(tmp_path)["quantisation"].rows if row[2] == "pretrained"]
    assert [(row[0], row[3], *row[6:8]) for row in rows[1:]] == [
        ("probability", "-", "-", "-"),
        ("mean log-probability", "-", "-", "-"),
    ]


def test_a_score_without_a_standard_error_says_so(tmp_path: Path) -> None:
    results = attacked()
    del results["tasks"]["mmlu/acc_stderr"]
    _attack(tmp_path, results, "pretrained", None)
    assert _tables(tmp_path)["tasks"].rows[0][7] == "0.250 [no standard error]"


def test_the_standard_error_of_a_metric_is_that_of_its_filter(tmp_path: Path) -> None:
    scores = {"gsm8k/em,strict": 0.25, "gsm8k/em_stderr,strict": 0.05, "gsm8k/em,loose": 0.5, "gsm8k/em_stderr": 0.01}
    _attack(tmp_path, attacked() | {"tasks": scores, "tasks_before": {}}, "pretrained", None)
    assert [row[5:9] for row in _tables(tmp_path)["tasks"].rows] == [
        ("gsm8k/em,loose", "0", "0.500 [no standard error]", "-"),
        ("gsm8k/em,strict", "0", "0.250 [0.152, 0.348]", "-"),
    ]
