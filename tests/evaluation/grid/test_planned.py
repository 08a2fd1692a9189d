"""The plan of cells that runs were asked for, kept beside their results, and what a report says about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dual_data.errors import InputError
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.planned import FILE as PLAN
from dual_data.evaluation.grid.planned import keep_plan, read_plan
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.report.write import write_report
from tests.cli.command import dual_data
from tests.evaluation.grid.small_grid import FILE, one_stage, opened, run_command


def _report(grid: Grid, folder: Path) -> str:
    return write_report([grid.folder], folder / "report").markdown.read_text()


def _of_method(cells: list[Cell], method: str) -> list[Cell]:
    return [cell for cell in cells if cell.method in (method, "none")]


def test_a_report_says_what_is_planned_and_not_there(project: Path) -> None:
    grid, cells = opened(project)
    keep_plan(grid, cells)
    here = [cell for cell in cells if cell.stage == "pretrained" and cell.seed == 0]
    run(grid, here, RunOptions())
    report = _report(grid, project)
    assert "5 results of the grid one: tiny on cities, 1 seed, incomplete: 5 of 19 planned cells measured. " in report
    assert "There are no results of a stage beside pretrained, " in report
    # Results that were copied alone are all that is known.
    shutil.copytree(grid.folder / "cells", project / "copied" / "cells")
    report = _report(grid._replace(folder=project / "copied"), project)
    assert "5 results of the grid one: tiny on cities, 1 seed. " in report
    assert "There are no results of a stage beside pretrained, " in report


def test_a_plan_is_merged_over_runs_and_kept_by_place(project: Path) -> None:
    grid, cells = opened(project)
    keep_plan(grid, _of_method(cells, "NPO"))
    first = (grid.folder / PLAN).stat().st_mtime_ns
    keep_plan(grid, _of_method(cells, "NPO"))
    assert (grid.folder / PLAN).stat().st_mtime_ns == first
    assert set(read_plan(grid.folder)) == {cell.id for cell in _of_method(cells, "NPO")}
    keep_plan(grid, _of_method(cells, "GradAscent"))
    assert set(read_plan(grid.folder)) == {cell.id for cell in cells}
    # With other settings the same cells are asked for, not as many again.
    other, changed = opened(project, file=FILE.replace("max_new_tokens = 3", "max_new_tokens = 4"))
    keep_plan(other, changed)
    assert set(read_plan(grid.folder)) == {cell.id for cell in changed}
    for text in ("{}", '{"format": 1}'):
        (grid.folder / PLAN).write_text(text)
        with pytest.raises(InputError, match=r"planned.json: not a list of planned cells of this version; remove it"):
            read_plan(grid.folder)
    (grid.folder / PLAN).write_text('{"f')
    with pytest.raises(
        InputError, match=r"planned.json: not readable: .*; remove it, and the next run writes it again"
    ):
        read_plan(grid.folder)


def test_what_failed_is_not_there_and_a_whole_grid_is_not_called_so(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE.replace("GradAscent = {}", 'JensUn = { refusal = "" }')))
    keep_plan(grid, cells)
    run(grid, cells, RunOptions())
    assert "1 seed, incomplete: 3 of 5 planned cells measured, 2 failed. " in _report(grid, project)
    grid, cells = opened(project, file=one_stage(FILE.replace("GradAscent = {}", "JensUn = {}")))
    keep_plan(grid, cells)
    run(grid, cells, RunOptions())
    assert "incomplete" not in _report(grid, project)


def test_the_plan_for_a_device_that_is_not_here_says_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    command = run_command(project, project / "out", "--dry-run")
    elsewhere = dual_data(*("cuda" if word == "cpu" else word for word in command))
    assert elsewhere.code == 0
    assert "A run here will refuse to start: --device: cuda: the installed torch" in elsewhere.err
    assert "will refuse" not in dual_data(*command).err


def test_a_run_keeps_what_it_was_asked_for_and_a_dry_run_nothing(project: Path) -> None:
    grid, cells = opened(project)
    command = run_command(
        project, grid.folder, "--method", "NPO", "--stage", "pretrained", "--seed", "0", "--lr", "1e-2", "--lr", "1e-3",
        "--lr", "1e-2",
    )  # fmt: skip
    assert dual_data(*command, "--dry-run").code == 0
    assert not grid.folder.exists()
    assert dual_data(*command).code == 0
    assert set(read_plan(grid.folder)) == {
        cell.id for cell in _of_method(cells, "NPO") if (cell.stage, cell.seed) == ("pretrained", 0)
    }
    assert "incomplete" not in _report(grid, project)
