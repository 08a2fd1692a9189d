"""Sentences on other wordings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.findings.wordings import wording_answer
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import write_cell, write_grid


def _write_leaks(
    folder: Path,
    own: int,
    swapped: int,
    known: int = 60,
    method: str = "NPO",
    seeds: Sequence[int] = (0, 1),
    answers: Sequence[str] = (),
) -> None:
    """A cell of some seeds that lost all facts, of which the first ones were known before; all accept `answers`, too.

    Of every 30 facts, another wording brings out the answers of the first ones, and that of another fact for others.
    """
    names = [write_cell(folder, forget=1.0, retain=1.0)]
    names += [write_cell(folder, method=method, lr=1e-4, seed=seed, forget=0.0, retain=0.9) for seed in seeds]
    every_answer = ", ".join(["France", *(f"Land{number}" for number in range(60))])
    for name in names:
        path = cell_path(folder, name)
        result = json.loads(path.read_text())
        for number, row in enumerate(result["items"]["forget"]):
            wording = row["paraphrases"][0]
            wording["scores"]["contains_answer"] = float(number >= known or number % 30 < own)
            wording["generation"] = every_answer if number % 30 >= 30 - swapped else ""
            row["answers"] = [*answers]
            row["scores"]["contains_answer"] *= float(number < known)
        path.write_text(json.dumps(result))


def test_facts_that_only_another_wording_brings_out_are_said(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    (sentence,) = wording_answer(collection)
    # One fact in ten is answered with its other wording; some of these are no longer answered with the question.
    assert sentence.startswith(
        "In 4 of 4 cells, another wording or prompt still brings out some facts that were known before unlearning and "
        "that the question no longer brings out. No relation has another answer to compare with. "
        "The clearest case is NPO (d, m, sft, popular): 0.0"  # "France" is an accepted answer of all facts
    )
    asked_once = [
        group._replace(
            runs=tuple(
                run._replace(sets={**run.sets, "forget": run.sets["forget"]._replace(rephrased=False)})
                for run in group.runs
            )
        )
        for group in collection.groups
    ]
    assert wording_answer(collection._replace(groups=tuple(asked_once))) == []


@pytest.mark.parametrize("known", [60, 30])
def test_leaks_that_chance_does_not_explain(tmp_path: Path, known: int) -> None:
    _write_leaks(tmp_path, own=10, swapped=1, known=known)  # of facts that were not known, all are brought out
    (sentence,) = wording_answer(collect([tmp_path]))
    assert "In 1 of 1 cell," in sentence
    assert (
        "In 1 of them these are more than by chance (interval of the difference above zero and p below 5%, "
        "not corrected for the number of cells). On average over the cells, they are 30.0 [" in sentence
    )
    assert "percentage points more of the facts than by chance." in sentence
    assert re.search(r"0\.333 \[0\.\d+, 0\.\d+\] of the facts known before, by chance 0\.03", sentence)


def test_cells_of_one_seed_are_not_tested_against_chance(tmp_path: Path) -> None:
    _write_leaks(tmp_path / "one", own=10, swapped=1, seeds=(1,))
    (sentence,) = wording_answer(collect([tmp_path / "one"]))
    assert "They are of one seed, and not tested against chance. On average over the cells, they are 30.0 [" in sentence
    _write_leaks(tmp_path / "two", own=10, swapped=1, method="GradDiff")
    (sentence,) = wording_answer(collect([tmp_path / "one", tmp_path / "two"]))
    assert "In 1 of them these are more than by chance" in sentence
    assert "p below 5%, not corrected for the number of cells; 1 of one seed, not tested). On average over" in sentence


def test_what_cannot_be_tested_against_chance_is_not_said_to_be(tmp_path: Path) -> None:
    _write_leaks(tmp_path / "one", own=10, swapped=1, seeds=(1,))
    every_answer = ["France", *(f"Land{number}" for number in range(60))]
    _write_leaks(tmp_path / "alone", own=10, swapped=1, method="GradDiff", answers=every_answer)
    folders = [tmp_path / "one", tmp_path / "alone"]
    (sentence,) = wording_answer(collect(folders[1:]))
    assert "No relation has another answer to compare with." in sentence
    for path in (folders[1] / "cells").iterdir():  # of other facts, since those of one set have the same answers
        result = json.loads(path.read_text())
        result["cell"]["set"] = result["provenance"]["identity"]["set"] = "popular"
        path.write_text(json.dumps(result))
    (sentence,) = wording_answer(collect(folders))
    assert "They are of one seed or without another answer to compare with, and not tested against chance." in sentence
    _write_leaks(tmp_path / "two", own=10, swapped=1, method="WGA")
    (sentence,) = wording_answer(collect([*folders, tmp_path / "two"]))
    assert "In 1 of them these are more than by chance" in sentence
    assert "; 1 of one seed, not tested; 1 without another answer to compare with). On average" in sentence


def test_leaks_that_chance_explains_are_counted_as_none(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=2, swapped=1)
    (sentence,) = wording_answer(collect([tmp_path]))
    assert "In 1 of 1 cell," in sentence
    assert "In 0 of them these are more than by chance" in sentence


def test_the_mean_leak_is_over_all_cells_and_can_be_rarer_than_chance(tmp_path: Path) -> None:
    _write_leaks(tmp_path / "some", own=6, swapped=0)
    _write_leaks(tmp_path / "none", own=0, swapped=15, method="GradDiff")
    (sentence,) = wording_answer(collect([tmp_path / "some", tmp_path / "none"]))
    assert "In 1 of 2 cells," in sentence
    assert "In 1 of them these are more than by chance" in sentence
    assert "On average over the cells, they are 15.0 [" in sentence  # the mean of 20 more and 50 less
    assert "] percentage points less of the facts than by chance." in sentence


def test_no_leak_is_said(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=0, swapped=0)
    assert wording_answer(collect([tmp_path])) == [
        "In no cell do other wordings bring out facts that the question no longer brings out."
    ]


def test_all_of_a_few_facts_are_neither_beyond_chance_nor_the_clearest_leak(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=30, swapped=0, known=3)  # of two subjects
    few = collect([tmp_path]).groups
    _write_leaks(tmp_path / "many", own=20, swapped=0, method="GradDiff")
    many = collect([tmp_path / "many"])
    (sentence,) = wording_answer(many._replace(groups=(*few, *many.groups)))
    assert "In 2 of 2 cells," in sentence
    assert "In 1 of them these are more than by chance" in sentence
    assert "The clearest case is GradDiff (d, m, pretrained, rare): 0.667" in sentence
