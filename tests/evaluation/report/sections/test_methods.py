"""Methods against each other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Folded, Points, Table
from dual_data.evaluation.report.sections.methods import method_pairs, pairs
from tests.evaluation.report.made_up import write_cell


def _grid(folder: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> None:
    for seed in (0, 1, 2):
        write_cell(folder, seed=seed, forget=1.0, retain=1.0)
        write_cell(folder, method="GradDiff", lr=1e-4, seed=seed, forget=0.6, retain=0.9)
    for seed in seeds:
        write_cell(folder, method="NPO", lr=1e-5, seed=seed, forget=0.2, retain=0.9)


def test_differences_are_paired_over_seeds_and_corrected(tmp_path: Path) -> None:
    _grid(tmp_path)
    collection = collect([tmp_path])
    forget, retain = method_pairs(collection)
    assert (forget.first.key.method, forget.second.key.method, forget.set) == ("GradDiff", "NPO", "forget")
    means = [
        np.mean([run.sets["forget"].scores["rougeL_recall"].mean() for run in group.runs])
        for group in collection.groups
    ]
    assert forget.difference.value == pytest.approx(means[0] - means[1])
    assert forget.difference.low > 0
    assert forget.corrected == pytest.approx(min(1.0, 2 * (forget.difference.p_value or 0)))
    # Both retain the same facts with the same seeds, so the difference does not vary.
    assert (retain.difference.value, retain.difference.low, retain.difference.high) == (0, 0, 0)
    assert retain.corrected == 1


def test_only_common_seeds_are_compared_and_linked(tmp_path: Path) -> None:
    _grid(tmp_path, seeds=(1,))
    collection = collect([tmp_path])
    pair = method_pairs(collection)[0]
    assert [run.seed for run in pair.runs] == [1, 1]
    assert (pair.seeds, pair.corrected) == (1, None)  # one seed is no test of a method
    *_, fold = pairs(collection)
    assert isinstance(fold, Folded)
    (table,) = fold.blocks
    assert isinstance(table, Table)
    assert dict(zip(table.header, table.rows[0], strict=True))["seeds"] == "1"
    assert "All rows have one seed only, so none is tested." in table.caption
    assert table.rows[0][table.header.index("p (Holm)")] == "-"
    links = table.rows[0][-1]
    assert links
    assert not isinstance(links, str)
    assert all(link.path.exists() for link in links)


def _sentences(folder: Path) -> tuple[str, ...]:
    points = pairs(collect([folder]))[1]
    assert isinstance(points, Points)
    return points.texts


def test_the_pairs_that_differ_are_named(tmp_path: Path) -> None:
    _grid(tmp_path)
    forget, retain = _sentences(tmp_path)
    assert forget.startswith("forget, lower is better: of 1 pair of methods, one differs: GradDiff 0.4")
    assert forget.endswith("] above NPO (pretrained, rare).")
    assert retain == "retain_eval, higher is better: of 1 pair of methods, none is shown to differ."
    for number in range(6):  # of which half keep all, and half nothing, with every seed
        for seed in (0, 1, 2):
            write_cell(tmp_path, method=f"Other{number}", lr=1e-5, seed=seed, forget=0.2, retain=number % 2)
    retain = _sentences(tmp_path)[1]
    found = re.search(r"of 28 pairs of methods, (\d+) differ, most clearly these: ", retain)
    assert found is not None
    assert int(found[1]) >= 9
    assert len(re.findall(r"Other[135] 1\.000 \[1\.000, 1\.000\] above Other[024] \(pretrained, rare\)", retain)) == 5


def test_pairs_of_one_seed_are_said_not_to_be_tested(tmp_path: Path) -> None:
    _grid(tmp_path, seeds=(1,))
    start = "forget, lower is better: "
    assert _sentences(tmp_path)[0] == f"{start}the one pair is of one seed and not tested."
    write_cell(tmp_path, method="WGA", lr=1e-5, seed=1, forget=0.6, retain=0.9)
    assert _sentences(tmp_path)[0] == f"{start}all 3 pairs are of one seed and not tested."
    for seed in (0, 2):
        write_cell(tmp_path, method="WGA", lr=1e-5, seed=seed, forget=0.6, retain=0.9)
    tested = "of 3 pairs of methods (2 of one seed, not tested), none is shown to differ."
    assert _sentences(tmp_path)[0] == f"{start}{tested}"


def test_one_method_has_no_pair(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-5, forget=0.2, retain=0.9)
    assert pairs(collect([tmp_path])) == []
