"""A grid in two processes: every cell once, the results of one process, and cells of a lost process are run again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import cast

import pytest
from filelock import FileLock

from dual_data.errors import DualDataError
from dual_data.evaluation.grid.claims import any_free, claimed
from dual_data.evaluation.grid.grid_run import GridRun, Pace, RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.grid.workers import run_spread
from dual_data.evaluation.results import read_results
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.evaluation.lost import one_killed

TWO = [RunOptions(), RunOptions()]
STAGES = FILE.replace("seeds = [0, 1]", "seeds = [0]")
SEEDS = one_stage(FILE).replace("seeds = [0]", "seeds = [0, 1, 2]")


def test_two_processes_run_every_cell_once_as_one_process_does(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid, cells = opened(project, file=STAGES)
    assert run_spread(grid, cells, TWO) == (len(cells), 0, 0, 0)
    lines = [line.partition("  ") for line in capfd.readouterr().err.splitlines() if ": done" in line]
    assert {name for name, _, _ in lines} <= {"0:cpu", "1:cpu"}  # one that starts late may find nothing left
    labels = [line.partition(": done")[0] for _, _, line in lines]
    assert len(labels) == len(set(labels)) == len(cells)

    alone, cells_alone = opened(project, file=STAGES, out="alone")
    run(alone, cells_alone, RunOptions())
    for path, _ in read_results(alone.folder):
        assert path.read_bytes() == (grid.folder / "cells" / path.name).read_bytes()
    assert run_spread(grid, cells, TWO) == (0, 0, 0, 0)


def test_a_process_that_is_killed_is_named_and_its_cells_are_run_by_the_next_start(project: Path) -> None:
    grid, cells = opened(project, file=SEEDS)
    message = r"1 of 2 processes ended early \(\d:cpu: signal SIGKILL\)"
    with one_killed(grid.folder, 0), pytest.raises(DualDataError, match=message):
        run_spread(grid, cells, TWO)
    for path, result in read_results(grid.folder):
        assert result["status"] == "done", path
    run(grid, cells, RunOptions())
    assert {path.stem for path, _ in read_results(grid.folder)} == {cell.id for cell in cells}


SCRIPT = """
import sys
from pathlib import Path
from threading import Timer
from dual_data.evaluation.grid.cells import cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.workers import run_spread
from dual_data.evaluation.settings import load_settings
if __name__ == "__main__":
    root = Path(sys.argv[1])
    grid = resolve_grid(load_settings(root / "evaluation.toml"), "one", root, root / "out" / "one")
    run_spread(grid, cells_of(grid), [RunOptions(), RunOptions()])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(project: Path, number: signal.Signals) -> None:
    opened(project, file=SEEDS.replace("epochs = 2\nbatch = 2", "epochs = 2000\nbatch = 2"))
    script = project / "spread.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        [sys.executable, script, project], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    assert process.stderr is not None
    started = set[str]()
    while len(started) < 2:
        name, _, line = process.stderr.readline().partition("  ")
        assert name, "it ended"
        started |= {name} if "loading" in line else set()
    process.send_signal(number)
    rest = process.stderr.read()  # ends when the last process that writes there has ended
    process.stderr.close()
    assert process.wait() != 0
    assert ("KeyboardInterrupt" in rest) is (number == signal.SIGTERM)


def test_what_goes_wrong_in_every_process_is_said_once_each(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    broken = grid._replace(models={"tiny": grid.models["tiny"].model_copy(update={"spec": "/no/such/model"})})
    with pytest.raises(DualDataError, match=r"2 of 2 processes ended early .*no such model"):
        run_spread(broken, cells, TWO)


def test_a_folder_that_cannot_be_written_is_named_without_a_traceback(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid, cells = opened(project, file=one_stage())
    grid.folder.mkdir(parents=True)
    (grid.folder / "runs").touch()
    with pytest.raises(DualDataError, match=rf"of 2 processes ended early .*File exists: '{grid.folder}/runs'"):
        run_spread(grid, cells, TWO)
    assert "Traceback" not in capfd.readouterr().err


def test_where_one_process_cannot_be_started_the_others_end(project: Path) -> None:
    grid, cells = opened(project, file=SEEDS.replace("epochs = 2\nbatch = 2", "epochs = 2000\nbatch = 2"))
    with pytest.raises((AttributeError, pickle.PicklingError)):
        run_spread(grid, cells, [RunOptions(), RunOptions(device=cast("str", lambda: None))])
    assert multiprocessing.active_children() == []


def test_cells_of_another_process_are_counted_before_unlearning_too(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE))
    base, first, *_ = cells
    with claimed(grid.folder, [base]):
        assert run(grid, [base, first], RunOptions()) == (1, 0, 0, 1)


def test_a_cell_that_fails_in_both_processes_is_counted_once(project: Path) -> None:
    file = FILE.replace('stages = ["pretrained", "sft"]', 'stages = ["sft"]').replace("lr = 1e-2", "lr = 1e9", 1)
    grid, cells = opened(project, file=file)
    assert run_spread(grid, cells, TWO) == (0, 0, len(cells), 0)


def test_a_cell_that_another_run_holds_is_counted_by_two_processes_too(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    with claimed(grid.folder, cells[-1:]):
        assert run_spread(grid, cells, TWO) == (len(cells) - 1, 0, 0, 1)


def test_more_cells_can_fail_than_files_may_be_open(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    many = [cells[1]._replace(id=f"{number:016x}") for number in range(200)]
    grid_run = GridRun(grid, many, RunOptions(), lambda _: None, Pace(many, lambda _: False, lambda _: None))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + 50, limits[1]))
    try:
        assert grid_run.fail_free(many, "no such weights") == {"failed": len(many)}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert {result["reason"] for _, result in read_results(grid.folder)} == {"no such weights"}


def test_a_claim_waits_for_a_process_that_only_looks_whether_a_cell_is_free(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    (grid.folder / "claims").mkdir(parents=True)
    look = FileLock(grid.folder / "claims" / f"{cells[1].id}.lock", thread_local=False)
    look.acquire()
    assert any_free(grid.folder, cells)
    end = Timer(0.2, look.release)
    end.start()
    with claimed(grid.folder, cells) as taken:
        assert taken == cells
    end.join()


def test_a_claim_is_for_cells_without_a_result_and_for_one_at_a_time(project: Path) -> None:
    grid, cells = opened(project, file=one_stage())
    with claimed(grid.folder, cells[1:3]) as taken:
        assert taken == cells[1:3]
        with claimed(grid.folder, cells[:4]) as before:
            assert before == cells[:1]
            assert not any_free(grid.folder, cells[:3])
            assert any_free(grid.folder, cells)
        with claimed(grid.folder, cells[1:4]) as rest:
            assert rest == [], "that process trains what comes after it too"
    run(grid, cells, RunOptions())
    assert not any_free(grid.folder, cells)
