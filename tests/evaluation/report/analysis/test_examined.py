"""Figures of the chosen cells are of the first seed, and compare it with the models of that seed."""

from __future__ import annotations

from pathlib import Path

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import examined
from dual_data.evaluation.report.analysis.frequency import frequency
from dual_data.evaluation.report.analysis.quality import forget_quality
from dual_data.evaluation.results import cell_path, read_result
from tests.evaluation.report.analysis.test_retrained import LEARNED, WITHOUT
from tests.evaluation.report.made_up import write_cell


def test_figures_of_the_first_seed_are_against_the_models_of_that_seed(tmp_path: Path) -> None:
    ids = {}
    for seed, learned, without in ((0, 1.0, 0.1), (1, 0.6, 0.6)):
        for stage, recipe, left in (("sft", LEARNED, learned), ("sft_retain", WITHOUT, without)):
            ids[stage, seed] = write_cell(tmp_path, stage=stage, recipe=recipe, seed=seed, forget=left, retain=1.0)
        ids["NPO", seed] = write_cell(
            tmp_path, stage="sft", recipe=LEARNED, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9
        )
    (figures,) = examined(collect([tmp_path]))
    items = {key: read_result(cell_path(tmp_path, name))["items"]["forget"] for key, name in ids.items()}
    unlearned = items["NPO", 0]
    assert figures.frequency == frequency(items["sft", 0], unlearned) != frequency(items["sft", 1], unlearned)
    of_seed, of_other = (forget_quality(unlearned, items["sft_retain", seed]) for seed in (0, 1))
    assert figures.quality == of_seed != of_other
