"""The retrained reference, and forget quality against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dual_data.bootstrap import UNKNOWN
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import examined
from dual_data.evaluation.report.analysis.held_out import retrained
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import write_cell

LEARNED: dict[str, Any] = {"train": ["forget", "retain_train", "retain_eval"], "lr": 2e-4, "counterfactual": False}
WITHOUT: dict[str, Any] = LEARNED | {"train": ["retain_train", "retain_eval"]}


def _stage(
    folder: Path, stage: str, recipe: dict[str, Any] | None, *, forget: float = 1.0, forget_after: float = 0.1
) -> None:
    write_cell(folder, stage=stage, recipe=recipe, forget=forget, retain=1.0)
    write_cell(folder, stage=stage, recipe=recipe, method="NPO", lr=1e-4, forget=forget_after, retain=0.9)


@pytest.mark.parametrize(
    ("learned", "without", "expected"),
    [
        (LEARNED, WITHOUT, True),
        (LEARNED, WITHOUT | {"train": ["retain_eval", "retain_train"]}, True),
        (LEARNED, WITHOUT | {"lr": 1e-4}, False),
        (LEARNED | {"counterfactual": True}, WITHOUT, False),
        (LEARNED, LEARNED, False),
        (WITHOUT, WITHOUT, False),
        (None, WITHOUT, False),
    ],
)
def test_only_the_forget_facts_may_be_missing(
    tmp_path: Path, learned: dict[str, Any] | None, without: dict[str, Any], expected: bool
) -> None:
    _stage(tmp_path, "any_name", learned)
    _stage(tmp_path, "other_name", without)
    collection = collect([tmp_path])
    group = next(group for group in collection.groups if group.key.stage == "any_name")
    reference = retrained(collection, group)
    assert (reference is not None) is expected
    assert reference is None or reference.stage == "other_name"


def test_forget_quality_is_against_the_retrained_reference(tmp_path: Path) -> None:
    _stage(tmp_path, "sft", LEARNED, forget_after=0.0)
    _stage(tmp_path, "pretrained", None)
    _stage(tmp_path, "sft_retain", WITHOUT, forget=0.0)
    collection = collect([tmp_path])
    by_stage = {figures.group.key.stage: figures for figures in examined(collection)}
    sft = by_stage["sft"]
    assert sft.quality is not None
    # The forget facts score as in the model that never learned them.
    assert sft.quality.p_value == 1
    others = [figures for stage, figures in by_stage.items() if stage != "sft"]
    assert all(figures.quality is None for figures in others)


def test_model_utility_is_over_all_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_cell(tmp_path, seed=seed, forget=1.0, retain=1.0)
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (figures,) = examined(collection)
    retain_scores = [run.sets["retain_eval"].scores for run in collection.groups[0].runs]
    means = [
        sum(float(scores[name].mean()) for scores in retain_scores) / 2 for name in ("probability", "rougeL_recall")
    ]
    truth = sum(float((1 - scores["truth_ratio"]).clip(min=0).mean()) for scores in retain_scores) / 2
    assert figures.model_utility.value == pytest.approx(3 / sum(1 / value for value in (*means, truth)))
    assert figures.model_utility.low < figures.model_utility.value < figures.model_utility.high


def test_model_utility_before_is_of_the_same_facts(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for seed in (0, 1):
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.5, more=["world_facts"])
    collection = collect([tmp_path])
    (figures,) = examined(collection)
    # Over the only set that both were measured on, before any loss: probability 0.8, recall 1, truth ratio 0.2.
    assert figures.utility_before[:3] == pytest.approx([3 / (1 / 0.8 + 1 + 1 / 0.8)] * 3)
    assert figures.model_utility.high < figures.utility_before.value


def test_a_model_that_diverged_on_some_items_has_no_utility(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    path = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9))
    result = json.loads(path.read_text())
    for score, has_utility in (("truth_ratio", True), ("probability", False)):
        result["items"]["retain_eval"][0]["scores"][score] = None
        path.write_text(json.dumps(result))
        collection = collect([tmp_path])
        (figures,) = examined(collection)
        assert (figures.model_utility is not UNKNOWN) is has_utility
        assert figures.utility_before is not UNKNOWN
