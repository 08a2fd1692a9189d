"""Links to the results behind a number."""

from __future__ import annotations

from pathlib import Path

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.places import sources
from tests.evaluation.report.made_up import write_cell


def test_links_to_results_are_named_by_all_that_differs_among_them(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        for seed in (0, 1):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr in (1e-5, 1e-4):
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=0.5, retain=0.9)
    first, second = collect([tmp_path]).groups
    assert [[link.text for link in sources(runs)] for runs in (first.at(1e-4), first.runs, [first.before[0]])] == [
        ["seed 0", "seed 1"],
        ["1e-05 seed 0", "1e-05 seed 1", "0.0001 seed 0", "0.0001 seed 1"],
        ["seed 0"],
    ]
    runs = [group.before[0] for group in (first, second)] + [group.at(1e-4)[0] for group in (first, second)]
    assert [link.text for link in sources(runs)] == [
        "pretrained before seed 0", "sft before seed 0", "pretrained 0.0001 seed 0", "sft 0.0001 seed 0",
    ]  # fmt: skip
