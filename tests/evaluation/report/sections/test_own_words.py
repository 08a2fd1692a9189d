"""The table of answers in the model's own words, and what is said of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.analysis.contrast import compare_in_own_words, pair_facts
from dual_data.evaluation.report.analysis.own_words import in_own_words
from dual_data.evaluation.report.analysis.runs import Collection, Group
from dual_data.evaluation.report.document import Table, with_content
from dual_data.evaluation.report.findings.popularity import popularity_answer
from dual_data.evaluation.report.findings.wordings import own_words_answer
from dual_data.evaluation.report.sections.own_words import own_words
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import rescored, write_cell

KNOWN = 40
"""The first facts are answered before unlearning."""


def _write(folder: Path, name: str, *, held: int, likeliest: int, begun: int, log_p: float | None) -> None:
    """Give a result's facts to forget scores in the model's own words; the first of each kind have it."""
    path = cell_path(folder, name)
    result = json.loads(path.read_text())
    for index, row in enumerate(result["items"]["forget"]):
        known = index < KNOWN
        own: dict[str, Any] = {"log_probability": log_p, "likeliest": index < likeliest, "begun": index < begun}
        row["scores"] |= {f"own_words_{score}": float(value) if known else None for score, value in own.items()}
        row["scores"]["contains_answer"] = float(index < held)
    path.write_text(json.dumps(result))


def _collection(folder: Path, likeliest: dict[str, int], held: int = 10) -> Collection:
    """For each set, a model that answers 40 facts before unlearning and `held` after it; so many are likeliest."""
    for name, number in likeliest.items():
        base = write_cell(folder, forget_set=name, forget=1.0, retain=1.0)
        _write(folder, base, held=KNOWN, likeliest=KNOWN, begun=KNOWN, log_p=-0.5)
        for seed in (0, 1):
            cell = write_cell(folder, forget_set=name, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
            _write(folder, cell, held=held, likeliest=number, begun=20, log_p=-1.5)
    return collect([folder])


def test_what_is_left_in_own_words_stands_in_a_table(tmp_path: Path) -> None:
    collection = _collection(tmp_path, {"rare": 22})
    (group,) = collection.groups
    scores = in_own_words(group.runs, group.before, "forget")
    assert scores is not None
    assert scores.facts == KNOWN
    assert (scores.held.value, scores.begun.value, scores.likeliest.value) == (0.25, 0.5, 0.55)
    assert scores.left.value == pytest.approx(12 / 30)
    assert 0 < scores.left.low < 12 / 30 < scores.left.high < 1
    assert scores.change[:3] == pytest.approx((-1.0, -1.0, -1.0))
    assert in_own_words(group.runs, group.before, "retain_eval") is None
    _, table = own_words(collection)
    assert isinstance(table, Table)
    before, after = ([entry for entry in row if isinstance(entry, str)][4:] for row in table.rows)
    assert before[:3] == ["before", "", "40"]
    assert before[3].startswith("1.000 [0.")
    assert before[6] == "-"
    assert after[:2] == ["NPO", "0.0001"]
    assert after[3].startswith("0.250 [")
    assert after[-2:] == ["-", "-"]
    (sentence,) = own_words_answer(collection)
    assert sentence.startswith("Of the answers that the model gave before unlearning and no longer gives, 0.400 [0.")
    assert sentence.endswith("after the words that it put before them then, with NPO (d, m, pretrained, rare).")


def test_the_cells_with_the_most_and_the_least_left_are_named(tmp_path: Path) -> None:
    (sentence,) = own_words_answer(_collection(tmp_path, {"rare": 10, "popular": 40}))
    assert "no longer gives, 1.000 [0." in sentence
    assert "the smallest is 0.000 [0.000, 0.2" in sentence  # of 15 subjects that lost a fact
    assert (
        "with NPO (d, m, pretrained, popular). This is the largest share of 2 cells; the smallest is 0.000" in sentence
    )
    assert sentence.endswith("with NPO (d, m, pretrained, rare), and the mean 0.500.")


def test_a_few_lost_answers_have_no_share_and_nothing_is_said(tmp_path: Path) -> None:
    collection = _collection(tmp_path, {"rare": 40}, held=36)  # 8 lost by two seeds
    (group,) = collection.groups
    scores = in_own_words(group.runs, group.before, "forget")
    assert scores is not None
    assert math.isnan(scores.left.value)
    assert own_words_answer(collection) == []
    assert own_words_answer(_collection(tmp_path, {"rare": 40}, held=35)) != []


def test_results_of_earlier_versions_have_no_such_table(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_cell(tmp_path, forget=1.0, retain=1.0)
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    assert with_content(own_words(collection)) == []
    assert own_words_answer(collection) == []


def test_a_model_that_gave_no_numbers_has_dashes(tmp_path: Path) -> None:
    collection = _collection(tmp_path, {"rare": 22})
    (group,) = collection.groups
    runs = [rescored(run, own_words_log_probability=[math.nan] * 60) for run in group.runs]
    scores = in_own_words(runs, group.before, "forget")
    assert scores is not None
    assert math.isnan(scores.change.value)


def _sides(collection: Collection) -> tuple[Group, Group]:
    popular, rare = sorted(collection.groups, key=lambda group: group.key.set)
    return popular, rare


def test_popular_and_rare_facts_are_compared_in_own_words(tmp_path: Path) -> None:
    collection = _collection(tmp_path, {"rare": 34, "popular": 22})
    popular, rare = _sides(collection)
    pairing = pair_facts(popular, rare)
    assert pairing is not None
    contrast = compare_in_own_words(popular, rare, 1e-4, pairing)
    assert contrast is not None
    # Only pairs that were answered count, and all forty facts of a side are in one.
    assert contrast.facts == KNOWN
    assert (contrast.first.value, contrast.second.value) == pytest.approx((18 / 40, 6 / 40))
    assert contrast.difference.low < 0.3 < contrast.difference.high
    said = [sentence for sentence in popularity_answer(collection).sentences if "still the likeliest" in sentence]
    assert len(said) == 1
    assert said[0].startswith("d, paired facts: after the words that the model put before its answers")
    assert "30.0 [" in said[0]
    less = " percentage points less of the answers about popular facts than of those about rare ones are still the like"
    assert less in said[0]
    assert compare_in_own_words(popular, rare, 1e-4, pairing._replace(pairs=pairing.pairs[:9])) is None
    # Of the pairs of a popular fact with the fifth rare one after it, 35 have answers on both sides.
    fifth_after = compare_in_own_words(
        popular, rare, 1e-4, pairing._replace(pairs=[(fact, fact + 5) for fact in range(50)])
    )
    assert fifth_after is not None
    assert fifth_after.facts == KNOWN - 5
    assert (fifth_after.first.value, fifth_after.second.value) == pytest.approx((13 / 35, 6 / 35))


def test_rows_link_to_the_results(tmp_path: Path) -> None:
    _, table = own_words(_collection(tmp_path, {"rare": 22}))
    assert isinstance(table, Table)
    links = [link for row in table.rows if not isinstance(row[-1], str) for link in row[-1]]
    assert len(links) == 3
    assert all(link.path.is_file() for link in links)
