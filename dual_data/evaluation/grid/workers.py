"""A grid on several devices: one process each, all taking cells from the one grid, with no traffic between them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.device.sharding import OutOfStep, Ranks, joined
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.run import RunOptions, Tally, run
from dual_data.interrupts import stopped_as_by_hand

_NOTICED = 2.0
"""Seconds that processes get to notice that one whose weights they wait for is lost."""
_PEER_LOST = "Connection closed by peer"


def run_spread(
    grid: Grid, cells: Sequence[Cell], options: Sequence[RunOptions], *, project: Path, shard: bool = False
) -> Tally:
    """Run the cells in one process an entry of `options`, which name the devices; each begins elsewhere in the grid.

    With `shard` they share one base and go through the grid together, each with cells of its own. On CPUs they share
    this process's threads. Lines go to stderr, with the process in front. Raises DualDataError, once the others have
    ended, where a process did not end as it should; the next start runs what it had in flight.
    """
    with stopped_as_by_hand(), TemporaryDirectory() as folder:
        ranks = [Ranks(number, len(options), Path(folder) / "meeting") for number in range(len(options))]
        placed = [
            one._replace(ranks=ranks[number]) if shard else one._replace(start=number / len(options))
            for number, one in enumerate(options)
        ]
        return _run_all(grid, cells, placed, project)


def _run_all(grid: Grid, cells: Sequence[Cell], options: Sequence[RunOptions], project: Path) -> Tally:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    running: dict[Connection, tuple[str, SpawnProcess]] = {}
    threads = max(1, torch.get_num_threads() // len(options))
    for number, one in enumerate(options):
        here, there = context.Pipe(duplex=False)
        name = f"{number}:{one.device}"
        process = context.Process(target=_work, args=(there, name, threads, grid, cells, one, project))
        process.start()
        there.close()  # so that the pipe ends with its process
        running[here] = (name, process)
    tallies, lost = list[Tally](), list[str]()
    try:
        while running:
            # Those that share a base with one that is lost wait for it, unless they have noticed.
            ready = wait(list(running), timeout=_NOTICED if lost and not options[0].ranks.alone else None)
            if not ready:
                break
            for pipe in [one for one in ready if isinstance(one, Connection)]:
                name, process = running.pop(pipe)
                try:
                    found = pipe.recv()
                except EOFError:
                    found = None
                process.join()
                if isinstance(found, Tally):
                    tallies.append(found)
                else:
                    lost.append(f"{name}: {found or _end(process)}")
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    if lost:
        raise DualDataError(
            f"{len(lost)} of {len(options)} processes ended early ({'; '.join(lost)}); run the same command again, it "
            "goes on where it stopped"
        )
    # What one process left to another is among the other's.
    return Tally(*(sum(values) for values in zip(*tallies, strict=True)))._replace(elsewhere=0)


def _work(
    pipe: Connection,
    name: str,
    threads: int,
    grid: Grid,
    cells: Sequence[Cell],
    options: RunOptions,
    project: Path,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the process that started this one says what happened
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if options.device == "cpu":
        torch.set_num_threads(threads)
    try:
        with joined(options.ranks, options.device):
            found = run(
                grid,
                cells,
                options,
                project=project,
                say=lambda line: _say(f"{name}  {line}\n"),
            )
    except (DualDataError, OutOfStep) as error:
        pipe.send(str(error))
    except RuntimeError as error:
        if _PEER_LOST not in str(error):
            raise
        pipe.send("another process was lost")
    else:
        pipe.send(found)


def _end_with_parent() -> None:
    """End this process once the one that started it is gone, however that ended: nobody waits for what it does."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def _end(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _say(line: str) -> None:
    sys.stderr.write(line)  # whole: `print` may write its end apart, and lines of two processes run into each other
    sys.stderr.flush()
