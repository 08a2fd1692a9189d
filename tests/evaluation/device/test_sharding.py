"""A base shared by two processes gives the results of one process, whichever of the two runs a cell."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.memory import enough_memory
from dual_data.evaluation.device.sharding import ALONE, OutOfStep, Ranks
from dual_data.evaluation.grid import workers
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.grid.workers import run_spread
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.models.shard import CAN_SHARD
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import BASE, read_results
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import halving
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.evaluation.lost import one_killed

TWO = [RunOptions(cells_at_once=2, save_adapters=True)] * 2
# Methods in a merged and a stacked stage; RMU ends its pass at a layer, GRU differentiates two losses of a pass. Of
# four rates, each process trains two, as one process does: on some processors a single one gives other last digits.
STAGES = (
    FILE.replace("seeds = [0, 1]", "seeds = [0]")
    .replace("lrs = [1e-3, 1e-2]", "lrs = [1e-4, 3e-4, 1e-3, 1e-2]")
    .replace("GradAscent = {}", "RMU = { layer = 0 }\nGRU = {}")
)


needs_sharding = pytest.mark.skipif(not CAN_SHARD, reason=f"torch {torch.__version__} is before 2.7")


@needs_sharding
@pytest.mark.parametrize("apply", ["merge", "stack"])
def test_a_shared_base_gives_the_results_of_one_process(
    apply: str, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = STAGES.replace("lr = 1e-2\n", f'lr = 1e-2\napply = "{apply}"\n')
    grid, cells = opened(project, file=file)
    assert run_spread(grid, cells, TWO, shard=True) == (len(cells), 0, 0, 0)
    lines = [line.partition("  ") for line in capfd.readouterr().err.splitlines() if ": done" in line]
    assert {name for name, _, _ in lines} == {"0:cpu", "1:cpu"}
    labels = [line.partition(": done")[0] for _, _, line in lines]
    assert len(labels) == len(set(labels)) == len(cells)

    alone, cells_alone = opened(project, file=file, out="alone")
    run(alone, cells_alone, RunOptions(cells_at_once=2, save_adapters=True))
    for path, _ in read_results(alone.folder):
        assert path.read_bytes() == (grid.folder / "cells" / path.name).read_bytes()
    adapters = sorted((alone.folder / "adapters").rglob("*.safetensors"))
    assert len(adapters) == sum(cell.method != BASE for cell in cells)
    for path in adapters:
        assert path.read_bytes() == (grid.folder / path.relative_to(alone.folder)).read_bytes()
    assert run_spread(grid, cells, TWO, shard=True) == (0, 0, 0, 0)


@needs_sharding
def test_where_one_process_is_lost_the_others_end_and_the_next_start_goes_on(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE).replace("seeds = [0]", "seeds = [0, 1, 2]"))
    message = r"of 2 processes ended early \(.*1:cpu: signal SIGKILL.*run the same command"
    with one_killed(grid.folder, -1), pytest.raises(DualDataError, match=message):
        run_spread(grid, cells, TWO, shard=True)
    assert run_spread(grid, cells, TWO, shard=True).failed == 0
    assert {path.stem for path, _ in read_results(grid.folder)} == {cell.id for cell in cells}


def test_memory_that_runs_out_is_not_answered_by_one_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    engine = FastEngine(tiny("llama"), rows=4)
    with pytest.raises(OutOfStep, match="fewer cells at once"):
        engine.halve()
    with pytest.raises(OutOfStep), enough_memory("measuring"):
        raise MemoryError

    def cramped(_: Optimisation) -> None:
        raise MemoryError

    with pytest.raises(OutOfStep):
        halving(cramped, Optimisation(), [], rows=8, undo=lambda: None)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OutOfStep("out of memory"), "out of memory"),
        (RuntimeError("gloo: Connection closed by peer [127.0.0.1]:1"), "another process was lost"),
    ],
)
def test_how_a_process_ended_is_said_without_a_traceback(
    error: Exception, message: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, cells = opened(project, file=one_stage())

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(workers, "run", fail)
    here, there = multiprocessing.Pipe(duplex=False)
    handler = signal.getsignal(signal.SIGINT)
    workers._work(there, "0:cpu", torch.get_num_threads(), grid, cells, RunOptions())
    signal.signal(signal.SIGINT, handler)
    assert here.recv() == message


def test_all_weights_are_not_trained_on_a_shared_base(project: Path) -> None:
    grid, cells = opened(project, file=one_stage(FILE).replace("max_new_tokens = 3", "max_new_tokens = 3\nfull = true"))
    with pytest.raises(UsageError, match="leave --shard out"):
        run(grid, cells, RunOptions(ranks=Ranks(0, 2)))


@pytest.mark.parametrize(("count", "size"), [(0, 2), (1, 2), (2, 2), (5, 2), (4, 3), (7, 3)])
def test_every_process_has_as_many_things_and_each_thing_one_owner(count: int, size: int) -> None:
    shares = [Ranks(rank, size).share(range(count)) for rank in range(size)]
    assert [thing for own, _ in shares for thing in own] == list(range(count))
    assert len({len(filled) for _, filled in shares}) == 1
    assert all(filled[: len(own)] == own for own, filled in shares)


def test_one_process_alone_asks_nobody() -> None:
    assert ALONE.agree([1]) == [1]
    ALONE.wait()
