"""The held-out facts that forget facts are compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.evaluation.report.analysis.collect import collect, collect_side
from dual_data.evaluation.report.analysis.held_out import HeldOut, held_out, matched_by_popularity
from dual_data.evaluation.report.analysis.runs import Run
from dual_data.evaluation.report.sections.caveats import caveats
from dual_data.evaluation.results import ItemRow, cell_path, read_result
from tests.evaluation.items import item
from tests.evaluation.report.made_up import write_cell

SFT = {"train": ["forget", "retain_train", "retain_eval"]}


def _read(path: Path) -> Run:
    (run,) = collect_side([path])
    return run


def _held_out(folder: Path, **options: Any) -> HeldOut:
    path = cell_path(folder, write_cell(folder, forget=0.5, retain=0.9, method="NPO", lr=1e-4, **options))
    return held_out(read_result(path)["items"], _read(path))


def test_a_set_that_was_never_trained_on(tmp_path: Path) -> None:
    facts = _held_out(tmp_path)
    assert (facts.set, len(facts.forget), len(facts.rows)) == ("retain_eval", 60, 60)
    assert facts.label == "retain_eval (60 pairs of like popularity)"
    assert _held_out(tmp_path, more=["world_facts", "neighbor_relation"]).set == "neighbor_relation"


def test_sets_that_the_stage_was_trained_on_hold_members(tmp_path: Path) -> None:
    facts = _held_out(tmp_path, stage="sft", recipe=SFT)
    assert (facts.set, list(facts.rows)) == ("", [])
    assert facts.label == "none: retain_eval was trained on"
    assert _held_out(tmp_path, stage="sft", recipe=SFT, more=["world_facts"]).set == "world_facts"
    # Sets that were not trained on are held out though the stage has a recipe.
    assert _held_out(tmp_path, stage="sft_format", recipe={"train": ["format"]}).set == "retain_eval"


def test_one_file_as_both_retain_sets_holds_members(tmp_path: Path) -> None:
    assert _held_out(tmp_path, retain_rows="train").label == "none: retain_eval was trained on"


def test_a_set_that_the_stage_knows_by_another_name_holds_members(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.5, retain=0.9, more=["neighbor_relation"]))
    result = read_result(path)
    data = {"name": "d", "neighbor_relation": "abc", "retain_eval": "def"}
    stage = {"name": "sft_format", "recipe": {"train": ["format"]}, "rows": "abc"}
    run = _read(path)._replace(recipe=stage["recipe"])  # type: ignore[arg-type]
    assert held_out(result["items"], run).set == "neighbor_relation"
    result["provenance"]["identity"] = {"stage": stage, "data": data}
    path.write_text(json.dumps(result))
    assert held_out(result["items"], _read(path)).set == "retain_eval"


def test_some_members_are_left_out_and_missing_popularity_is_said(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.5, retain=0.9))
    items = read_result(path)["items"]
    kept, trained = items["retain_eval"][0], items["retain_train"][0]
    kept["question"], kept["ground_truth"] = trained["question"], trained["ground_truth"]
    items["retain_eval"][1]["popularity"] = None
    facts = held_out(items, _read(path))
    assert (len(facts.forget), len(facts.rows)) == (60, 59)
    assert facts.label == "retain_eval (1 trained on left out; unmatched: no popularity)"


def _rows_of_popularity(first: int, popularity: Iterable[float | None]) -> list[ItemRow]:
    return [item(first + number, popularity=count) for number, count in enumerate(popularity)]


def test_pairs_are_of_like_popularity_and_the_others_are_left_out() -> None:
    forget = _rows_of_popularity(0, [2.0**power for power in range(12)])
    candidates = _rows_of_popularity(100, [0, *(2.0**power * 1.05 for power in range(40))])
    for sides in ((forget, candidates), (forget[::-1], candidates[::-1])):  # in whatever order
        left, right, label = matched_by_popularity(*sides)
        assert label == "12 pairs of like popularity"
        assert {row["id"] for row in left} == {row["id"] for row in forget}
        left_popularity, right_popularity = ([row["popularity"] or 0.0 for row in side] for side in (left, right))
        assert right_popularity == [popularity * 1.05 for popularity in left_popularity]
        few_left, few_right, label = matched_by_popularity(*sides[::-1])
        assert (len(few_left), len(few_right), label) == (12, 12, "12 pairs of like popularity")


def test_facts_too_far_apart_are_no_pairs() -> None:
    """Without a caliper, pairing two sides of equal size would match every fact, however far apart."""
    forget, candidates = _rows_of_popularity(0, range(40)), _rows_of_popularity(100, range(1000, 1040))
    assert matched_by_popularity(forget, candidates) == (
        forget,
        candidates,
        "unmatched: under 10 pairs of like popularity",
    )
    near = _rows_of_popularity(200, range(30))
    left, right, label = matched_by_popularity(forget, [*candidates, *near])
    assert {row["id"] for row in right} <= {row["id"] for row in near}
    assert label == f"{len(left)} pairs of like popularity"
    unknown = _rows_of_popularity(300, [None] * 20)
    assert matched_by_popularity(forget, unknown) == (forget, unknown, "unmatched: no popularity")


@pytest.mark.parametrize(("apart", "pairs"), [(0.9, 30), (1.1, 0)])
def test_the_caliper_is_a_quarter_of_a_standard_deviation_of_the_logarithms(apart: float, pairs: int) -> None:
    logs = np.repeat([0.0, 8.0], 15)  # their standard deviation is 4
    forget, candidates = (
        _rows_of_popularity(0, np.expm1(logs).tolist()),
        _rows_of_popularity(100, np.expm1(logs + apart).tolist()),
    )
    label = matched_by_popularity(forget, candidates)[2]
    assert label == (f"{pairs} pairs of like popularity" if pairs else "unmatched: under 10 pairs of like popularity")


@pytest.mark.parametrize("scale", [1e-9, -1.0])
def test_what_is_no_count_has_no_logarithm_by_which_to_pair(scale: float) -> None:
    sides = [_rows_of_popularity(first, [scale * 2.0**power for power in range(12)]) for first in (0, 100)]
    assert matched_by_popularity(*sides) == (*sides, "unmatched: popularity is no count")
    zeros = [_rows_of_popularity(first, [0.0] * 12) for first in (0, 100)]
    assert matched_by_popularity(*zeros)[2] == "12 pairs of like popularity"


@pytest.mark.parametrize(("facts", "label"), [(10, "10 pairs of like"), (9, "unmatched: under 10 pairs of like")])
def test_ten_pairs_are_enough(facts: int, label: str) -> None:
    forget, candidates = _rows_of_popularity(0, [3.0] * facts), _rows_of_popularity(100, [3.0] * 40)
    assert matched_by_popularity(forget, candidates)[2] == f"{label} popularity"


def test_of_facts_of_one_popularity_those_that_are_paired_are_a_sample() -> None:
    forget, candidates = _rows_of_popularity(0, [3.0] * 50), _rows_of_popularity(100, [3.0] * 500)
    _, matched, _ = matched_by_popularity(forget, candidates)
    numbers = sorted(int(row["id"].removeprefix("fact-")) - 100 for row in matched)
    assert len(numbers) == 50
    assert np.mean(numbers) == pytest.approx(249.5, abs=4 * 500 / 12**0.5 / 50**0.5)  # four standard errors


def test_a_result_of_the_sets_that_unlearning_trains_on_holds_nothing_out(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.5, retain=0.9))
    items = {name: rows for name, rows in read_result(path)["items"].items() if name in ("forget", "retain_train")}
    assert held_out(items, _read(path)) == ("", (), (), "none")


def test_facts_are_the_same_by_question_and_answer_and_not_by_id(tmp_path: Path) -> None:
    """A table may give ids only within its file, such as 1, 2, 3 in the file of every set."""
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.5, retain=0.9))
    result = read_result(path)
    for rows in result["items"].values():
        for number, row in enumerate(rows):
            row["id"] = str(number)
    path.write_text(json.dumps(result))
    assert held_out(result["items"], _read(path)).label == "retain_eval (60 pairs of like popularity)"
    assert caveats(collect([tmp_path])) == []
