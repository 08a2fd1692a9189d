"""Runs of attacks: what is loaded when, what a failure ends, and what the next run repeats."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from dual_data.errors import DualDataError
from dual_data.evaluation.attacks import run as attack_run
from dual_data.evaluation.attacks import runners
from dual_data.evaluation.attacks.run import attack
from dual_data.evaluation.attacks.targets import AttackOptions, targets
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.measuring import open_engine as engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.report.write import write_report
from dual_data.evaluation.settings import ModelSettings
from tests.evaluation.attacks.attacked_grid import GRID, attack_files, opened, write_project


def test_an_attack_that_fails_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path, adapters=True)
    grid, cells = opened(tmp_path)
    options = AttackOptions(steps=(1,))
    (target,) = targets(grid, cells, options)
    lost = target._replace(cell=target.cell._replace(model="lost"))
    broken = grid._replace(models={**grid.models, "lost": ModelSettings(spec="/no/such/model")})

    def refuse(*_: object) -> None:
        raise DualDataError("no")

    with monkeypatch.context() as patch:
        patch.setattr(runners, "quantised", refuse)
        outcome = attack(broken, [lost, target], options)
    assert [path.name.partition("-")[0] for path in outcome.written] == ["relearning"]
    lost_cell, failed = outcome.failed
    assert "relearning, quantisation: /no/such/model" in lost_cell
    assert failed == f"{target.cell.label}: quantisation: no"
    (remaining,) = targets(grid, cells, options)
    assert remaining.todo == ("quantisation",)
    assert attack(grid, [remaining], options).failed == []
    assert targets(grid, cells, options) == []


def test_tasks_that_lm_eval_lacks_are_refused_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, adapters=True)
    grid, cells = opened(tmp_path)
    attack_options = AttackOptions(tasks=("nosuch",), task_folder=tmp_path / "nowhere")
    monkeypatch.setattr(attack_run, "load_model", lambda *_: pytest.fail("loaded"))
    chosen = targets(grid, cells, attack_options)
    with pytest.raises(DualDataError, match=r"lm-eval is not installed|nowhere: no such folder of task definitions"):
        attack(grid, chosen, attack_options)


def test_a_model_is_tried_before_an_adapter_is_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path, adapters=True)
    grid, cells = opened(tmp_path)
    (target,) = targets(grid, cells, AttackOptions())
    hooked: list[bool] = []

    def why_not_fast(loaded: Loaded) -> str:
        hooked.append(any(module._forward_hooks for module in loaded.model.modules()))
        return ""

    monkeypatch.setattr(engine, "_NO_CACHE", {})  # earlier tests have tried its class
    monkeypatch.setattr(engine, "why_not_fast", why_not_fast)
    attack(grid, [target._replace(todo=("quantisation",))], AttackOptions())
    assert hooked == [False]


def test_two_models_are_never_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = '[models.second]\nspec = "tiny-qwen"\ndtype = "float32"\n'
    write_project(tmp_path, adapters=True, grid=second + GRID.replace('["tiny"]', '["tiny", "second"]'))
    grid, cells = opened(tmp_path)
    options = AttackOptions(steps=(1,))
    loaded_before, alive = list[weakref.ref[Any]](), list[int]()

    def load_model(settings: ModelSettings, device: str) -> Loaded:
        alive.append(sum(model() is not None for model in loaded_before))
        loaded = grid_run.load_model(settings, device)
        loaded_before.append(weakref.ref(loaded.model))
        return loaded

    monkeypatch.setattr(attack_run, "load_model", load_model)
    assert len(attack(grid, targets(grid, cells, options), options).written) == 4
    assert alive == [0, 0]


def test_attacks_take_all_seeds_and_go_on_with_the_attack_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path, adapters=True, grid=f"{GRID}seeds = [0, 1, 2]\n")
    grid, cells = opened(tmp_path)
    options = AttackOptions(steps=(1,))
    assert [len(targets(grid, cells, options._replace(seeds=seeds))) for seeds in (0, 1, 2, 9)] == [3, 1, 2, 3]
    chosen = targets(grid, cells, options._replace(seeds=2))
    assert [target.cell.seed for target in chosen] == [0, 1]
    assert [target.todo for target in chosen] == [("relearning", "quantisation")] * 2
    # The tasks, which measure the cost of unlearning, run on the first seed only.
    tasks = targets(grid, cells, options._replace(tasks=("t",)))
    assert [target.todo for target in tasks] == [("relearning", "quantisation", "tasks")] + [
        target.todo for target in chosen
    ]
    alone = targets(grid, cells, options._replace(only=("tasks", "relearning"), tasks=("t",)))
    assert [target.todo for target in alone] == [("relearning", "tasks"), ("relearning",), ("relearning",)]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runners, "quantised", stop)
        with pytest.raises(KeyboardInterrupt):
            attack(grid, chosen, options)
    before = attack_files(grid.folder)
    assert [path.name.partition("-")[0] for path in before] == ["relearning"]
    remaining = targets(grid, cells, options._replace(seeds=2))
    assert [target.todo for target in remaining] == [("quantisation",), ("relearning", "quantisation")]
    assert len(attack(grid, remaining, options).written) == 3
    assert len(list(grid.folder.glob("attacks/*/*.json"))) == 4
    assert before.items() <= attack_files(grid.folder).items()
    text = write_report([grid.folder], tmp_path / "report").markdown.read_text()
    lines = [line for line in text.splitlines() if "lr 0.0001, 1 steps" in line and line.startswith("| cities")]
    assert len(lines) == 3
    assert all("seed 0" in line and "seed 1" in line and "seed 2" not in line for line in lines)
