"""What reaches training and measuring: each cell's own set, seed and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dual_data.evaluation.grid import stage_run, stages
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import BASE, cell_path, read_result
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.training.optimisation import LoraSpec
from dual_data.evaluation.training.train import train
from tests.evaluation.grid.small_grid import FILE, opened


def test_every_cell_is_trained_and_measured_with_its_own_set_seed_and_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = FILE.replace('sets = ["rare"]\n', "").replace("GradAscent = {}", "DPO = { beta = 0.3 }")
    grid, cells = opened(project, file=file.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-3]"))
    trained, of_stages, compared = list[Any](), list[Any](), list[bool]()

    def train_cell(loaded: Any, adapters: Any, method: Any, data: Any, *args: Any, **rest: Any) -> Any:
        rows = tuple(data.forget), tuple(data.refusal)
        trained.append((method.name, adapters.seeds, adapters.spec, data.seed, *rows, rest["options"]))
        return train(loaded, adapters, method, data, *args, **rest)

    def train_stage(loaded: Any, adapters: Any, method: Any, data: Any, *args: Any, **rest: Any) -> Any:
        of_stages.append((adapters.seeds, adapters.spec, data.seed))
        return train(loaded, adapters, method, data, *args, **rest)

    def measure_cell(engine: Any, workload: Any, *, base: Any = None, **rest: Any) -> Any:
        if base is not None:
            compared.append(workload is base.workload and base.reference is not None)
        return measure(engine, workload, base=base, **rest)

    def engine_of_cell(*args: Any, **rest: Any) -> Any:
        assert rest["max_new_tokens"] == 3
        return open_engine(*args, **rest)

    monkeypatch.setattr(stage_run, "train", train_cell)
    monkeypatch.setattr(stages, "train", train_stage)
    monkeypatch.setattr(stage_run, "measure", measure_cell)
    monkeypatch.setattr(stage_run, "open_engine", engine_of_cell)
    run(grid, cells, RunOptions())
    tokenizer, lora, expected = tiny().tokenizer, LoraSpec(rank=2, alpha=4.0), list[Any]()
    for cell in cells:
        sets = grid.sets[cell.stage]
        if cell.method != BASE:
            both = sets.forget[cell.set], grid.preferred(cell.stage, cell.set, cell.method)
            rows = [tuple(encode(tokenizer, items, grid.profile)) for items in both]
            expected.append((cell.method, (cell.seed,), lora, cell.seed, *rows, grid.preset.methods[cell.method]))
        measured = read_result(cell_path(grid.folder, cell.id))["items"]
        own = {"forget": sets.forget[cell.set], "retain_train": sets.retain_train, "retain_eval": sets.retain_eval}
        assert {name: [row["id"] for row in of_set] for name, of_set in measured.items()} == {
            name: [item.id for item in items] for name, items in own.items()
        }
    assert sorted(map(repr, trained)) == sorted(map(repr, expected))
    assert of_stages == [((seed,), LoraSpec(), seed) for seed in (0, 1)]
    assert compared
    assert all(compared)
