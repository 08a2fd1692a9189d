"""The main table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.evaluation.metrics.chance import Rule
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Block, Folded, Table, to_html
from dual_data.evaluation.report.sections.every_cell import every_cell
from dual_data.evaluation.report.sections.main_table import main_numbers, main_rows, main_table
from dual_data.evaluation.report.sections.page import build
from dual_data.evaluation.rows.attack_prompts import GIVES_ANSWER_AWAY, REVERSE
from dual_data.text.rouge import recall_l
from tests.evaluation.report.made_up import SFT, rescored, write_cell


def test_baseline_and_score_are_corrected_in_the_same_draws(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (group,) = collection.groups
    (run,) = group.runs
    # A model with the scores of the trivial rule: at the baseline in every draw.
    at_chance = group._replace(runs=(rescored(run, rougeL_recall=group.before[0].rule.scores),))
    before, after = main_rows(collection._replace(groups=(at_chance,)))
    assert (before.method, after.method) == ("before", "NPO")
    assert after.scores["forget"][:3] == after.baseline[:3] == pytest.approx((0.2, 0.117, 0.283), abs=0.01)
    low, high = after.baseline[1:3]
    assert after.scores["corrected"][:3] == (0, 0, 0)
    # All facts are answered, so only the rule differs between draws, taken at the ends of the score, 0.884 and 1.
    assert before.scores["corrected"][:3] == pytest.approx((1, (0.8843 - high) / (1 - high), 1), abs=1e-3)
    # And where none is answered, at 0 and 0.116.
    nothing = group._replace(runs=(rescored(run, rougeL_recall=[0.0] * 60),))
    _, after = main_rows(collection._replace(groups=(nothing,)))
    assert after.scores["forget"][:3] == pytest.approx((0, 0, 0.1157), abs=1e-3)
    ends = -high / (1 - high), (0.1157 - low) / (1 - low)
    assert after.scores["corrected"][:3] == pytest.approx((-0.25, *ends), abs=1e-3)
    # Nor does it end before the score does where nearly all are answered.
    nearly = group._replace(runs=(rescored(run, rougeL_recall=[1.0] * 59 + [0.8]),))
    _, after = main_rows(collection._replace(groups=(nearly,)))
    assert after.scores["forget"].low == pytest.approx(0.8843, abs=1e-3)
    assert after.scores["corrected"].low == pytest.approx((0.8843 - high) / (1 - high), abs=1e-3)


def test_draws_of_only_facts_that_the_rule_answers_give_no_huge_ends(tmp_path: Path) -> None:
    for seed in range(3):
        write_cell(tmp_path, seed=seed, forget=1.0, retain=1.0, facts=10)
        write_cell(tmp_path, method="NPO", lr=1e-4, seed=seed, forget=0.3, retain=0.9, facts=10)
    collection = collect([tmp_path])
    (group,), (key,) = collection.groups, collection.bases
    # A third of the draws lack the last of five subjects, and a few means of ones are then less than 1.
    before = tuple(run._replace(rule=Rule("", np.array([1.0] * 8 + [0.0] * 2))) for run in group.before)
    group = group._replace(before=before, runs=tuple(rescored(run, rougeL_recall=[0.5] * 10) for run in group.runs))
    _, after = main_rows(collection._replace(groups=(group,), bases={key: before}))
    low, high = after.scores["corrected"][1:3]
    assert -4 <= low < high <= 0.5


def test_the_caption_says_what_baseline_and_worst_case_are_and_how_words_are_compared(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    caption = main_table(main_rows(collect([tmp_path]))).caption
    assert "the trivial rule, the best of 5 short rules that know no fact, on the forget facts measured" in caption
    (hidden,) = GIVES_ANSWER_AWAY
    assert f"brings out; {hidden} is left out, since it shows the answer, and {REVERSE} asks for the subject" in caption
    (pair,) = re.findall(r'by their stems, .*: "(\w+)" counts as "(\w+)"\.', caption)
    assert recall_l(pair[1], f"The {pair[0]} language") == 1
    assert recall_l(pair[1], "The Germany language") == 0


def test_a_further_set_with_the_name_of_a_column_takes_the_place_of_none(tmp_path: Path) -> None:
    more = ["probability", "lr"]
    write_cell(tmp_path, forget=1.0, retain=1.0, more=more)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.0, retain=1.0, more=more)
    _, after = main_numbers(main_rows(collect([tmp_path])), tmp_path)
    assert (after["lr"], after["probability"]) == ("0.0001", "0.1")
    assert float(after["probability_rougeL_recall"]) == float(after["lr_rougeL_recall"]) == 1.0


def test_a_small_probability_is_not_shown_as_zero(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (group,) = collection.groups
    small = group._replace(runs=tuple(rescored(run, probability=[6e-10] * 60) for run in group.runs))
    table = main_table(main_rows(collection._replace(groups=(small,))))
    before, after = (row[table.header.index("probability")] for row in table.rows)
    assert (before, after) == ("0.800 [0.800, 0.800]", "6e-10 [6e-10, 6e-10]")


def test_sets_with_swapped_answers_that_no_stage_taught_show_nothing_that_was_kept(tmp_path: Path) -> None:
    for name, swapped in (("sft", False), ("sft_new", True)):
        settings: dict[str, Any] = {"stage": name, "recipe": SFT | {"counterfactual": swapped}, "more": ["world_facts"]}
        write_cell(tmp_path, **settings, forget=1.0, retain=1.0)
        write_cell(tmp_path, **settings, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    assert {row.key.stage: set(row.others) for row in main_rows(collection)} == {
        "sft": {"world_facts"},
        "sft_new": set(),
    }
    runs = {group.key.stage: group.runs[0] for group in collection.groups}
    assert [runs["sft_new"].shows_retention(name) for name in ("retain_eval", "world_facts")] == [True, False]


def test_two_presets_in_one_place_each_have_their_rows_once(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (group,), ((key, base),) = collection.groups, collection.bases.items()
    other = group._replace(key=group.key._replace(preset="q"))
    combined = collection._replace(groups=(group, other), bases={key: base, key._replace(preset="q"): base})
    assert [(row.key.preset, row.method) for row in main_rows(combined)] == [
        ("p", "before"), ("p", "NPO"), ("q", "before"), ("q", "NPO"),
    ]  # fmt: skip
    _, first, _, second = main_numbers(main_rows(combined), tmp_path)
    assert {name for name in first if first[name] != second[name]} == {"preset"}


def test_rows_count_the_seeds_that_stopped_early(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for method, of_seeds in (("GradDiff", ("done", "done")), ("NPO", ("stopped", "done"))):
        for seed, status in enumerate(of_seeds):
            write_cell(tmp_path, method=method, lr=1e-4, seed=seed, forget=0.3, retain=0.9, status=status)
    collection = collect([tmp_path])
    rows = main_rows(collection)
    table, numbers = main_table(rows), main_numbers(rows, tmp_path)
    shown = ["1", "2", "2 (1 stopped)"]
    assert [row[table.header.index("seeds")] for row in table.rows] == shown
    assert [(row["seeds"], row["stopped"]) for row in numbers] == [("1", "0"), ("2", "0"), ("2", "1")]
    (every,) = [block for block in every_cell(collection) if isinstance(block, Table)]
    assert [row[every.header.index("seeds")] for row in every.rows] == shown


def _tables(blocks: Sequence[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Folded):
            yield from _tables(block.blocks)


def test_every_table_names_preset_and_profile_where_there_are_several(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0, panel=0.8)
    for method, status in (("NPO", "done"), ("GradDiff", "stopped")):
        write_cell(tmp_path, method=method, lr=1e-4, forget=0.3, retain=0.9, panel=0.5, status=status)
    collection = collect([tmp_path])
    ((key, base),) = collection.bases.items()
    keys = [key._replace(preset=preset, profile=profile) for preset, profile in (("p", "raw"), ("q", "chat"))]
    combined = collection._replace(
        groups=tuple(
            group._replace(key=other._replace(method=group.key.method)) for other in keys for group in collection.groups
        ),
        bases=dict.fromkeys(keys, base),
    )
    for some, columns in ((collection, ()), (combined, ("preset", "profile"))):
        table = main_table(main_rows(some))
        tables = [table for table in _tables(build(some, table, [], items=True)) if "stage" in table.header]
        # The main table, pairs, stability, shifts, further scores, prompts, two of the panel, failures.
        assert len(tables) == 9
        for table in tables:
            place = ("data", "model", "stage", "set", *columns)
            start = table.header.index("data")
            assert table.header[start : start + len(place) + 1] in {(*place, "method"), (*place, "measured on")}
            assert all(len(row) == len(table.header) for row in table.rows)
        ids = re.findall(r' id="([^"]+)"', to_html("t", build(some, table, [], items=True), tmp_path))
        assert len(ids) == len(set(ids)) > 20


def test_each_column_has_its_own_score(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    collection = collect([tmp_path])
    (group,) = collection.groups
    scores = {"rougeL_recall": 0.11, "contains_answer": 0.22, "probability": 0.33, "worst": 0.44, "kl": 0.55}
    run = rescored(group.runs[0], **{name: np.full(60, value) for name, value in scores.items()})
    kept = run.sets["retain_eval"]
    kept = kept._replace(scores={**kept.scores, "rougeL_recall": np.full(60, 0.66), "kl": np.full(60, 0.77)})
    group = group._replace(runs=(run._replace(sets={**run.sets, "retain_eval": kept}),))
    _, after = main_rows(collection._replace(groups=(group,)))
    wanted = {
        "forget": 0.11, "answers held": 0.22, "probability": 0.33, "worst case": 0.44, "retain_eval": 0.66,
        "KL on retain": 0.77,
    }  # fmt: skip
    found = {name: score.value for name in wanted if (score := after.scores[name]) is not None}
    assert found == pytest.approx(wanted)
