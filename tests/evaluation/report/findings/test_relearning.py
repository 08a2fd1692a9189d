"""The answer on fine-tuning after unlearning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.examined import examined
from dual_data.evaluation.report.analysis.relearned import relearned
from dual_data.evaluation.report.document import Block, Folded, Heading
from dual_data.evaluation.report.findings.relearning import relearning_answer
from dual_data.evaluation.report.findings.section import findings
from tests.evaluation.report.made_up import write_attacks, write_cell

QUESTION = "Does fine-tuning bring back what was forgotten?"


def write(
    folder: Path,
    method: str,
    shares: Sequence[float],
    tuned_on: str = "forget facts",
    *,
    seeds: int = 3,
    facts: int = 20,
    **options: float,
) -> None:
    """Cells of some seeds, and how many held-out facts they answer at each step; before unlearning half of them."""
    write_cell(folder, forget=1.0, retain=1.0)
    sides = [
        [{"step": step, "hits": [share] * facts} for step, share in zip((0, 1, 3, 9), of_side, strict=False)]
        for of_side in (shares, [0.5] * len(shares))
    ]
    curve = {"tuned_on": tuned_on, "subjects": [*range(facts)], "points": sides[0], "control": sides[1]}
    for seed in range(seeds):
        identifier = write_cell(folder, method=method, lr=1e-4, seed=seed, forget=0.3, retain=0.9)
        write_attacks(folder, identifier, {"relearning": [curve]}, **options)


def answer(folder: Path) -> list[str]:
    collection = collect([folder])
    return relearning_answer(collection, relearned(collection, examined(collection)))[0]


def shown(folder: Path) -> list[Block]:
    collection = collect([folder])
    return findings(collection, relearned(collection, examined(collection)))


COMMON = (
    "some of what was lost is shown to come back (interval above zero and p below 5%, not corrected for the number of "
    "curves"
)


def test_the_curves_in_which_the_loss_comes_back_are_counted_by_what_they_were_tuned_on(tmp_path: Path) -> None:
    write(tmp_path, "NPO", (0.1, 0.3, 0.5))
    write(tmp_path, "GradDiff", (0.1, 0.2, 0.2))  # a quarter
    write(tmp_path, "SimNPO", (0.1, 0.1, 0.0))
    write(tmp_path, "UNDIAL", (0.25, 0.375, 0.0))  # half at one step, and over all as much lost as gained
    write(tmp_path, "WGA", (0.1, 0.1, 0.1, 0.1), "retain facts")  # for longer
    write(tmp_path, "AdaPop", (0.5, 0.1, 0.1))  # lost nothing
    assert answer(tmp_path) == [
        f"Tuned on forget facts: in 2 of 4 curves, {COMMON}); in 1 of these, half of it is back at some step up to 3. "
        "The clearest case is NPO (d, m, pretrained, rare): 0.500 [0.500, 0.500] of the loss, on average over the "
        "logarithm of the steps.",
        f"Tuned on retain facts: in none of 1 curve, {COMMON}).",
    ]


def test_one_seed_and_few_facts_are_no_evidence_that_what_was_lost_comes_back(tmp_path: Path) -> None:
    write(tmp_path, "NPO", (0.1, 0.3, 0.5), facts=2)  # all draws are alike
    assert answer(tmp_path) == [f"Tuned on forget facts: in none of 1 curve, {COMMON})."]
    write(tmp_path, "WGA", (0.1, 0.3, 0.5), seeds=1)
    assert answer(tmp_path) == [f"Tuned on forget facts: in none of 2 curves, {COMMON}; 1 of one seed, not tested)."]
    write(tmp_path / "one", "GradDiff", (0.1, 0.1, 0.1), seeds=1)
    assert answer(tmp_path / "one") == ["Tuned on forget facts: the one curve is of one seed and not tested."]
    write(tmp_path / "one", "WGA", (0.1, 0.3, 0.5), seeds=1)
    assert answer(tmp_path / "one") == [
        "Tuned on forget facts: all 2 curves are of one seed and not tested. The clearest case is WGA (d, m, "
        "pretrained, rare): 0.500 [0.500, 0.500] of the loss, on average over the logarithm of the steps."
    ]


def test_curves_of_several_ways_of_tuning_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "NPO", (0.1, 0.1, 0.1))
    write(tmp_path, "NPO", (0.1, 0.3, 0.5), lr=1e-3)
    (sentence,) = answer(tmp_path)
    assert sentence.startswith("Tuned on forget facts: in 1 of 2 curves, ")
    assert "The clearest case is NPO (d, m, pretrained, rare, lr 0.001, 3 steps): 0.500 [0.500, 0.500]" in sentence
    for lr in (1e-4, 1e-3):
        for forget_set in ("popular", "rare"):
            write_curve(tmp_path / "both", forget_set, "NPO", 8, tuning=lr)
    collection = collect([tmp_path / "both"])
    _, compared = relearning_answer(collection, relearned(collection, examined(collection)))
    assert [entry.label for entry in compared] == [
        f"d, m, pretrained, NPO at 0.0001, tuned on forget facts, lr {lr}, 3 steps" for lr in ("0.0001", "0.001")
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


def write_curve(
    folder: Path,
    forget_set: str,
    method: str,
    back: int,
    *,
    lost: int = 16,
    lr: float = 1e-4,
    control_keeps: int = 20,
    tuning: float = 1e-4,
) -> None:
    """Cells of three seeds that lost some of twenty facts, of which tuning at a rate brings back about so many."""
    for seed in (0, 1, 2):
        write_cell(folder, forget_set=forget_set, seed=seed, forget=1.0, retain=1.0)
        cell = write_cell(folder, forget_set=forget_set, method=method, lr=lr, seed=seed, forget=0.3, retain=0.9)
        left = [index >= lost for index in range(20)]
        after = [held or index % lost < back + seed - 1 for index, held in enumerate(left)]
        kept = [index < control_keeps for index in range(20)]
        curve = {
            "tuned_on": "forget facts",
            "subjects": [f"{forget_set}-{index}" for index in range(20)],
            "points": [{"step": step, "hits": hits} for step, hits in ((0, left), (1, after), (3, after))],
            "control": [{"step": step, "hits": hits} for step, hits in ((0, [True] * 20), (1, kept), (3, kept))],
        }
        write_attacks(folder, cell, {"relearning": [curve]}, lr=tuning)


def test_shares_of_popular_and_rare_facts_that_come_back_are_compared(tmp_path: Path) -> None:
    """Both sets lose sixteen of twenty facts; of the popular ones a quarter comes back, and of the rare ones half."""
    write_curve(tmp_path, "popular", "NPO", 4)
    write_curve(tmp_path, "rare", "NPO", 8)
    write_curve(tmp_path, "popular", "WGA", 4, lost=9)  # too few
    write_curve(tmp_path, "rare", "WGA", 8)
    write_curve(tmp_path, "popular", "SimNPO", 4)
    write_curve(tmp_path, "rare", "SimNPO", 8, lr=1e-3)  # another rate
    collection = collect([tmp_path])
    sentences, (compared,) = relearning_answer(collection, relearned(collection, examined(collection)))
    area = 0.75  # all comes back between the steps 0 and 1
    assert compared.label == "d, m, pretrained, NPO at 0.0001, tuned on forget facts"
    assert compared.contrast.first.value == pytest.approx(area * 0.25)
    assert compared.contrast.second.value == pytest.approx(area * 0.5)
    assert (compared.contrast.seeds, compared.contrast.facts) == (3, 20)
    assert len(compared.runs) == 6
    assert sentences[1].startswith(
        "Tuned on forget facts: no difference between popular and rare facts in the share of the loss that comes back "
        "is shown in the one comparison. There, of what popular facts lost, 0.188 ["
    )
    assert "] less comes back than of what rare ones lost, and 0.188 [" in sentences[1]
    assert sentences[1].endswith("] less where losses of the control count.")
    table = findings(collection, relearned(collection, examined(collection)))[-1]
    assert isinstance(table, Folded)
    assert table.title.startswith("Share of the lost facts that relearning brings back")


@pytest.mark.parametrize(
    ("control_keeps", "with_losses", "is_shown"), [(20, -0.75, True), (4, 0.25, False), (10, -0.125, False)]
)
def test_a_difference_is_shown_only_if_losses_of_the_control_do_not_explain_it(
    tmp_path: Path, control_keeps: int, with_losses: float, is_shown: bool
) -> None:
    """Nothing comes back of popular facts, of which the control loses some, and nearly all of the rare ones."""
    write_curve(tmp_path, "popular", "NPO", 1, control_keeps=control_keeps)
    write_curve(tmp_path, "rare", "NPO", 13)
    collection = collect([tmp_path])
    sentences, (compared,) = relearning_answer(collection, relearned(collection, examined(collection)))
    assert compared.contrast.difference.value == pytest.approx(0.75 * -0.75)
    assert (compared.contrast.difference.p_value or 0) < 0.05
    assert compared.beside is not None
    assert compared.beside.difference.value == pytest.approx(0.75 * with_losses)
    assert ("less of the popular facts than of the rare ones comes back in 1 of 1" in sentences[1]) == is_shown
    assert compared.p_value is not None
    assert (compared.p_value < 0.05) == is_shown
    assert (compared.p_value == 1) == (with_losses > 0)


def test_a_share_may_be_below_minus_one_in_draws_too(tmp_path: Path) -> None:
    """Unlearning took half of the popular facts, and tuning takes the others."""
    write_curve(tmp_path, "popular", "NPO", 0, lost=10)
    write_curve(tmp_path, "rare", "NPO", 5, lost=10)
    for path in (tmp_path / "attacks").rglob("relearning-*.json"):
        attack = json.loads(path.read_text())
        (curve,) = attack["relearning"]
        if curve["subjects"][0].startswith("popular"):
            for point in curve["points"][1:]:
                point["hits"] = [False] * 20
            path.write_text(json.dumps(attack))
    collection = collect([tmp_path])
    _, (compared,) = relearning_answer(collection, relearned(collection, examined(collection)))
    assert compared.contrast.first.value == pytest.approx(-0.75)
    assert compared.contrast.first.low < -1
