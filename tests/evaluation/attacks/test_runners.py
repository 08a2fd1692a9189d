"""The attacks on one cell, beside the model before unlearning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dual_data.evaluation.attack_results import ATTACKS
from dual_data.evaluation.attacks import forecast as attack_forecast
from dual_data.evaluation.attacks import run as attack_run
from dual_data.evaluation.attacks import runners
from dual_data.evaluation.attacks.lm_eval_tasks import TaskScores
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.relearning import STEPS, Curve, relearn, relearning_rows, sample, unrelated
from dual_data.evaluation.attacks.run import attack
from dual_data.evaluation.attacks.runners import RUNNERS
from dual_data.evaluation.attacks.targets import AttackOptions, targets
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.training.lora import Adapters
from tests.evaluation.attacks.attacked_grid import GRID, attack_files, opened, write_project
from tests.evaluation.questions import cities


def test_every_attack_can_be_run() -> None:
    assert RUNNERS.keys() == set(ATTACKS)


def test_tasks_are_kept_with_their_items_after_and_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path, adapters=True)
    grid, cells = opened(tmp_path)
    attack_options = AttackOptions(steps=(1,), tasks=("t",), shots=5)
    (target,) = targets(grid, cells, attack_options)
    after, before = (TaskScores({"t/acc": acc}, {"t": [{"doc_id": 0, "acc": acc}]}) for acc in (0.0, 1.0))
    scores, calls = iter((after, before)), list[Any]()

    def lm_eval_scores(*_: object, **options: object) -> TaskScores:
        calls.append(options)
        return next(scores)

    monkeypatch.setattr(attack_run, "check_tasks", lambda *_: None)
    monkeypatch.setattr(runners, "lm_eval_scores", lm_eval_scores)
    monkeypatch.setattr(attack_run, "provenance", lambda *_: {})  # it would ask for the version of lm-eval
    (path,) = attack(grid, [target._replace(todo=("tasks",))], attack_options).written
    content = json.loads(path.read_bytes())
    assert (content["tasks"], content["tasks_items"]) == after
    assert (content["tasks_before"], content["tasks_items_before"]) == before
    assert calls == [{"folder": None, "shots": 5, "rows": 16}] * 2
    assert content["options"]["shots"] == 5


def test_facts_to_retain_that_a_model_is_tuned_on_are_not_those_that_are_measured(tmp_path: Path) -> None:
    write_project(tmp_path, adapters=False)
    grid, cells = opened(tmp_path)
    tuned, held_out = relearning_rows(grid, cells[0])
    sets = grid.sets["pretrained"]
    assert set(tuned["retain facts"]) <= set(sets.retain_train)
    assert set(tuned["retain facts"]).isdisjoint(sets.retain_eval)
    assert {*tuned["forget facts"], *held_out} == {*sets.forget["rare"]}


def test_the_model_that_two_cells_start_from_is_attacked_once_and_with_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_methods = GRID.replace("lrs = [1e-3, 1e-2]", "methods.NPO = {}\nlrs = [1e-3]")
    two_sets = two_methods.replace('rare = "forget.jsonl"', 'rare = "forget.jsonl"\npopular = "neighbours.jsonl"')
    write_project(tmp_path, adapters=True, grid=f"{two_sets}seeds = [0, 1]\n")
    grid, cells = opened(tmp_path)
    options = AttackOptions(steps=(1,), tasks=("t",))
    chosen = targets(grid, cells, options)
    attacked = list[tuple[str, bool]]()

    def relearned(loaded: Loaded, adapters: Adapters, cell: int | None, *arguments: Any, **more: Any) -> Curve:
        attacked.append(("relearning", cell is None))
        return relearn(loaded, adapters, cell, *arguments, **more)

    def rounded(loaded: Loaded, number_format: str, adapters: Adapters, cell: int | None, *stage: Any) -> Any:
        attacked.append(("quantisation", cell is None))
        return quantised(loaded, number_format, adapters, cell, *stage)

    def lm_eval_scores(loaded: Loaded, *_: object, **__: object) -> TaskScores:
        with torch.no_grad():
            output = float(loaded.model(torch.arange(9)[None]).logits.abs().sum())
        attacked.append(("tasks", output == base_output))
        return TaskScores({"t/acc": output}, {})

    monkeypatch.setattr(runners, "relearn", relearned)
    monkeypatch.setattr(runners, "quantised", rounded)
    monkeypatch.setattr(runners, "lm_eval_scores", lm_eval_scores)
    monkeypatch.setattr(attack_run, "check_tasks", lambda *_: None)
    monkeypatch.setattr(attack_run, "provenance", lambda *_: {})  # it would ask for the version of lm-eval
    base = grid_run.load_model(grid.models["tiny"], "cpu")
    with torch.no_grad():
        base_output = float(base.model(torch.arange(9)[None]).logits.abs().sum())
    attack(grid, chosen, options)
    # Relearning is tuned on three sets of rows, for the popular facts on two, as their neighbours are the same facts;
    # rounding is to three number formats; the task is run with the first seed.
    assert Counter(attacked) == {
        ("relearning", False): 4 * 3 + 4 * 2,
        ("relearning", True): 2 * 3 + 2 * 2,
        ("quantisation", False): 8 * 3,
        ("quantisation", True): 2 * 3,
        ("tasks", False): 4,
        ("tasks", True): 1,
    }
    together = attack_files(grid.folder)
    assert len(together) == 8 * 2 + 4
    for path in together:
        path.unlink()
    for target in chosen:
        attack(grid, [target], options)
    assert attack_files(grid.folder) == together


@pytest.mark.parametrize("how", ["merge", "stack"])
def test_what_is_rounded_is_all_there_is_of_the_model_and_of_its_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    stage = f'[stages.sft]\ntrain = ["forget"]\napply = "{how}"\nlr = 1e-2\nlora = {{ targets = ["q_proj"] }}\n\n'
    on_head = GRID.replace("alpha = 8.0", 'alpha = 8.0, targets = ["v_proj", "lm_head"]')
    write_project(tmp_path, adapters=True, grid=stage + on_head + 'stages = ["sft"]\n')
    grid, cells = opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    rounded = list[set[str]]()

    @contextmanager
    def watched(loaded: Loaded, *arguments: Any) -> Iterator[None]:
        linear = {name: layer for name, layer in loaded.model.named_modules() if isinstance(layer, nn.Linear)}
        before = {name: layer.weight for name, layer in linear.items()}
        with quantised(loaded, *arguments), torch.no_grad():
            for layer in linear.values():  # an adapter left on the layer would add to its weights
                assert torch.equal(layer(torch.eye(layer.in_features)[None])[0].T, layer.weight)
            rounded.append({name for name, layer in linear.items() if layer.weight is not before[name]})
            yield

    monkeypatch.setattr(runners, "quantised", watched)
    assert attack(grid, [target._replace(todo=("quantisation",))], AttackOptions()).failed == []
    first, *others = rounded
    assert "lm_head" in first
    assert others == [first] * 5  # three formats, each with its control


def test_relearning_that_diverged_is_said_and_reported(tmp_path: Path) -> None:
    write_project(tmp_path, adapters=True, grid=f"{GRID}seeds = [0, 1, 2, 3]\n")
    grid, cells = opened(tmp_path)
    options, messages = AttackOptions(lr=1e20), list[str]()
    chosen = [target._replace(todo=("relearning",)) for target in targets(grid, cells, options)]
    written = attack(grid, chosen, options, say=messages.append).written
    for content in (json.loads(path.read_bytes()) for path in written):
        label = next(target.cell.label for target in chosen if target.cell.id == content["cell"])
        assert {f"{label}: relearning {note}" for note in content["notes"]} <= set(messages)
        assert {f"{label}: relearning on {curve['tuned_on']}, 64 steps" for curve in content["relearning"]} <= set(
            messages
        )
        for curve in content["relearning"]:
            for points in (curve["points"], curve["control"]):
                assert [point["step"] for point in points] == [0, *STEPS]
    assert any("on forget facts: tuning of the unlearned model ended early" in line for line in messages)
    assert "lr 1e+20, 64 steps" in write_report([grid.folder], tmp_path / "report").markdown.read_text()


def test_relearning_of_one_subject_is_said_and_not_a_crash(tmp_path: Path) -> None:
    write_project(tmp_path, adapters=True)
    grid, cells = opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    sets = grid.sets["pretrained"]
    one_fact = grid._replace(sets={"pretrained": sets._replace(forget={"rare": sets.forget["rare"][:1]})})
    summary = attack_forecast.forecast(one_fact, cells, [target], AttackOptions())
    assert summary.startswith(
        "1 cell to attack, and the model before unlearning of each: 0 curves of relearning, each of 64 steps, and 6 "
    )
    outcome = attack(one_fact, [target._replace(todo=("relearning",))], AttackOptions())
    assert outcome.written == []
    assert "facts of at least two subjects" in outcome.failed[0]


def test_unrelated_facts_share_a_relation_and_no_subject() -> None:
    items = cities()
    other = items[1]._replace(relation="P36")
    assert unrelated({"a": [items[0], items[1], other]}, items[:1]) == [items[1]]
    first, second, third = (item._replace(id="1", subject="") for item in items[:3])
    assert unrelated({"a": [second], "b": [first, third]}, [first]) == [second, third]


def test_what_relearning_tunes_on_does_not_depend_on_the_order_of_the_file() -> None:
    items = cities()
    rows = sample(items, 4)
    assert len({item.id for item in rows}) == 4
    assert rows == sample(items[::-1], 4) != items[:4]
    assert sample([*items, *items], 99) == sample(items, len(items))  # each fact once
    # Two files may give the same ids to different facts.
    others = [item._replace(question=f"{item.question} Tell me.") for item in items]
    assert sample([*items, *others], 99) == sample([*others, *items], 99)
    assert len(sample([*items, *others], 99)) == 2 * len(items)


def test_relearning_of_a_cell_is_of_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path, adapters=True, grid=f"{GRID}seeds = [1, 2]\n")
    grid, cells = opened(tmp_path)
    options, seeds = AttackOptions(steps=(1,)), Counter[int]()

    def noted(*args: Any, seed: int, **rest: Any) -> Curve:
        seeds[seed] += 1
        return relearn(*args, seed=seed, **rest)

    monkeypatch.setattr(runners, "relearn", noted)
    attack(grid, [target._replace(todo=("relearning",)) for target in targets(grid, cells, options)], options)
    assert seeds.keys() == {1, 2}
    assert len(set(seeds.values())) == 1
