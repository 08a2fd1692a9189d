"""Sentences on trivial rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dual_data.evaluation.metrics.chance import Rule
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.findings.baselines import baseline_answer
from dual_data.evaluation.results import cell_path
from tests.evaluation.report.made_up import rescored, write_cell, write_grid


def test_the_score_of_the_rule_and_what_becomes_of_its_facts(tmp_path: Path) -> None:
    write_grid(tmp_path)
    sentences, compared = baseline_answer(collect([tmp_path]))
    assert len(sentences) == len(compared) == 4
    rule = (
        r"rule \(majority_answer\) reaches 0\.200 \[0\.1[0-2]\d, 0\.[23]\d\d\], "
        r"the pretrained model 1\.000 \[0\.884, 1\.000\]\. After"
    )
    assert all(re.search(rule, sentence) for sentence in sentences[:2])
    same = "no difference between facts that the rule answers and the others is shown in any of 2 comparisons. On"
    assert all(same in sentence for sentence in sentences[2:])


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        (0.6, 0.0, ""),
        (0.3, 0.0, "is not shown to be more (difference 0.100 [-0.0"),  # more, but it may be by chance
        (0.2, 0.2, "is not shown to be more (difference 0.000 [-0.1"),
        (0.1, 0.3, "is not shown to be more (difference -0.100 [-0.2"),
        (0.0, 0.3, "is less (difference -0.200 [-0.2"),
    ],
)
def test_a_score_that_is_not_shown_to_be_above_the_rule_is_said_to_be_little(
    tmp_path: Path, before: float, after: float, difference: str
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
    (sentence, *_), _ = baseline_answer(collection._replace(groups=(group,), bases={key: (base,)}))
    assert ("]), so little can be called known. After" in sentence) == bool(difference)
    assert f", which {difference}" in sentence or not difference
    assert f"{int(after <= 0.2)} of 1 cell is at or below the rule of its own stage." in sentence


@pytest.mark.parametrize(
    ("unscorable", "unknown"),
    [
        (60, "so nothing can be told from ROUGE-L, which can score none of the answers."),
        (59, "so little can be called known of the 1 fact whose answers ROUGE-L can score."),
        (0, "so little can be called known."),
    ],
)
def test_nothing_is_said_to_be_unknown_that_rouge_cannot_score(tmp_path: Path, unscorable: int, unknown: str) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.0, retain=1.0))
    result = json.loads(path.read_text())
    for row in result["items"]["forget"][:unscorable]:
        row["ground_truth"] = "Київ"
    path.write_text(json.dumps(result))
    (sentence,), _ = baseline_answer(collect([tmp_path]))
    assert sentence.endswith(unknown)


def test_cells_are_held_against_the_rule_of_their_own_stage(tmp_path: Path) -> None:
    write_grid(tmp_path)
    collection = collect([tmp_path])

    def below(rule: float) -> list[list[str]]:
        groups = tuple(
            group._replace(before=tuple(run._replace(rule=Rule("", np.full(60, rule))) for run in group.before))
            if group.key.stage == "sft"
            else group
            for group in collection.groups
        )
        sentences, _ = baseline_answer(collection._replace(groups=groups))
        found = re.findall(r"(\d) of (\d) cells (is|are) at or below the rule of (its|their) own", " ".join(sentences))
        assert all((verb == "is") == (whose == "its") for _, _, verb, whose in found)
        return [counts_and_verb for *counts_and_verb, _ in found]

    low, high = below(0.0), below(1.0)
    assert all(verb == ("is" if number == "1" else "are") for number, _, verb in (*low, *high))
    assert {verb for _, _, verb in (*low, *high)} == {"is", "are"}
    assert [total for _, total, _ in low] == [total for _, total, _ in high] == ["2", "2"]
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
    sentences, compared = baseline_answer(collect([tmp_path]))
    assert [comparison.contrast.facts for comparison in compared] == ([answered] if answered else [])
    assert [sentence for sentence in sentences if "less than" in sentence] == [
        "d, rare: facts that the rule answers lose less than the others in 1 of 1 comparison. "
        "There, facts that the rule answers lose 1.000 [1.000, 1.000] less ROUGE-L recall than the others."
        for _ in compared
    ]
