"""The answer on fine-tuning after unlearning."""

from __future__ import annotations

from pathlib import Path

from dual_data.evaluation.report.attacked import relearned
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.document import Block, Heading
from dual_data.evaluation.report.extras import extras
from dual_data.evaluation.report.findings.relearning import relearning_answer
from dual_data.evaluation.report.findings.section import findings
from tests.evaluation.report.made_up import attacked, write_attacks, write_cell

QUESTION = "Does fine-tuning bring back what was forgotten?"


def write(folder: Path, method: str, shares: tuple[float, float, float], tuned_on: str = "forget facts") -> None:
    """A cell, and how many of its held-out facts it answers at each step; before unlearning half of them."""
    write_cell(folder, forget=1.0, retain=1.0)
    identifier = write_cell(folder, method=method, lr=1e-4, forget=0.3, retain=0.9)
    (curve,) = attacked()["relearning"]
    points = [point | {"hits": [share] * 4} for point, share in zip(curve["points"], shares, strict=True)]
    write_attacks(folder, identifier, {"relearning": [curve | {"points": points, "tuned_on": tuned_on}]})


def answer(folder: Path) -> list[str]:
    collection = collect([folder])
    return relearning_answer(collection, relearned(collection, extras(collection)))


def shown(folder: Path) -> list[Block]:
    collection = collect([folder])
    return findings(collection, relearned(collection, extras(collection)))


def test_the_cells_in_which_the_loss_comes_back_are_counted_by_what_they_were_tuned_on(tmp_path: Path) -> None:
    write(tmp_path, "NPO", (0.1, 0.3, 0.5))
    write(tmp_path, "GradDiff", (0.1, 0.2, 0.2))  # a quarter
    write(tmp_path, "SimNPO", (0.1, 0.1, 0.0))
    write(tmp_path, "UNDIAL", (0.25, 0.375, 0.0))  # half at one step, and over all as much lost as gained
    write(tmp_path, "WGA", (0.1, 0.1, 0.1), "retain facts")
    write(tmp_path, "AdaPop", (0.5, 0.1, 0.1))  # lost nothing
    common = "some of what was lost is shown to come back (interval above zero, not corrected for the number of cells)"
    assert answer(tmp_path) == [
        f"Tuned on forget facts: in 2 of 4 cells, {common}; in 1 of these, half of it is back at some step up to 3. "
        "The clearest case is NPO (d, m, pretrained, rare): 0.500 [0.500, 0.500] of the loss, on average over the "
        "logarithm of the steps.",
        f"Tuned on retain facts: in none of 1 cell, {common}.",
    ]


def test_without_attacks_or_a_loss_nothing_is_said(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    assert answer(tmp_path) == []
    write(tmp_path, "AdaPop", (0.5, 0.5, 0.5))
    assert answer(tmp_path) == []
    assert Heading(QUESTION, 3) not in shown(tmp_path)
    write(tmp_path, "WGA", (0.1, 0.3, 0.5))
    assert Heading(QUESTION, 3) in shown(tmp_path)
