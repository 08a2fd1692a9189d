"""What the findings share: corrections and words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import Contrast
from dual_data.evaluation.report.findings.popularity import popularity_answer
from dual_data.evaluation.report.findings.sentences import (
    About,
    Compared,
    by_how_much,
    holm_corrected,
    loss_sentence,
    recovery_sentence,
    retention_sentence,
)
from dual_data.evaluation.report.findings.stages import stage_answer
from dual_data.evaluation.report.numbers import points, shown, size
from tests.evaluation.report.findings.comparisons import compared_by
from tests.evaluation.report.made_up import write_cell, write_grid


def test_one_seed_is_compared_and_not_tested(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    groups = [group._replace(runs=tuple(run for run in group.runs if run.seed == 0)) for group in collection.groups]
    sentences, _, _, compared, _ = popularity_answer(collection._replace(groups=tuple(groups)))
    assert ": all 2 comparisons are of one seed and not tested. On average, popular facts lose " in sentences[0]
    assert sentences[0].endswith(" in these models; with other seeds it may be otherwise.")
    assert all(comparison.p_value is None and comparison.contrast.difference.high < 0 for comparison in compared)
    _, compared = stage_answer(collection._replace(groups=tuple(groups)))
    assert min(comparison.contrast.difference.low for comparison in compared) > 0


def test_a_grid_of_one_kind_answers_nothing(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-5, forget=0.2, retain=0.9)
    collection = collect([tmp_path])
    sentences = [answer(collection)[0] for answer in (popularity_answer, stage_answer)]
    popularity = "There are no results of one method and learning rate on both a rare and a popular set"
    stage = "There are no results of a stage beside pretrained"
    assert sentences == [
        [f"{popularity}, so nothing is said about popularity."],
        [f"{stage}, so nothing is said about a training stage first."],
    ]


def test_what_is_not_tested_takes_nothing_from_the_tests_of_the_others() -> None:
    zero = Interval(0.0, 0.0, 0.0)

    def compared(p_value: float, seeds: int) -> Compared:
        contrast = Contrast(Interval(1.0, 0.0, 2.0, p_value), zero, zero, 9, seeds, np.zeros(1))
        return Compared(About("d"), "d, m", contrast, ())

    corrected = holm_corrected([compared(0.01, 3), compared(0.001, 1), compared(0.03, 2), compared(0.02, 3)])
    assert [comparison.p_value for comparison in corrected] == pytest.approx([0.03, None, 0.04, 0.04])


def test_a_difference_in_the_other_direction_is_said_to_be_one() -> None:
    one, other = compared_by("sft", -0.2, 0.01), compared_by("sft", 0.1, None, seeds=1)
    assert retention_sentence("d", "this", "that", [one, other]) == (
        "d: at equal forgetting, this keeps less of the retain_eval score in 1 of 2 comparisons; in the other 1 no "
        "difference is shown (1 of one seed, not tested). On average, this keeps 5.0 [5.0, 5.0] percentage points less "
        "of the retain_eval score than that."
    )
    assert loss_sentence("d", "popular facts", "rare ones", [compared_by("", 0.2, 0.01)]) == (
        "d: popular facts lose more than rare ones in 1 of 1 comparison. There, popular facts lose "
        "0.200 [0.200, 0.200] more ROUGE-L recall than rare ones."
    )
    beside = compared_by("", 0.3, None).contrast
    both = [compared_by("", value, p_value)._replace(beside=beside) for value, p_value in ((-0.2, 0.01), (0.1, 0.2))]
    assert recovery_sentence("d", both) == (
        "d: of what was lost, less of the popular facts than of the rare ones comes back in 1 of 2 comparisons; in the "
        "other 1 no difference is shown. On average, of what popular facts lost, 0.050 [0.050, 0.050] less comes back "
        "than of what rare ones lost, and 0.300 [0.300, 0.300] more where losses of the control count."
    )


@pytest.mark.parametrize("value", [-4e-4, 0.0, 4e-4])
def test_what_reads_as_no_difference_is_said_to_be_none(value: float) -> None:
    tie = [compared_by("", value, 0.5)]
    assert retention_sentence("d", "this", "that", tie).endswith(
        " There, this keeps neither more nor less (difference 0.0 [0.0, 0.0] percentage points) of the retain_eval "
        "score than that."
    )
    assert loss_sentence("d", "popular facts", "rare ones", tie).endswith(
        " There, popular facts lose neither more nor less (difference 0.000 [0.000, 0.000]) ROUGE-L recall than rare "
        "ones."
    )
    assert by_how_much(Interval(0.0, -0.2, 0.1), points, "larger", "smaller") == (
        "neither larger nor smaller (difference 0.0 [-20.0, 10.0] percentage points)"
    )
    assert by_how_much(Interval(-0.2, -0.3, 0.1)) == "0.200 [-0.100, 0.300] less"


@pytest.mark.parametrize("shift", [-4e-4, 4e-4])
def test_no_number_is_a_negative_zero(shift: float) -> None:
    """A small difference of either sign, whose interval ends are rounded to zero, as the ends of equal draws are."""
    interval = Interval(shift, -abs(shift), abs(shift))
    zero = Interval(0.0, 0.0, 0.0)
    assert shown(interval) == shown(size(interval)) == shown(size(zero)) == "0.000 [0.000, 0.000]"
    assert points(interval) == points(size(interval)) == "0.0 [0.0, 0.0] percentage points"
    assert shown(Interval(-0.0006, -0.0006, 0.0)) == "-0.001 [-0.001, 0.000]"
