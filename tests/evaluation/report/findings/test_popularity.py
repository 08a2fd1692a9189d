"""Sentences on popular and rare facts."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.bootstrap import Interval
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import Pairing
from dual_data.evaluation.report.document import Folded, Table
from dual_data.evaluation.report.findings.popularity import _similarity_sentence, common_rate, popularity_answer
from dual_data.evaluation.report.findings.section import findings
from dual_data.evaluation.report.numbers import shown
from tests.evaluation.report.findings.comparisons import with_copy
from tests.evaluation.report.made_up import LRS, rescored, write_cell, write_grid


def test_popular_facts_that_resist(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])
    sentences, (similarity,), unpaired, compared, retained = popularity_answer(collection)
    assert len(sentences) == 3
    for sentence, facts in zip(sentences, ("all", "paired"), strict=False):
        assert sentence.startswith(
            f"d, {facts} facts: popular facts lose less than rare ones in 2 of 2 comparisons. On average, "
            "popular facts lose 0."
        )
        (loss,) = re.findall(r"lose (\d\.\d+) \[(\d\.\d+), (\d\.\d+)\] less ROUGE-L recall than rare ones\.$", sentence)
        value, low, high = map(float, loss)
        assert low < value < high
    assert similarity == (
        "d: each comparison has at least 60 pairs of facts of which the model before unlearning answers both or "
        "neither. On average over the pairs, its log-probability of the popular fact's answer, in the words in which "
        "it gives it, is at most 0.000 [0.000, 0.000] nats a token higher, and its ROUGE-L recall at most "
        "0.000 [0.000, 0.000] higher."
    )
    assert re.match(r"d: at equal forgetting, .* of 2 comparisons", sentences[2])
    assert "On average, forgetting popular facts keeps " in sentences[2]
    assert sentences[2].endswith(" percentage points less of the retain_eval score than forgetting rare ones.")
    assert len(retained) == 2
    (table,) = (
        block
        for fold in findings(collection, [])
        if isinstance(fold, Folded) and "by what is forgotten" in fold.title
        for block in fold.blocks
        if isinstance(block, Table)
    )
    for comparison, row in zip(retained, table.rows, strict=True):
        by_name = dict(zip(table.header, row, strict=True))
        of_sides = (comparison.contrast.first, comparison.contrast.second, comparison.contrast.difference)
        names = ("popular facts forgotten", "rare facts forgotten", "difference")
        assert [by_name[name] for name in names] == [shown(value) for value in of_sides]
        # Above, popular facts lose less at every rate: as much of them is gone where more of the others is, too.
        assert comparison.contrast.first.value < comparison.contrast.second.value
    assert [comparison.label for comparison in unpaired] == [comparison.label for comparison in compared]
    assert len(compared) == 2
    for comparison in compared:
        assert comparison.contrast.difference.high < 0
        assert comparison.contrast.facts == 60  # the same confidences on both sides: all are paired
    uncorrected = sorted(comparison.contrast.difference.p_value or 0 for comparison in compared)
    corrected = sorted(comparison.p_value or 0 for comparison in compared)
    assert corrected == pytest.approx([2 * uncorrected[0], max(2 * uncorrected[0], uncorrected[1])])


@pytest.mark.parametrize(("rare", "popular", "places"), [
    (0.0, 0.0, "m, pretrained, popular; m, pretrained, rare"), (0.0, 1.0, "m, pretrained, rare"), (1.0, 1.0, ""),
])  # fmt: skip
def test_where_the_model_knows_nothing_before_unlearning_it_is_said_at_once(
    tmp_path: Path, rare: float, popular: float, places: str
) -> None:
    for forget_set, share in (("rare", rare), ("popular", popular)):
        write_cell(tmp_path, forget_set=forget_set, forget=share, retain=1.0)
        for lr in LRS:
            write_cell(tmp_path, forget_set=forget_set, method="NPO", lr=lr, forget=0.0, retain=0.9)
    loss, *others = popularity_answer(collect([tmp_path])).sentences
    assert loss.startswith("d, all facts: ")
    said = [sentence for sentence in others if "little" in sentence]
    assert said == others[: len(said)]
    assert said == [
        f"d: before unlearning, the model is not shown to score more than the trivial rule in {places}, so little can "
        "be called known. Comparisons there say little about forgetting."
        for _ in places[:1]
    ]


@pytest.mark.parametrize(
    ("popular", "rare", "where"),
    [
        ((0.9, 0.9), (0.2, 0.5), "In 1 of 2 comparisons and on average (by 0.2"),
        ((0.2, 0.3), (0.9, 0.9), "In 1 of 2 comparisons and on average (by 0."),
        ((0.9, 0.9), (0.2, 0.9), ""),
        ((0.9, 0.5), (0.2, 0.9), ""),  # what forgets less has done the damage
        ((0.5, 0.9), (0.5, 0.5), ""),
    ],
)
def test_what_the_same_cells_keep_is_shown_and_damage_is_said_to_explain_a_part(
    tmp_path: Path, popular: tuple[float, float], rare: tuple[float, float], where: str
) -> None:
    for forget_set, (forget, retain) in (("popular", popular), ("rare", rare)):
        for seed in range(3):
            write_cell(tmp_path, forget_set=forget_set, seed=seed, forget=1.0, retain=1.0)
            scores = {"NPO": (forget, retain), "WGA": (0.5, 0.9)}
            for method, (left, kept) in scores.items():
                place: dict[str, Any] = {"forget_set": forget_set, "seed": seed, "method": method, "lr": 1e-4}
                write_cell(tmp_path, **place, forget=left, retain=kept)
    collection = collect([tmp_path])
    answer = popularity_answer(collection)
    losses = [sentence for sentence in answer.sentences if "facts: " in sentence]
    assert len(losses) == 2
    for sentence in losses:
        _, _, damage = sentence.partition("ROUGE-L recall than rare ones. ")
        assert damage.startswith(where)
        assert damage.endswith(": part of the difference may be general damage.") == bool(where)
    means = {
        group.key.set: np.mean([run.sets["retain_eval"].scores["rougeL_recall"].mean() for run in group.runs])
        for group in collection.groups
        if group.key.method == "NPO"
    }
    tables = [
        block
        for fold in findings(collection, [])
        if isinstance(fold, Folded)
        for block in fold.blocks
        if isinstance(block, Table) and "popular" in block.header
    ]
    assert len(tables) == 2
    for table in tables:
        row = dict(zip(table.header, table.rows[0], strict=True))
        for name, mean in (*means.items(), ("difference", means["popular"] - means["rare"])):
            text = row[f"retain_eval, {name}"]
            assert isinstance(text, str)
            assert float(text.split()[0]) == pytest.approx(mean, abs=6e-4)


@pytest.mark.parametrize(
    ("rows", "seed", "has_kept"), [("held out", 0, True), ("others", 0, False), ("held out", 1, False)]
)
def test_what_is_kept_is_compared_on_the_same_facts_and_seeds_alone(
    tmp_path: Path, rows: str, seed: int, has_kept: bool
) -> None:
    places: tuple[dict[str, Any], ...] = (
        {"forget_set": "popular"},
        {"forget_set": "rare", "seed": seed, "retain_rows": rows},
    )
    for place in places:
        write_cell(tmp_path, **place, forget=1.0, retain=1.0)
        write_cell(tmp_path, **place, method="NPO", lr=1e-4, forget=0.5, retain=0.5)
    (compared,) = popularity_answer(collect([tmp_path])).over_all
    assert (compared.beside is not None) == has_kept


def test_the_pairs_that_differ_most_say_how_similar_paired_facts_are() -> None:
    pairings = [
        Pairing([(0, 0)] * 12, Interval(0.01, 0.0, 0.03), Interval(0.02, -0.01, 0.04)),
        Pairing([(0, 0)] * 11, Interval(-0.04, -0.09, 0.02), Interval(0.0, -0.01, 0.01)),
    ]
    sentence = _similarity_sentence(pairings)
    assert "at least 11 pairs" in sentence
    assert "at most 0.040 [-0.020, 0.090] nats a token lower, and its ROUGE-L recall at most 0.020" in sentence
    assert sentence.endswith("0.020 [-0.010, 0.040] higher.")


def test_the_average_over_datasets_is_as_wide_as_the_facts_that_they_share_make_it(tmp_path: Path) -> None:
    write_grid(tmp_path)
    widths = []
    for collection in (with_copy(collect([tmp_path]), rename) for rename in (False, True)):
        sentences, _, _, compared, _ = popularity_answer(collection)
        (overall,) = [sentence for sentence in sentences if sentence.startswith("Both datasets, paired facts: ")]
        assert "on average over 4 comparisons, popular facts lose " in overall
        assert overall.endswith(" less ROUGE-L recall than rare ones.")
        value, low, high = map(float, re.findall(r"-?\d\.\d+", overall))
        assert value == pytest.approx(-np.mean([c.contrast.difference.value for c in compared]), abs=0.0006)
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / math.sqrt(2), rel=0.15)


def test_no_effect_is_no_claim(tmp_path: Path) -> None:
    write_grid(tmp_path, popular_resists=False)
    sentences = popularity_answer(collect([tmp_path])).sentences
    assert (
        "no difference between popular facts and rare ones is shown in any of 2 comparisons. On average" in sentences[0]
    )
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
    answer = popularity_answer(collection._replace(groups=tuple(groups)))
    assert [sentence.split(":")[0] for sentence in answer.sentences[:2]] == ["d, all facts", "e, all facts"]
    assert answer.sentences[-1] == "Too few facts can be paired in d (1 of 1 comparison); e (1 of 1 comparison)."
    assert not any("paired facts" in sentence for sentence in answer.sentences)
    assert (answer.similarity, len(answer.over_all), answer.over_pairs) == ([], 2, [])


def test_an_effect_in_one_place_is_claimed_of_that_place_alone(tmp_path: Path) -> None:
    write_grid(tmp_path, popular_resists=False)
    for seed in (0, 1, 2):
        for lr, forget in zip(LRS, (0.95, 0.9, 0.85), strict=True):
            write_cell(tmp_path, forget_set="popular", method="NPO", lr=lr, seed=seed, forget=forget, retain=0.9)
    sentences = popularity_answer(collect([tmp_path])).sentences
    claim = "popular facts lose less than rare ones in 1 of 2 comparisons; in the other 1 no difference is"
    assert f"{claim} shown." in sentences[0]


@pytest.mark.parametrize("coordinate", ["preset", "profile"])
def test_presets_and_profiles_are_no_places_of_one_sentence(tmp_path: Path, coordinate: str) -> None:
    for name in ("popular", "rare"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    groups = [
        group._replace(key=group.key._replace(**{coordinate: name})) for name in "pq" for group in collection.groups
    ]
    sentences, _, _, compared, _ = popularity_answer(collection._replace(groups=tuple(groups)))
    assert [sentence.split(":")[0] for sentence in sentences if "all facts" in sentence] == [
        "d, p, all facts",
        "d, q, all facts",
    ]
    assert [comparison.label for comparison in compared] == [
        f"d, {name}, m, pretrained, NPO at 0.0001" for name in "pq"
    ]


def test_rows_of_several_pairs_of_sets_name_theirs(tmp_path: Path) -> None:
    for name in ("popular_1", "rare_1", "popular_5", "rare_5"):
        write_cell(tmp_path, forget_set=name, forget=1.0, retain=1.0)
        write_cell(tmp_path, forget_set=name, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    assert [comparison.label for comparison in popularity_answer(collect([tmp_path])).over_all] == [
        f"d, m, pretrained, {name}, NPO at 0.0001" for name in ("popular_1", "popular_5")
    ]


def test_one_rate_for_both_sets(tmp_path: Path) -> None:
    write_grid(tmp_path)
    groups = {group.key[2:4]: group for group in collect([tmp_path]).groups}
    rate = common_rate(groups["pretrained", "popular"], groups["pretrained", "rare"])
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
    assert common_rate(popular, rare) == common_rate(rare, popular) == 1e-4
    strong = [group._replace(runs=group.runs[2:]) for group in (popular, rare)]
    assert common_rate(*strong) == 1e-3  # of two that are alike, the smaller
    assert common_rate(popular, rare._replace(before=())) is None
    assert common_rate(popular._replace(runs=popular.runs[:1]), rare._replace(runs=rare.runs[1:])) is None
