"""Sentences that follow from the numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.report import answers
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.report.contrast import Contrast, Pairing
from dual_data.evaluation.results import cell_path
from dual_data.evaluation.statistics import Interval
from tests.evaluation.report.made_up import LRS, rescored, write_cell, write_grid


def test_popular_facts_that_resist(tmp_path: Path) -> None:
    write_grid(tmp_path)
    sentences, (similarity,), compared = answers.popularity_answer(collect([tmp_path]))
    assert len(sentences) == 3
    for sentence, facts in zip(sentences, ("all", "paired"), strict=False):
        assert sentence.startswith(
            f"d, {facts} facts: popular facts are harder to forget in 2 of 2 comparisons. On average, popular facts "
            "lose 0."
        )
        (loss,) = re.findall(r"lose (\d\.\d+) \[(\d\.\d+), (\d\.\d+)\] less ROUGE-L recall than rare ones\.$", sentence)
        value, low, high = map(float, loss)
        assert low < value < high
    assert similarity == (
        "d: each comparison has at least 60 pairs of facts of which the model before unlearning answers both or "
        "neither. On average over the pairs, its log-probability of the popular fact's answer is at most "
        "0.000 [0.000, 0.000] nats a token higher, and its ROUGE-L recall at most 0.000 [0.000, 0.000] higher."
    )
    assert re.match(r"d: at equal forgetting, .* of 2 comparisons", sentences[2])
    assert "On average, forgetting popular facts keeps " in sentences[2]
    assert sentences[2].endswith(" percentage points less of the retain_eval score than forgetting rare ones.")
    assert len(compared) == 2
    for comparison in compared:
        assert comparison.contrast.difference.high < 0
        assert comparison.contrast.facts == 60  # the same confidences on both sides: all are paired
    uncorrected = sorted(comparison.contrast.difference.p_value or 0 for comparison in compared)
    corrected = sorted(comparison.p_value or 0 for comparison in compared)
    assert corrected == pytest.approx([2 * uncorrected[0], max(2 * uncorrected[0], uncorrected[1])])


def test_the_pairs_that_differ_most_say_how_similar_paired_facts_are() -> None:
    pairings = [
        Pairing([(0, 0)] * 12, Interval(0.01, 0.0, 0.03), Interval(0.02, -0.01, 0.04)),
        Pairing([(0, 0)] * 11, Interval(-0.04, -0.09, 0.02), Interval(0.0, -0.01, 0.01)),
    ]
    sentence = answers._similarity_sentence(pairings)
    assert "at least 11 pairs" in sentence
    assert "at most 0.040 [-0.020, 0.090] nats a token lower, and its ROUGE-L recall at most 0.020" in sentence
    assert sentence.endswith("0.020 [-0.010, 0.040] higher.")


def test_no_effect_is_no_claim(tmp_path: Path) -> None:
    write_grid(tmp_path, popular_resists=False)
    sentences = answers.popularity_answer(collect([tmp_path])).sentences
    assert "no difference between popular and rare facts is shown in any of 2 comparisons. On average" in sentences[0]
    assert "harder" not in " ".join(sentences)


def test_data_whose_facts_cannot_be_paired_share_one_sentence(tmp_path: Path) -> None:
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    groups = [
        group._replace(
            key=group.key._replace(data=data),
            before=tuple(
                rescored(run, mean_log_probability=np.full(60, -9.0 * (group.key.set == "rare")))
                for run in group.before
            ),
        )
        for data in ("d", "e")
        for group in collection.groups
    ]
    answer = answers.popularity_answer(collection._replace(groups=tuple(groups)))
    assert [sentence.split(":")[0] for sentence in answer.sentences[:2]] == ["d, all facts", "e, all facts"]
    assert answer.sentences[-1] == "Too few facts can be paired in d (1 of 1 comparison); e (1 of 1 comparison)."
    assert not any("paired facts" in sentence for sentence in answer.sentences)
    assert (answer.similarity, answer.paired) == ([], [])


def test_an_effect_in_one_place_is_claimed_of_that_place_alone(tmp_path: Path) -> None:
    write_grid(tmp_path, popular_resists=False)
    for seed in (0, 1, 2):
        for lr, forget in zip(LRS, (0.95, 0.9, 0.85), strict=True):
            write_cell(tmp_path, forget_set="popular", method="NPO", lr=lr, seed=seed, forget=forget, retain=0.9)
    sentences = answers.popularity_answer(collect([tmp_path])).sentences
    claim = "popular facts are harder to forget in 1 of 2 comparisons; in the other 1 no difference is shown."
    assert claim in sentences[0]


def test_a_stage_that_helps_retention(tmp_path: Path) -> None:
    write_grid(tmp_path)
    sentences, compared = answers.stage_answer(collect([tmp_path]))
    assert sentences[0].startswith("d, sft: at equal forgetting, unlearning after this stage keeps more of the ")
    assert (
        "of 2 comparisons; in the other 1 no difference is shown. On average, unlearning after this stage keeps "
        in sentences[0]
    )
    assert sentences[0].endswith(
        " percentage points more of the retain_eval score than unlearning the pretrained model."
    )
    assert "without its controls the grid cannot say why" in sentences[1]
    assert all(comparison.contrast.difference.value > 0.15 for comparison in compared)
    assert max(comparison.contrast.difference.low for comparison in compared) > 0


def test_smoother_forgetting_is_said_and_linked(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for stage, remaining in (("pretrained", (1.0, 0.9, 0.0)), ("sft", (0.9, 0.5, 0.2))):
            write_cell(tmp_path, stage=stage, seed=seed, forget=1.0, retain=1.0)
            for lr, forget in zip(LRS, remaining, strict=True):
                write_cell(tmp_path, stage=stage, method="NPO", lr=lr, seed=seed, forget=forget, retain=0.9)
    (sentence,), (compared,) = answers.smoothness_answer(collect([tmp_path]))
    assert sentence.startswith("d, sft: the largest jump is on average ")
    assert sentence.endswith(
        "percentage points smaller than on the pretrained model. It is smaller in 1 of 1 comparison."
    )
    assert compared.p_value is None  # no test of a largest change is valid
    assert compared.contrast.difference.high < 0
    assert len(compared.runs) == 2 * 3 * 4


def test_controls_are_set_against_the_gain(tmp_path: Path) -> None:
    write_grid(tmp_path)
    write_cell(tmp_path, stage="sft_format", forget=1.0, retain=1.0)
    for lr, forget, retain in ((1e-5, 0.7, 0.9), (1e-4, 0.25, 0.85), (1e-3, 0.0, 0.3)):
        write_cell(tmp_path, stage="sft_format", method="NPO", lr=lr, forget=forget, retain=retain)
    sentences, _ = answers.stage_answer(collect([tmp_path]))
    assert any(
        "the form of the answers, learned on other subjects (sft_format) gives +" in sentence for sentence in sentences
    )


def test_retention_that_cannot_be_compared_is_said(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-5, forget=0.95, retain=0.9)
    sentences, compared = answers.stage_answer(collect([tmp_path]))
    assert compared == []
    assert "cannot be compared at equal forgetting" in sentences[0]


def test_other_wordings_and_trivial_rules(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    (wordings,) = answers.wording_answer(collection)
    # One fact in ten is answered with its other wording; some of these are no longer answered with the question.
    assert wordings.startswith(
        "In 4 of 4 cells, another wording or prompt still brings out some facts that were known before unlearning and "
        "that the question no longer brings out. No relation has another answer to compare with. "
        "The clearest case is NPO (d, m, pretrained, rare): 0.0"  # "France" is an accepted answer of all facts
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
    assert answers.wording_answer(collection._replace(groups=tuple(asked_once))) == []
    baselines, compared = answers.baseline_answer(collection)
    assert len(baselines) == len(compared) == 4
    rule = "rule reaches 0.200 [0.117, 0.283], the model before unlearning 1.000 [0.884, 1.000]. After"
    assert all(rule in sentence for sentence in baselines[:2])
    same = "no difference between the facts that the rule answers and the others is shown in any of 2 comparisons. On"
    assert [same in sentence for sentence in baselines[2:]] == [True, True]


def _write_leaks(folder: Path, own: int, swapped: int, known: int = 60, method: str = "NPO") -> None:
    """A cell that lost all facts, of which the first ones were known before.

    Of every 30 facts, another wording brings out the answers of the first ones, and that of another fact for others.
    """
    names = [write_cell(folder, forget=1.0, retain=1.0)]
    names.append(write_cell(folder, method=method, lr=1e-4, forget=0.0, retain=0.9))
    every_answer = ", ".join(["France", *(f"Land{number}" for number in range(60))])
    for name in names:
        path = cell_path(folder, name)
        result = json.loads(path.read_text())
        for number, row in enumerate(result["items"]["forget"]):
            wording = row["paraphrases"][0]
            wording["scores"]["contains_answer"] = float(number >= known or number % 30 < own)
            wording["generation"] = every_answer if number % 30 >= 30 - swapped else ""
            row["answers"] = []
            row["scores"]["contains_answer"] *= float(number < known)
        path.write_text(json.dumps(result))


@pytest.mark.parametrize("known", [60, 30])
def test_leaks_that_chance_does_not_explain(tmp_path: Path, known: int) -> None:
    _write_leaks(tmp_path, own=10, swapped=1, known=known)  # of facts that were not known, all are brought out
    (sentence,) = answers.wording_answer(collect([tmp_path]))
    assert "In 1 of 1 cell," in sentence
    assert (
        "In 1 of them this is more frequent than by chance (interval of the difference above zero and p below 0.05, "
        "not corrected for the number of cells). On average over the cells, it is 30.0 [" in sentence
    )
    assert "percentage points more frequent than by chance." in sentence
    assert re.search(r"0\.333 \[0\.\d+, 0\.\d+\] of the facts known before, by chance 0\.03", sentence)


def test_leaks_that_chance_explains_are_counted_as_none(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=2, swapped=1)
    (sentence,) = answers.wording_answer(collect([tmp_path]))
    assert "In 1 of 1 cell," in sentence
    assert "In 0 of them this is more frequent than by chance" in sentence


def test_the_mean_leak_is_over_all_cells_and_can_be_rarer_than_chance(tmp_path: Path) -> None:
    _write_leaks(tmp_path / "some", own=6, swapped=0)
    _write_leaks(tmp_path / "none", own=0, swapped=15, method="GradDiff")
    (sentence,) = answers.wording_answer(collect([tmp_path / "some", tmp_path / "none"]))
    assert "In 1 of 2 cells," in sentence
    assert "In 1 of them this is more frequent than by chance" in sentence
    assert "On average over the cells, it is 15.0 [" in sentence  # the mean of 20 more and 50 less
    assert "] percentage points less frequent than by chance." in sentence


def test_no_leak_is_said(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=0, swapped=0)
    assert answers.wording_answer(collect([tmp_path])) == [
        "In no cell do other wordings bring out facts that the question no longer brings out."
    ]


def test_all_of_a_few_facts_are_neither_beyond_chance_nor_the_clearest_leak(tmp_path: Path) -> None:
    _write_leaks(tmp_path, own=30, swapped=0, known=3)  # of two subjects
    few = collect([tmp_path]).groups
    _write_leaks(tmp_path / "many", own=20, swapped=0, method="GradDiff")
    many = collect([tmp_path / "many"])
    (sentence,) = answers.wording_answer(many._replace(groups=(*few, *many.groups)))
    assert "In 2 of 2 cells," in sentence
    assert "In 1 of them this is more frequent than by chance" in sentence
    assert "The clearest case is GradDiff (d, m, pretrained, rare): 0.667" in sentence


def test_one_seed_is_compared_and_not_tested(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    groups = [group._replace(runs=tuple(run for run in group.runs if run.seed == 0)) for group in collection.groups]
    sentences, _, compared = answers.popularity_answer(collection._replace(groups=tuple(groups)))
    shown = "no difference between popular and rare facts is shown in any of 2 comparisons (2 of one seed, not tested)."
    assert shown in sentences[0]
    assert all(comparison.p_value is None and comparison.contrast.difference.high < 0 for comparison in compared)
    sentences, compared = answers.stage_answer(collection._replace(groups=tuple(groups)))
    assert min(comparison.contrast.difference.low for comparison in compared) > 0
    assert sentences[1] == "d: fine-tuning first (sft) is not shown to keep more of the retain score."


@pytest.mark.parametrize("coordinate", ["preset", "profile"])
def test_presets_and_profiles_are_no_places_of_one_sentence(tmp_path: Path, coordinate: str) -> None:
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    groups = [
        group._replace(key=group.key._replace(**{coordinate: name})) for name in "pq" for group in collection.groups
    ]
    sentences, _, compared = answers.popularity_answer(collection._replace(groups=tuple(groups)))
    assert [sentence.split(":")[0] for sentence in sentences if "all facts" in sentence] == [
        "d, p, all facts",
        "d, q, all facts",
    ]
    assert [comparison.label for comparison in compared] == [
        f"d, {name}, m, pretrained, NPO at 0.0001" for name in "pq"
    ]


@pytest.mark.parametrize(("before", "after", "known"), [(0.3, 0.0, True), (0.2, 0.2, False), (0.1, 0.3, False)])
def test_a_score_at_or_below_the_rule_is_said_to_be_little(
    tmp_path: Path, before: float, after: float, known: bool
) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (group,), ((key, bases),) = collection.groups, collection.bases.items()
    (base,), (run,) = (
        [rescored(run, rougeL_recall=np.arange(60) < 60 * share) for run in runs]
        for runs, share in ((bases, before), (group.runs, after))
    )
    group = group._replace(before=(base,), runs=(run,))
    (sentence, *_), _ = answers.baseline_answer(collection._replace(groups=(group,), bases={key: (base,)}))
    assert ("so little can be called known" not in sentence) == known
    assert f"{int(after <= 0.2)} of 1 cell is at or below the rule of their own stage." in sentence


def test_cells_are_held_against_the_rule_of_their_own_stage(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])

    def below(rule: float) -> list[tuple[str, str]]:
        groups = tuple(
            group._replace(before=tuple(run._replace(trivial=np.full(60, rule)) for run in group.before))
            if group.key.stage == "sft"
            else group
            for group in collection.groups
        )
        sentences, _ = answers.baseline_answer(collection._replace(groups=groups))
        return re.findall(r"(\d) of (\d) cells (?:is|are) at or below the rule of their own", " ".join(sentences))

    low, high = below(0.0), below(1.0)
    assert [total for _, total in low] == [total for _, total in high] == ["2", "2"]
    assert [int(above[0]) - int(under[0]) for above, under in zip(high, low, strict=True)] == [1, 1]


@pytest.mark.parametrize(("facts", "answered"), [(60, 12), (46, 10), (45, 0)])
def test_it_is_said_where_the_facts_with_the_most_frequent_answer_are_kept_and_the_others_lost(
    tmp_path: Path, facts: int, answered: int
) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0, facts=facts)
    for seed in (0, 1):
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.0, retain=0.9, facts=facts)
    for path in (tmp_path / "cells").glob("*.json"):
        result = json.loads(path.read_text())
        for row in result["items"]["forget"]:
            row["scores"]["rougeL_recall"] = float(
                result["cell"]["method"] == "none" or row["ground_truth"] == "France"
            )
        path.write_text(json.dumps(result))
    sentences, compared = answers.baseline_answer(collect([tmp_path]))
    assert [comparison.contrast.facts for comparison in compared] == ([answered] if answered else [])
    assert [sentence for sentence in sentences if "harder" in sentence] == [
        "d, rare: the facts that the rule answers are harder to forget than the others in 1 of 1 comparison. "
        "There, the facts that it answers lose 1.000 [1.000, 1.000] less ROUGE-L recall than the others."
        for _ in compared
    ]


def test_a_grid_of_one_kind_answers_nothing(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-5, forget=0.2, retain=0.9)
    collection = collect([tmp_path])
    sentences = [answer(collection)[0] for answer in (answers.popularity_answer, answers.stage_answer)]
    popularity = "There are no results of one method and learning rate on both a rare and a popular set"
    stage = "There are no results of a stage beside pretrained"
    assert sentences == [
        [f"{popularity}, so nothing is said about popularity."],
        [f"{stage}, so nothing is said about a training stage first."],
    ]
    # Where planned cells are missing, the sentence says "yet".
    cell = {"stage": "pretrained", "set": "rare"}
    for missing, with_yet in (
        (cell, ()), (cell | {"set": "popular"}, (popularity,)), (cell | {"stage": "sft"}, (stage,)),
    ):  # fmt: skip
        partial = collection._replace(planned=3, missing=(missing,))
        for answer, start in ((answers.popularity_answer, popularity), (answers.stage_answer, stage)):
            assert answer(partial)[0][0].startswith(f"{start} yet, " if start in with_yet else f"{start}, ")


def test_a_stage_without_the_pretrained_model_beside_it_is_not_said_to_be_none(tmp_path: Path) -> None:
    write_cell(tmp_path, stage="sft", forget=1.0, retain=1.0)
    write_cell(tmp_path, stage="sft", method="NPO", lr=1e-5, forget=0.2, retain=0.9)
    (sentence,) = answers.stage_answer(collect([tmp_path]))[0]
    assert sentence.startswith("There are no results of one method both after a stage and on the pretrained model, so ")


def test_one_rate_for_both_sets(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    rate = answers.common_rate(groups["pretrained", "popular"], groups["pretrained", "rare"])
    assert rate == pytest.approx(1e-4)


def test_one_rate_for_both_sets_is_that_of_the_best_mean_and_not_of_either(tmp_path: Path) -> None:
    forget_scores = {"popular": (0.95, 0.5, 0.3, 0.3), "rare": (0.4, 0.4, 0.4, 0.4)}
    retain_scores = {"popular": (1.0, 0.9, 0.9, 0.9), "rare": (1.0, 0.9, 0.2, 0.2)}
    for name, by_rate in forget_scores.items():
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        for lr, forget, retain in zip((*LRS, 1e-2), by_rate, retain_scores[name], strict=True):
            write_cell(tmp_path, forget_set=name, method="NPO", lr=lr, forget=forget, retain=retain)
    popular, rare = collect([tmp_path]).groups
    # Alone, the popular set would be forgotten at 1e-3 and the rare one at 1e-5.
    assert (popular.chosen(), rare.chosen()) == (1e-3, 1e-5)
    assert answers.common_rate(popular, rare) == answers.common_rate(rare, popular) == 1e-4
    strong = [group._replace(runs=group.runs[2:]) for group in (popular, rare)]
    assert answers.common_rate(*strong) == 1e-3  # of two that are alike, the smaller
    assert answers.common_rate(popular, rare._replace(before=())) is None
    assert answers.common_rate(popular._replace(runs=popular.runs[:1]), rare._replace(runs=rare.runs[1:])) is None


def test_what_is_not_tested_takes_nothing_from_the_tests_of_the_others() -> None:
    zero = Interval(0.0, 0.0, 0.0)

    def compared(p_value: float, seeds: int) -> answers.Compared:
        contrast = Contrast(Interval(1.0, 0.0, 2.0, p_value), zero, zero, 9, seeds, np.zeros(1))
        return answers.Compared(("d", ""), "d, m", contrast, ())

    corrected = answers.holm_corrected([compared(0.01, 3), compared(0.001, 1), compared(0.03, 2), compared(0.02, 3)])
    assert [comparison.p_value for comparison in corrected] == pytest.approx([0.03, None, 0.04, 0.04])


def _compared(stage: str, value: float, p_value: float | None, seeds: int = 2) -> answers.Compared:
    zero = Interval(0.0, 0.0, 0.0)
    contrast = Contrast(Interval(value, value, value, p_value), zero, zero, 9, seeds, np.full(3, value))
    return answers.Compared(("d", stage), "d, m", contrast, (), p_value)


def test_a_difference_in_the_other_direction_is_said_to_be_one() -> None:
    one, other = _compared("sft", -0.2, 0.01), _compared("sft", 0.1, None, seeds=1)
    assert answers._retention_sentence("d", "this", "that", [one, other]) == (
        "d: at equal forgetting, this keeps less of the retain_eval score in 1 of 2 comparisons; in the other 1 no "
        "difference is shown (1 of one seed, not tested). On average, this keeps 5.0 [5.0, 5.0] percentage points less "
        "of the retain_eval score than that."
    )
    assert answers._popularity_sentence("d", [_compared("", 0.2, 0.01)]) == (
        "d: popular facts are easier to forget in 1 of 1 comparison. There, popular facts lose 0.200 [0.200, 0.200] "
        "more ROUGE-L recall than rare ones."
    )


def test_each_control_has_its_own_gain() -> None:
    of_sft = [_compared("sft", 0.2, 0.01), _compared("sft", 0.1, 0.5)]
    gains = {"sft_format": 0.05, "sft_new": 0.08, "sft_retain": -0.01}
    assert answers._control_sentences("d", [*of_sft, *(_compared(*gain, 0.5) for gain in gains.items())]) == [
        "d: fine-tuning first (sft) keeps more of the retain score in 1 of 2 comparisons, +15.0 [+15.0, +15.0] "
        "percentage points on average. Of its controls, against the same pretrained model, the form of the answers, "
        "learned on other subjects (sft_format) gives +5.0 [+5.0, +5.0] percentage points; facts that were first "
        "learned in that step (sft_new) gives +8.0 [+8.0, +8.0] percentage points; fine-tuning without the facts to "
        "forget (sft_retain) gives -1.0 [-1.0, -1.0] percentage points."
    ]


@pytest.mark.parametrize(("value", "p_value"), [(-0.1, 0.01), (-0.3, 0.5)])
def test_no_gain_of_fine_tuning_is_claimed_against_as_many_losses_or_a_mean_loss(value: float, p_value: float) -> None:
    compared = [_compared("sft", 0.2, 0.01), _compared("sft", value, p_value)]
    assert answers._control_sentences("d", compared) == [
        "d: fine-tuning first (sft) is not shown to keep more of the retain score."
    ]


def test_nothing_is_said_of_jumps_that_no_stage_has(tmp_path: Path) -> None:
    for stage in ("pretrained", "sft"):
        write_cell(tmp_path, stage=stage, forget=1.0, retain=1.0)
        write_cell(tmp_path, stage=stage, method="NPO", lr=1e-4, forget=0.3, retain=0.9)  # one rate, so no step
    assert answers.smoothness_answer(collect([tmp_path])) == ([], [])
