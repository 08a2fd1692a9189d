"""Results of other rows or settings in the folder of a grid: refused before anything is trained or written."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.grid.cells import Cell
from dual_data.evaluation.grid.conflicts import conflicting, moving, refuse_mixing, set_aside, superseded
from dual_data.evaluation.grid.provenance import blank
from dual_data.evaluation.results import BASE, cell_path, measured_cells, write_result
from tests.cli.command import dual_data
from tests.evaluation.grid.small_grid import FILE, opened, run_command


def _write(root: Path, file: str, *, seed: int | None = None, status: str = "done") -> None:
    """Results of all cells of a grid, or of one seed, without a run."""
    grid, cells = opened(root, file=file)
    for cell in cells:
        if seed is None or cell.seed == seed:
            result = blank(grid, cell, status=status, reason="", loaded=None, stage=None)
            write_result(grid.folder, cell.id, result)


def _limited(rows: int, file: str = FILE) -> str:
    return file.replace('sets = ["rare"]', f'sets = ["rare"]\nlimit = {rows}')


def test_another_limit_is_named_with_the_way_out(project: Path) -> None:
    _write(project, FILE)
    grid, cells = opened(project, file=_limited(2))
    before = {path: path.read_bytes() for path in grid.folder.rglob("*.json")}
    with pytest.raises(InputError) as refused:
        refuse_mixing(grid, cells[1:])
    message = str(refused.value)
    start = "holds results with other rows or settings than the cells to run (no limit there, limit 2 here), such as "
    assert message.startswith(f"{grid.folder}: {start}{grid.folder / 'cells'}")
    assert "together with new results: give a changed preset another name, which keeps both," in message
    assert message.endswith("name another folder with --out, or set the old results aside with --replace")
    assert {path: path.read_bytes() for path in grid.folder.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("max_new_tokens = 3", "max_new_tokens = 4", "max_new_tokens"),
        ("beta = 0.5", "beta = 0.4", "options.beta"),
        ("end = 0.5", "end = 0.6", "data.retain_train"),
        ("epochs = 2\nbatch = 2", "epochs = 3\nbatch = 1", "optimisation.batch, optimisation.epochs"),
    ],
)
def test_other_settings_are_named(project: Path, old: str, new: str, names: str) -> None:
    _write(project, FILE)
    with pytest.raises(InputError, match=rf"other rows or settings than the cells to run \({names}\)"):
        refuse_mixing(*opened(project, file=FILE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("lrs = [1e-3, 1e-2]", "lrs = [1e-4, 1e-3]"),
        ("seeds = [0, 1]", "seeds = [1, 2]"),
        ("GradAscent = {}", "GradAscent = {}\nGradDiff = {}"),
        ('sets = ["rare"]', 'sets = ["rare", "popular"]'),
        ('stages = ["pretrained", "sft"]', 'stages = ["pretrained", "sft", "sft_new"]'),
        # A preset of another name has rows of its own in a report.
        ("short", "brief"),
    ],
)
def test_what_a_report_takes_together_goes_on(project: Path, old: str, new: str) -> None:
    _write(project, FILE)
    refuse_mixing(*opened(project, file=FILE.replace(old, new)))


@pytest.mark.parametrize(
    ("edits", "setting"),
    [
        # a preset or a stage that is edited, and then run for another seed, set, learning rate or method
        ({"seeds = [0, 1]": "seeds = [1]", "beta = 0.5": "beta = 0.4"}, "options.beta"),
        ({'sets = ["rare"]': 'sets = ["popular"]', "rank = 2": "rank = 4"}, "lora.rank"),
        ({'sets = ["rare"]': 'sets = ["popular"]', "max_new_tokens = 3": "max_new_tokens = 4"}, "max_new_tokens"),
        (
            {"lrs = [1e-3, 1e-2]": "lrs = [1e-4]", "epochs = 2\nbatch = 2": "epochs = 3\nbatch = 2"},
            "optimisation.epochs",
        ),
        (
            {"NPO = { beta = 0.5 }": "GradDiff = {}", "epochs = 2\nbatch = 2": "epochs = 3\nbatch = 2"},
            "optimisation.epochs",
        ),
        ({"seeds = [0, 1]": "seeds = [1]", "lr = 1e-2": "lr = 1e-3"}, "stage.recipe.lr"),
        ({'sets = ["rare"]': 'sets = ["popular"]', "end = 0.5": "end = 0.4"}, "data.retain_train"),
    ],
)
def test_one_recipe_for_all_that_a_report_averages_or_contrasts(
    project: Path, edits: dict[str, str], setting: str
) -> None:
    _write(project, FILE, seed=0)
    file = FILE
    for old, new in edits.items():
        assert old in file
        refuse_mixing(*opened(project, file=file))
        file = file.replace(old, new, 1)
    with pytest.raises(InputError, match=rf"other rows or settings than the cells to run \({setting}[,)]"):
        refuse_mixing(*opened(project, file=file))


def test_the_pretrained_model_is_one_for_all_seeds(project: Path) -> None:
    _write(project, FILE, seed=0)
    refuse_mixing(*opened(project, file=FILE.replace("seeds = [0, 1]", "seeds = [1]")))
    with pytest.raises(InputError, match=r"no limit there, limit 2 here\), such as .* for tiny pretrained rare none\."):
        refuse_mixing(*opened(project, file=_limited(2, FILE.replace("seeds = [0, 1]", "seeds = [1]"))))


def test_a_further_seed_of_a_training_stage_is_of_the_rows_of_the_others(project: Path) -> None:
    stage = FILE.replace('stages = ["pretrained", "sft"]', 'stages = ["sft"]')
    _write(project, stage, seed=0)
    refuse_mixing(*opened(project, file=stage))
    with pytest.raises(InputError, match=r"no limit there, limit 2 here\), such as .* for tiny sft rare none seed 1\."):
        refuse_mixing(*opened(project, file=_limited(2, stage.replace("seeds = [0, 1]", "seeds = [1]"))))


def test_results_that_failed_and_those_beside_their_own_are_in_no_way(project: Path) -> None:
    _write(project, FILE, status="failed")
    other = FILE.replace("max_new_tokens = 3", "max_new_tokens = 4")
    refuse_mixing(*opened(project, file=other))
    # A folder that is spoilt already: there is nothing to run.
    _write(project, FILE)
    _write(project, other)
    refuse_mixing(*opened(project, file=other))


def test_results_that_failed_with_other_settings_are_superseded_and_those_of_other_cells_are_not(project: Path) -> None:
    _write(project, FILE, status="failed")
    grid, cells = opened(project)
    assert superseded(grid, cells) == []  # the next run tries them again
    edited, new_cells = opened(project, file=FILE.replace("beta = 0.5", "beta = 0.4"))
    of_method = sorted(cell.id for cell in cells if cell.method == "NPO")
    assert sorted(superseded(edited, new_cells)) == of_method
    assert superseded(edited, [cell for cell in new_cells if cell.method != "NPO"]) == []
    set_aside(grid.folder, of_method)
    assert superseded(edited, new_cells) == []


@pytest.mark.parametrize(
    ("old", "new", "replaced"),
    [
        ("", "", lambda _: False),
        ("beta = 0.5", "beta = 0.4", lambda cell: cell.method == "NPO"),
        ("rank = 2", "rank = 4", lambda cell: cell.method != BASE),
        (
            "epochs = 2\nlr = 1e-2\n\n[stages.sft_new]",
            "epochs = 3\n\n[stages.sft_new]",
            lambda cell: cell.stage == "sft",
        ),
        ("max_new_tokens = 3", "max_new_tokens = 4", lambda _: True),
    ],
)
def test_results_that_stand_in_the_way_and_no_others_are_set_aside_whole(
    project: Path, old: str, new: str, replaced: Callable[[Cell], bool]
) -> None:
    _write(project, FILE)
    grid, cells = opened(project)
    for cell in cells:
        for folder in ("adapters", "attacks"):
            (grid.folder / folder / cell.id).mkdir(parents=True)
            (grid.folder / folder / cell.id / "content").write_text(cell.id)
    (grid.folder / "report.html").write_text("of the old results")
    before = _contents(grid.folder)
    edited = opened(project, file=FILE.replace(old, new, 1))
    ids = sorted(conflicting(*edited))
    assert ids == sorted(cell.id for cell in cells if replaced(cell))
    for _ in range(2):  # the second time there is nothing left to move
        set_aside(grid.folder, ids)
    refuse_mixing(*edited)
    after = _contents(grid.folder)
    assert {name.removeprefix("replaced/"): text for name, text in after.items()} == before
    moved = {name.removeprefix("replaced/") for name in after if name.startswith("replaced/")}
    assert moved == {name for name in before if any(f"/{id}" in name for id in ids) or (ids and name == "report.html")}


def test_replace_sets_aside_what_lies_beside_results_of_the_cells_to_run(project: Path) -> None:
    _write(project, FILE)
    limited = opened(project, file=_limited(2))[1]
    grid, cells = opened(project, file=FILE)
    _write(project, _limited(2))  # as by a run that was under way when its results were set aside
    assert sorted(superseded(grid, cells)) == sorted(cell.id for cell in limited)
    opened(project, file=FILE)  # writes the grid file again
    result = dual_data(*run_command(project, grid.folder, "--replace"))
    assert result.code == 0, result.err
    assert {path.stem for path in (grid.folder / "cells").glob("*.json")} == {cell.id for cell in cells}
    assert {path.stem for path in (grid.folder / "replaced" / "cells").glob("*.json")} == {cell.id for cell in limited}


def test_results_that_are_set_aside_again_take_the_place_of_the_first_and_reports_stand_side_by_side(
    project: Path,
) -> None:
    _write(project, FILE)
    grid, cells = opened(project)
    for text in ("first", "second"):
        (grid.folder / "adapters" / cells[1].id).mkdir(parents=True)
        (grid.folder / "adapters" / cells[1].id / "content").write_text(text)
        for suffix in ("html", "md"):
            (grid.folder / f"report.{suffix}").write_text(f"{text} {suffix}")
        set_aside(grid.folder, [cells[1].id])
    assert (grid.folder / "replaced" / "adapters" / cells[1].id / "content").read_text() == "second"
    assert {path.name: path.read_text() for path in (grid.folder / "replaced").glob("report*")} == {
        "report.html": "first html",
        "report.md": "first md",
        "report-2.html": "second html",
        "report-2.md": "second md",
    }


def _contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_run_and_dry_run_refuse(project: Path) -> None:
    _write(project, FILE)
    grid, cells = opened(project)
    command = run_command(project, grid.folder, "--limit", "2", "--method", "NPO", "--stage", "pretrained")
    before = sorted(project.rglob("*"))
    for options in ([], ["--dry-run"]):
        result = dual_data(*command, *options)
        assert result.code == 2
        assert "other rows or settings than the cells to run (no limit there, limit 2 here), such as " in result.err
        assert ("5 cells, 5 to do" in result.out) is bool(options)
    assert sorted(project.rglob("*")) == before
    cell = next(cell for cell in cells if cell.method == "NPO")
    assert json.loads(cell_path(grid.folder, cell.id).read_text())["status"] == "done"
    other = project / "elsewhere"
    elsewhere = dual_data(*(other if word == grid.folder else word for word in command), "--dry-run")
    assert elsewhere.code == 0, elsewhere.err
    # Results of the stage sft do not stand in the way of the stage pretrained.
    found = f"{grid.folder}: 9 results with other rows or settings"
    planned = dual_data(*command, "--dry-run", "--replace")
    assert (planned.code, planned.err) == (0, f"{found} would be set aside\n")
    assert sorted(project.rglob("*")) == before
    _write(project, FILE, seed=1, status="failed")
    # Of the failed ones, those of the cells to run, and not two of another method.
    assert ": 7 results with other rows or settings would" in dual_data(*command, "--dry-run", "--replace").err
    _write(project, FILE)
    run = dual_data(*command, "--replace", "--lr", "1e-3", "--seed", "0")
    assert f"\n{found}, set aside in {grid.folder / 'replaced'}\n" in run.err
    assert (run.code, run.out) == (0, f"{grid.folder}: 2 done, 0 stopped, 0 failed, 0 left to another process; 0 of 2 "
                                      "cells already had results\n")  # fmt: skip
    assert len(list((grid.folder / "cells").glob("*.json"))) == 2 + len(cells) - 9


def test_no_result_is_set_aside_for_a_run_that_is_refused(project: Path) -> None:
    _write(project, FILE)
    grid, _ = opened(project)
    before = _contents(grid.folder)
    command = run_command(project, grid.folder, "--replace")
    (project / "evaluation.toml").write_text(FILE.replace("rank = 2", 'rank = 2, targets = ["no_layer"]'))
    refused = dual_data(*command)
    assert (refused.code, "no_layer" in refused.err) == (2, True)
    assert _contents(grid.folder) == before


def test_runs_that_replace_the_same_results_at_once_do_not_disturb_each_other(project: Path) -> None:
    _write(project, FILE)
    grid, _ = opened(project)
    before = _contents(grid.folder)
    edited = opened(project, file=FILE.replace("max_new_tokens = 3", "max_new_tokens = 4", 1))

    def replace(_: int) -> None:
        ids = sorted(conflicting(*edited))
        with moving(grid.folder):
            set_aside(grid.folder, ids)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(replace, range(8)))
    assert {name.removeprefix("replaced/") for name in _contents(grid.folder) if "claims/" not in name} == set(before)


def test_results_that_another_run_moves_while_they_are_looked_at_are_in_nobodys_way(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(project, FILE)
    grid, cells = opened(project, file=FILE.replace("rank = 2", "rank = 4"))
    standing = measured_cells(grid.folder)
    monkeypatch.setattr("dual_data.evaluation.grid.conflicts.measured_cells", lambda _: standing)
    new = [cells[-1]]
    assert len(conflicting(grid, new)) > 1
    set_aside(grid.folder, list(standing))
    assert len(conflicting(grid, new)) == 1  # known by its coordinates alone
    with pytest.raises(InputError, match="named by another version"):
        refuse_mixing(grid, new)
