"""Results as arrays, and the chosen learning rate."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dual_data.errors import InputError
from dual_data.evaluation.metrics.summary import summarise
from dual_data.evaluation.report.analysis.collect import collect, collect_side
from dual_data.evaluation.report.analysis.runs import stack
from dual_data.evaluation.results import cell_path, read_result, write_result
from dual_data.system.progress import Progress
from tests.cli.command import dual_data
from tests.evaluation.report.made_up import write_cell, write_grid


def test_groups(tmp_path: Path) -> None:
    write_grid(tmp_path)
    write_cell(tmp_path, method="NPO", lr=1e-2, forget=0, retain=0, status="failed")
    write_cell(tmp_path, method="NPO", lr=3e-3, forget=0.1, retain=0.1, status="stopped")
    collection = collect([tmp_path])
    assert len(collection.runs) == 2 * 2 * 3 * 4 + 2
    assert {run.status for run in collection.unfinished} == {"failed", "stopped"}
    group = next(group for group in collection.groups if group.key[2:4] == ("pretrained", "rare"))
    assert group.lrs == [1e-5, 1e-4, 1e-3, 3e-3]  # the failed one measured nothing
    assert [run.seed for run in group.at(1e-4)] == [0, 1, 2]
    assert stack(group.at(1e-4), "forget", "rougeL_recall").shape == (3, 60)
    assert stack(group.at(1e-4), "forget", "worst").sum() > stack(group.at(1e-4), "forget", "contains_answer").sum()
    # forgetting .8 with retention .5 beats .2 with .9 and everything lost
    assert group.chosen() == 1e-4


def test_results_of_the_same_items_share_their_names(tmp_path: Path) -> None:
    write_grid(tmp_path)
    runs = collect([tmp_path]).runs
    for name in ("forget", "retain_eval"):
        # By identity: thousands of results would keep the same names thousands of times.
        assert len({id(run.sets[name].ids) for run in runs}) == len({run.sets[name].ids for run in runs})
        assert len({id(run.sets[name].subjects) for run in runs}) == len({run.sets[name].subjects for run in runs})
        assert len({id(run.sets[name].facts) for run in runs}) == len({run.sets[name].facts for run in runs})
    panels = [run.panel for run in runs if run.panel is not None]
    assert len(panels) == len(runs)
    for kind in ("birds", "fish"):
        assert len({id(panel.kinds[kind]) for panel in panels}) == 1
    assert len({panel.hash for panel in panels}) == 1


def test_a_panel_of_other_kinds_keeps_its_own(tmp_path: Path) -> None:
    ids = [write_cell(tmp_path, seed=seed, stage="sft", forget=1.0, retain=1.0, panel=1.0) for seed in (0, 1)]
    path = cell_path(tmp_path, ids[0])
    result = json.loads(path.read_text())
    result["panel_items"]["kinds"] = {"other": [0]}
    path.write_text(json.dumps(result))
    ((*runs,),) = collect([tmp_path]).bases.values()
    assert [run.panel is not None and dict(run.panel.kinds) == {"other": (0,)} for run in runs] == [True, False]


def test_progress_is_told_of_every_result(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, seeds in ((first, (0, 1)), (second, (2,))):
        for seed in seeds:
            write_cell(folder, seed=seed, stage="sft", forget=1.0, retain=1.0)
    told: list[tuple[str, int | None, int]] = []

    class Told(Progress):
        @contextmanager
        def task(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
            done: list[int] = []
            yield done.append
            told.append((label, total, sum(done)))

    collect([first, second], progress=Told())
    assert told == [("first: results read", 2, 2), ("second: results read", 1, 1)]


def test_facts_without_a_subject_are_known_by_their_questions(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=1.0))
    result = json.loads(path.read_text())
    for row in result["items"]["forget"][:3]:
        row["subject"] = None
    path.write_text(json.dumps(result))
    ((run,),) = collect([tmp_path]).bases.values()
    questions = [row["question"] for row in result["items"]["forget"][:3]]
    assert run.sets["forget"].subjects[:5] == (*questions, "rare-subject-1", "rare-subject-2")


def test_the_worst_case_is_of_fair_wordings_alone(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=0.0, retain=1.0))
    result = json.loads(path.read_text())
    hit, miss = ({"scores": {"contains_answer": score}} for score in (1.0, 0.0))
    for row, paraphrase, attack, name in zip(
        result["items"]["forget"], (hit, miss, miss, miss), (miss, hit, hit, miss),
        ("prefix", "prefix", "multiple_choice", "prefix"), strict=False,
    ):  # fmt: skip
        row["paraphrases"], row["attacks"] = [row["paraphrases"][0] | paraphrase], [row | attack | {"attack": name}]
    path.write_text(json.dumps(result))
    ((run,),) = collect([tmp_path]).bases.values()
    # The options of a multiple choice hold the answer.
    assert run.sets["forget"].scores["worst"][:4].tolist() == [1, 1, 0, 0]


def test_the_trivial_rule_is_of_the_relation_of_a_fact(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=1.0))
    result = json.loads(path.read_text())
    for index, row in enumerate(result["items"]["forget"]):
        row["question"], row["subject"] = f"Question {index}?", f"Someone {index}"
        row["relation"], row["ground_truth"] = ("P17", "France") if index < 30 else ("P27", "Peru")
    path.write_text(json.dumps(result))
    ((run,),) = collect([tmp_path]).bases.values()
    assert run.rule.scores.tolist() == [1.0] * 60
    assert run.rule.name == "relation_majority"


def test_a_number_that_the_model_did_not_give_is_no_zero(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=1.0))
    result = json.loads(path.read_text())
    result["items"]["forget"][0]["scores"]["probability"] = None
    result["training"] = {"gradient_norm": [1.0, None, 7.5]}
    path.write_text(json.dumps(result))
    ((run,),) = collect([tmp_path]).bases.values()
    assert run.norms == (1.0, 7.5)
    probabilities = run.sets["forget"].scores["probability"]
    assert (np.isnan(probabilities[0]), probabilities[1:].min()) == (True, 0.8)


def test_attacks_alone_are_other_wordings_too(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, forget=1.0, retain=1.0))
    result = json.loads(path.read_text())
    for rows in result["items"].values():
        for row in rows:
            row["attacks"], row["paraphrases"] = [row["paraphrases"][0] | {"attack": "prefix"}], []
    for row in result["items"]["retain_eval"]:
        row["attacks"] = []
    path.write_text(json.dumps(result))
    ((run,),) = collect([tmp_path]).bases.values()
    assert {name: table.rephrased for name, table in run.sets.items()} == {
        "forget": True, "retain_train": True, "retain_eval": False,
    }  # fmt: skip


def test_seeds_are_in_order_whatever_the_names_of_their_files(tmp_path: Path) -> None:
    for seed in range(6):
        write_cell(tmp_path, seed=seed, forget=1.0, retain=1.0)
    (runs,) = collect([tmp_path]).bases.values()
    assert [run.seed for run in runs] == list(range(6))
    paths = [run.path for run in reversed(runs)]
    assert [run.seed for run in collect_side(paths)] == list(range(6))


def test_planned_cells_of_all_folders_are_missing_until_they_are_measured(tmp_path: Path) -> None:
    def plan(folder: Path, *identifiers: str) -> None:
        cells = {identifier: {"method": "NPO", "of": identifier} for identifier in identifiers}
        (folder / "planned.json").write_text(json.dumps({"format": 1, "cells": cells}))

    one, two = tmp_path / "one", tmp_path / "two"
    measured = write_cell(one, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    failed = write_cell(one, method="NPO", lr=1e-2, forget=0.0, retain=0.0, status="failed")
    stopped = write_cell(two, method="NPO", lr=1e-3, forget=0.0, retain=0.0, status="stopped")
    plan(one, measured, failed, "first")
    plan(two, stopped, "second")
    collection = collect([one, two])
    assert collection.planned == 5
    assert [cell["of"] for cell in collection.missing] == [failed, "first", "second"]
    assert collection.incomplete == "2 of 5 planned cells measured, 1 failed"
    printed = dual_data("eval", "report", one, two, "--out", tmp_path / "report")
    assert "Incomplete: 2 of 5 planned cells measured, 1 failed\n\n" in printed.out
    plan(one, measured)
    plan(two, stopped)
    assert collect([one, two]).incomplete == ""


def test_a_score_that_was_edited_is_refused_since_it_is_not_in_the_mean(tmp_path: Path) -> None:
    path = cell_path(tmp_path, write_cell(tmp_path, method="NPO", lr=1e-4, forget=0.3, retain=0.9))
    result = json.loads(path.read_text())
    rows = result["items"]["forget"]
    result["summary"] = {"forget": summarise(rows, 0.0)}
    path.write_text(json.dumps(result))
    assert len(collect([tmp_path]).runs) == 1
    rows[0]["scores"]["rougeL_recall"] = 1.0 - rows[0]["scores"]["rougeL_recall"]
    path.write_text(json.dumps(result))
    message = rf"{re.escape(str(path))}: its summary has .* as the mean rougeL_recall of forget, its items "
    with pytest.raises(InputError, match=message):
        collect([tmp_path])
    for row in rows:
        row["scores"]["rougeL_recall"] = None
    path.write_text(json.dumps(result))
    with pytest.raises(InputError, match=f"{message}none: one of them was edited"):
        collect([tmp_path])


def test_gpu_hours_count_the_models_before_and_each_stage_once(tmp_path: Path) -> None:
    write_cell(tmp_path, stage="sft", forget=0.9, retain=0.9)
    for lr in (1e-4, 1e-3):
        write_cell(tmp_path, stage="sft", method="NPO", lr=lr, forget=0.5, retain=0.9)
    for path in tmp_path.rglob("*.json"):
        if (result := json.loads(path.read_text())).get("provenance"):
            path.write_text(json.dumps({**result, "provenance": {**result["provenance"], "stage": "one stage"}}))
        elif "gpu_hours" in result:
            path.write_text(json.dumps({**result, "stage_gpu_hours": 2.0}))
    assert collect([tmp_path]).gpu_hours == pytest.approx(3 * 0.5 + 2)


def test_results_of_two_settings_are_no_two_seeds_and_a_shared_base_is_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_cell(tmp_path / name, forget=1.0, retain=1.0)
    write_cell(tmp_path / "one", method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    write_cell(tmp_path / "two", method="NPO", lr=1e-3, forget=0.3, retain=0.9)
    collection = collect([tmp_path / "one", tmp_path / "two"])
    assert [len(runs) for runs in collection.bases.values()] == [1]
    assert (len(collection.runs), collection.groups[0].lrs) == (3, [1e-4, 1e-3])
    (path,) = (run.path for run in collection.groups[0].at(1e-4))
    write_result(tmp_path / "one", "other", read_result(path) | {"id": "other"})
    with pytest.raises(InputError, match="settings changed in between; remove the older") as raised:
        collect([tmp_path / "one"])
    assert str(path) in str(raised.value)
    # The advice holds: in a preset of another name, in this folder or another, it is a setting of its own.
    assert "or run the newer ones in a preset of another name" in str(raised.value)
    renamed = read_result(path)["cell"] | {"preset": "q"}
    write_result(tmp_path / "one", "other", read_result(path) | {"id": "other", "cell": renamed})
    assert [group.key.preset for group in collect([tmp_path / "one"]).groups] == ["p", "q"]
    # A cell that failed under other settings measured nothing.
    write_result(tmp_path / "one", "other", read_result(path) | {"id": "other", "items": {}, "status": "failed"})
    assert collect([tmp_path / "one"]).groups[0].lrs == [1e-4]


def _of_preset(folder: Path, preset: str, base: str = "", **coordinates: Any) -> str:
    """Write a cell of another preset, with the id of the cell before unlearning; returns the id of the cell."""
    name = write_cell(folder, **coordinates)
    result = read_result(cell_path(folder, name))
    cell_path(folder, name).unlink()
    identifier = f"{name}-{preset}"
    write_result(
        folder, identifier, result | {"id": identifier, "base": base, "cell": result["cell"] | {"preset": preset}}
    )
    return identifier


def test_presets_that_start_from_one_model_share_its_result(tmp_path: Path) -> None:
    """It is measured under the preset that was run first, and later ones only name it."""
    place: dict[str, Any] = {"stage": "sft", "forget": 0.9, "retain": 0.9}
    unlearned = place | {"method": "NPO", "lr": 1e-4}
    first = _of_preset(tmp_path, "a", **place)
    _of_preset(tmp_path, "a", first, **unlearned)
    second = _of_preset(tmp_path, "b", **place, seed=1)
    for seed, base in enumerate((first, second)):
        _of_preset(tmp_path, "b", base, **unlearned, seed=seed)
    collection = collect([tmp_path])
    before = {group.key.preset: [run.id for run in group.before] for group in collection.groups}
    assert before == {"a": [first], "b": [first, second]}
    assert {key.preset: [run.id for run in runs] for key, runs in collection.bases.items()} == before
    assert [group.chosen() for group in collection.groups] == [1e-4, 1e-4]
    # Five results of half an hour each.
    assert (len(collection.runs), collection.gpu_hours) == (5, 2.5)


def _with_identity(folder: Path, identifier: str, identity: dict[str, Any]) -> None:
    result = read_result(cell_path(folder, identifier))
    provenance = result["provenance"] | {"identity": result["provenance"]["identity"] | identity}
    write_result(folder, identifier, result | {"provenance": provenance})


@pytest.mark.parametrize(
    ("second", "identity", "difference"),
    [
        ({"seed": 1}, {"options": {"beta": 0.1}}, "options.beta"),
        ({"seed": 1}, {"code": "of another version"}, "code"),
        ({"method": "GradDiff"}, {"code": "of another method"}, ""),
        ({"lr": 1e-3}, {"lora": {"rank": 8}}, "lora.rank"),
        ({"forget_set": "popular"}, {"max_new_tokens": 8}, "max_new_tokens"),
        ({"seed": 1}, {"data": {"forget": "other rows"}}, "data.forget"),
        ({"forget_set": "popular"}, {"data": {"forget": "other rows"}}, ""),
        ({"stage": "sft"}, {"data": {"retain_eval": "other answers"}}, ""),
        ({"method": "GradDiff"}, {"template": "of another version"}, "template"),
        ({"method": "GradDiff"}, {"optimisation": {"epochs": 3}}, "optimisation.epochs"),
        ({"method": "none", "lr": 0.0}, {"max_new_tokens": 8}, "max_new_tokens"),
        ({"method": "none", "lr": 0.0}, {"optimisation": {"epochs": 3}}, ""),
    ],
)
def test_recipes_are_neither_averaged_nor_contrasted(
    tmp_path: Path, second: dict[str, Any], identity: dict[str, Any], difference: str
) -> None:
    coordinates: dict[str, Any] = {"method": "NPO", "lr": 1e-4, "forget": 0.3, "retain": 0.9}
    write_cell(tmp_path, **coordinates)
    _with_identity(tmp_path, write_cell(tmp_path, **coordinates | second), identity)
    if not difference:
        assert len(collect([tmp_path]).runs) == 2
        return
    with pytest.raises(
        InputError, match=rf"differ in more than set, method, learning rate and seed \({difference}\): remove"
    ):
        collect([tmp_path])
    if "seed" in second:
        with pytest.raises(InputError, match=difference):
            collect_side(list((tmp_path / "cells").iterdir()))


def test_methods_must_agree_in_what_the_model_before_unlearning_lacks(tmp_path: Path) -> None:
    """Here it comes before both of them in order of name."""
    write_cell(tmp_path, forget=1.0, retain=1.0)
    for method, epochs in (("other", 2), ("plain", 3)):
        identifier = write_cell(tmp_path, method=method, lr=1e-4, forget=0.3, retain=0.9)
        _with_identity(tmp_path, identifier, {"optimisation": {"epochs": epochs}})
    with pytest.raises(InputError, match=r"\(optimisation.epochs\)"):
        collect([tmp_path])


def test_a_cell_that_failed_gives_way_to_its_measurement(tmp_path: Path) -> None:
    first_folder, second_folder = tmp_path / "one", tmp_path / "two"
    coordinates: dict[str, Any] = {"method": "NPO", "lr": 1e-4, "retain": 0.9}
    name = write_cell(first_folder, **coordinates, forget=0.3, status="failed")
    assert [run.id for run in collect([first_folder]).unfinished] == [name]
    write_cell(second_folder, **coordinates, forget=0.3)
    for folders in ([first_folder, second_folder], [second_folder, first_folder]):
        collection = collect(folders)
        assert (len(collection.runs), collection.unfinished, collection.groups[0].lrs) == (1, [], [1e-4])
    # Measured with other settings, and so with another id.
    write_result(first_folder, "other", read_result(cell_path(second_folder, name)) | {"id": "other"})
    collection = collect([first_folder])
    assert (len(collection.runs), collection.unfinished) == (1, [])
    assert [run.id for group in collection.groups for run in group.runs] == ["other"]


@pytest.mark.parametrize("more", [{"facts": 30}, {"retain_rows": "train"}])
def test_a_model_before_unlearning_that_was_asked_other_facts_is_none_to_compare_with(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    write_cell(tmp_path / "few", forget=1.0, retain=1.0, **more)
    write_cell(tmp_path / "all", method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    name = "forget" if "facts" in more else "retain_eval"
    with pytest.raises(InputError, match=f"few/.* and .*all/.* measured different items of {name}, though"):
        collect([tmp_path / "few", tmp_path / "all"])


@pytest.mark.parametrize("place", [("cell", "lr"), ("items", "forget", 0, "scores", "rougeL_recall"), ("training",)])
def test_a_result_that_was_edited_is_named(tmp_path: Path, place: tuple[Any, ...]) -> None:
    write_grid(tmp_path)
    path = next(path for path in sorted((tmp_path / "cells").glob("*.json")) if "none" not in path.name)
    result = json.loads(path.read_text())
    part = result
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = "x"
    path.write_text(json.dumps(result))
    with pytest.raises(InputError, match=rf"{path}: not as a run wrote it \((Value|Type)Error: .*remove it and run"):
        collect([tmp_path])


def test_retain_eval_plays_no_part_in_the_choice(tmp_path: Path) -> None:
    write_grid(tmp_path)
    group = next(group for group in collect([tmp_path]).groups if group.key[2:4] == ("pretrained", "rare"))
    runs = []
    for run in group.runs:
        sets = {**run.sets, "retain_eval": run.sets["retain_eval"]._replace(scores={})}
        runs.append(run._replace(sets=sets))
    assert group._replace(runs=tuple(runs)).chosen() == group.chosen()


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        collect([tmp_path])
    write_grid(tmp_path)
    group = collect([tmp_path]).groups[0]
    first, second, _ = group.at(1e-4)
    other = second._replace(sets={"forget": second.sets["forget"]._replace(ids=("x",) * 60)})
    with pytest.raises(InputError, match="measured other items"):
        stack([first, other], "forget", "rougeL_recall")
    unmeasured = group._replace(runs=(first._replace(sets={"forget": first.sets["forget"]}),))
    with pytest.raises(InputError, match="retain_train was not measured"):
        unmeasured.chosen()
    assert group._replace(before=()).chosen() is None
