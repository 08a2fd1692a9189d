"""Cells that are trained and measured together: which these are, and that it changes no more than rounding."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dual_data.errors import DualDataError
from dual_data.evaluation.grid import stage_run, stages
from dual_data.evaluation.grid.forecast import forecast, rate
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.methods.base import Method
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import BASE, Result, cell_path, read_result, read_results, write_result
from dual_data.evaluation.rows.encoding import TrainingRows
from dual_data.evaluation.rows.packing import Source
from dual_data.evaluation.training import reference
from dual_data.evaluation.training.optimiser import Trainable
from dual_data.evaluation.training.reference import ReferenceFigures, References
from dual_data.evaluation.training.train import train
from dual_data.evaluation.training.training_run import Trace
from tests.evaluation.grid.small_grid import FILE, one_stage, opened


def test_a_run_counts_the_cells_that_went_together_and_its_stage_apart(project: Path) -> None:
    file = FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-4, 1e-3, 1e-2]").replace("seeds = [0, 1]", "seeds = [0]")
    grid, cells = opened(project, file=file.replace('stages = ["pretrained", "sft"]', 'stages = ["sft"]'))
    run(grid, cells, RunOptions(cells_at_once=2))
    runs = {(cell.method, cell.lr): read_result(cell_path(grid.folder, cell.id))["run"] for cell in cells}
    assert {cell_key: record["cells_at_once"] for cell_key, record in runs.items()} == {
        (BASE, 0.0): 1,
        **{(method, lr): n for method in ("GradAscent", "NPO") for lr, n in ((1e-4, 2), (1e-3, 2), (1e-2, 1))},
    }
    assert {record["rows_at_once"] for record in runs.values()} == {64}
    (stage_record,) = (json.loads(path.read_text()) for path in (grid.folder.parent / "stages").glob("*.json"))
    assert stage_record["steps"] == 2
    assert {record["stage_seconds"] for record in runs.values()} == {stage_record["seconds"]}
    told = forecast(grid, cells, [RunOptions()])
    pace = sum(line.operations for line in told.lines) / sum(
        (record["training_seconds"] + record["measuring_seconds"]) / record["cells_at_once"] for record in runs.values()
    )
    assert rate(grid, told.lines, "cpu")[0] == pytest.approx(pace)
    # Cells of another stage are told by these, as if each had taken as many operations as they.
    others = file.replace('stages = ["pretrained", "sft"]', 'stages = ["pretrained"]')
    others_told = forecast(*opened(project, file=others), [RunOptions()])
    assert {line.done for line in others_told.lines} == {False}
    assert "on cpu (by the cells that are done)" in others_told.summary
    assert rate(grid, others_told.lines, "cpu")[0] == pytest.approx(pace, rel=1e-6)


def test_what_is_trained_together_does_not_depend_on_what_is_left_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list[list[tuple[str, float, int]]]()

    def noted(
        loaded: Loaded,
        trainable: Trainable,
        method: Method,
        data: TrainingRows,
        lrs: list[float],
        *args: Any,
        **rest: Any,
    ) -> Any:
        batches.append([(method.name, lr, data.seed) for lr in lrs])
        return train(loaded, trainable, method, data, lrs, *args, **rest)

    monkeypatch.setattr(stage_run, "train", noted)
    file = one_stage(FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]"))
    grid, cells = opened(project, file=file.replace("seeds = [0]", "seeds = [0, 1]"))
    options = RunOptions(cells_at_once=4, save_adapters=True)
    assert run(grid, cells, options) == (21, 0, 0, 0)
    of_seed = [[1e-4, 3e-4, 1e-3], [3e-3, 1e-2]]
    assert batches == [
        [(method, lr, seed) for lr in rates] for method in ("GradAscent", "NPO") for seed in (0, 1) for rates in of_seed
    ]

    written = [*grid.folder.glob("cells/*"), *grid.folder.glob("adapters/*/*")]
    before = {path: path.read_bytes() for path in written}
    assert len(before) == 21 + 2 * 20
    batches.clear()
    for cell in (cells[2], cells[13]):
        cell_path(grid.folder, cell.id).unlink()
    assert run(grid, cells, options) == (2, 0, 0, 0)
    assert batches == [[("GradAscent", lr, 0) for lr in of_seed[0]], [("NPO", lr, 0) for lr in of_seed[0]]]
    assert before == {path: path.read_bytes() for path in before}


def test_a_run_says_why_steps_of_its_stage_and_of_its_cells_were_not_recorded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def eager(why: str) -> Any:
        def trained(*args: Any, **rest: Any) -> list[Trace]:
            fallbacks = (f"training was not recorded: {why}",)
            return [trace._replace(fallbacks=fallbacks) for trace in train(*args, **rest)]

        return trained

    monkeypatch.setattr(stages, "train", eager("of the stage"))
    monkeypatch.setattr(stage_run, "train", eager("of the cell"))
    file = FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e-3]").replace("seeds = [0, 1]", "seeds = [0]")
    grid, cells = opened(project, file=file.replace('stages = ["pretrained", "sft"]', 'stages = ["sft"]'))
    run(grid, cells, RunOptions())
    notes = {cell.method: read_result(cell_path(grid.folder, cell.id))["run"]["notes"] for cell in cells}
    of_stage, of_cell = (f"training was not recorded: of the {part}" for part in ("stage", "cell"))
    assert notes == {BASE: [of_stage], "GradAscent": [of_stage, of_cell], "NPO": [of_stage, of_cell]}


def test_the_reference_of_a_set_is_computed_once_for_all_its_cells(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, computed = reference.reference_figures, list[int]()

    def counted(model: Any, source: Source, *args: Any, **rest: Any) -> ReferenceFigures:
        computed.append(len(source.rows))
        return real(model, source, *args, **rest)

    def apart(*args: Any, references: References, **rest: Any) -> list[Trace]:
        return train(*args, **rest)

    monkeypatch.setattr(reference, "reference_figures", counted)
    file = one_stage(FILE.replace("NPO = { beta = 0.5 }", "NPO = { beta = 0.5 }\nAdaPop = {}"))
    written = list[list[bytes]]()
    for out in ("a", "b"):
        grid, cells = opened(project, file=file.replace("seeds = [0]", "seeds = [0, 1]"), out=out)
        run(grid, cells, RunOptions())
        written.append([cell_path(grid.folder, cell.id).read_bytes() for cell in cells])
        # NPO needs that of the rows to forget, and AdaPop that of the rows to keep: for two rates and two seeds each.
        rows = [len(items) for items in (grid.sets["pretrained"].forget["rare"], grid.sets["pretrained"].retain_train)]
        assert Counter(computed) == Counter(dict.fromkeys(rows, 1 if out == "a" else 4))
        computed.clear()
        monkeypatch.setattr(stage_run, "train", apart)
    assert written[0] == written[1]


@pytest.mark.parametrize(("batches", "rounding"), [("batch = 2", 1e-4), ("batch = 2\nmicro_batch = 1", 1e-3)])
def test_cells_at_once_and_forward_passes_change_results_by_rounding_alone(
    project: Path, batches: str, rounding: float
) -> None:
    results = []
    for out, options, file in (
        ("a", RunOptions(), one_stage()),
        ("b", RunOptions(cells_at_once=2, rows=5), one_stage(FILE.replace("batch = 2", batches))),
    ):
        grid, cells = opened(project, file=file, out=out)
        run(grid, cells, options)
        results.append({path.stem: result for path, result in read_results(grid.folder)})
    apart, together = results
    assert set(apart) == set(together)
    for identifier, result in apart.items():
        for name, summary in result["summary"].items():
            for score, value in summary.items():
                other = together[identifier]["summary"][name][score]
                assert value is other is None or value == pytest.approx(other, abs=rounding, rel=rounding), score


def test_of_cells_that_are_run_together_those_written_before_a_failure_count_as_they_ended(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = one_stage(FILE.replace("lrs = [1e-3, 1e-2]", "lrs = [1e30, 1e-3]")).replace(
        "NPO = { beta = 0.5 }", "UNDIAL = {}"
    )
    grid, cells = opened(project, file=file)
    last = cells[-1]

    def fail_last(folder: Path, identifier: str, result: Result) -> Path:
        if identifier == last.id and result["status"] == "done":
            raise DualDataError("no room")
        return write_result(folder, identifier, result)

    monkeypatch.setattr(stage_run, "write_result", fail_last)
    assert run(grid, cells, RunOptions(cells_at_once=2)) == (2, 2, 1, 0)
    assert read_result(cell_path(grid.folder, last.id))["reason"] == "no room"
