"""Runs a grid on several devices: one process per device, each claiming cells, without communication between them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.device.sharding import OutOfStep, Ranks, joined
from dual_data.evaluation.grid.cells import Cell, Grid, is_done
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import Tally, run
from dual_data.evaluation.methods import load_methods
from dual_data.evaluation.results import cell_path, head_of
from dual_data.system.interrupts import stopped_as_by_hand

_NOTICED = 2.0
"""Seconds in which processes can notice that a process whose weights they wait for is lost."""
_PEER_LOST = "Connection closed by peer"
_DONE = "done"
"""What a process sends that ran through the grid; one that could not sends why."""


def run_spread(grid: Grid, cells: Sequence[Cell], options: Sequence[RunOptions], *, shard: bool = False) -> Tally:
    """Run the cells in one process per entry of `options`, which have the devices; each begins elsewhere in the grid.

    With `shard` they share one base and run through the grid together, each with its own cells. On CPUs they share this
    process's threads. Output goes to stderr, prefixed with the process. Returns how the cells ended by their results,
    since what fails in one process is tried by the next. Raises DualDataError where a process failed, after the others
    have ended; the next run repeats the cells that it had in progress.
    """
    todo = [cell for cell in cells if not is_done(grid.folder, cell, adapter=options[0].save_adapters)]
    with stopped_as_by_hand(), TemporaryDirectory() as folder:
        ranks = [Ranks(number, len(options), Path(folder) / "meeting") for number in range(len(options))]
        placed = [
            option._replace(ranks=ranks[number]) if shard else option._replace(start=number / len(options))
            for number, option in enumerate(options)
        ]
        _run_all(grid, cells, placed)
    return Tally(**Counter(_ended(grid, cell, adapter=options[0].save_adapters) for cell in todo))


def _ended(grid: Grid, cell: Cell, *, adapter: bool) -> str:
    head = head_of(cell_path(grid.folder, cell.id))
    if head is None:
        return "elsewhere"
    return head.status if is_done(grid.folder, cell, adapter=adapter) else "failed"


def _run_all(grid: Grid, cells: Sequence[Cell], options: Sequence[RunOptions]) -> None:
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    running: dict[Connection, tuple[str, SpawnProcess]] = {}
    threads = max(1, torch.get_num_threads() // len(options))
    lost = list[str]()
    try:
        for number, option in enumerate(options):
            here, there = context.Pipe(duplex=False)
            name = f"{number}:{option.device}"
            process = context.Process(target=_work, args=(there, name, threads, grid, cells, option))
            process.start()
            running[here] = (name, process)
            there.close()  # so that the pipe is closed when its process ends
        while running:
            # Processes that share a base with a lost one wait for it until they notice.
            ready = wait(list(running), timeout=_NOTICED if lost and not options[0].ranks.alone else None)
            if not ready:
                break
            for pipe in [item for item in ready if isinstance(item, Connection)]:
                name, process = running.pop(pipe)
                try:
                    message = pipe.recv()
                except EOFError:
                    message = None
                process.join()
                if message != _DONE:
                    lost.append(f"{name}: {message or _end(process)}")
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    if lost:
        raise DualDataError(
            f"{len(lost)} of {len(options)} processes ended early ({'; '.join(lost)}); run the same command again, it "
            "goes on where it stopped"
        )


def _work(pipe: Connection, name: str, threads: int, grid: Grid, cells: Sequence[Cell], options: RunOptions) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent process reports it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if options.device == "cpu":
        torch.set_num_threads(threads)
    try:
        load_methods(grid.project)
        with joined(options.ranks, options.device):
            run(grid, cells, options, say=lambda line: _say(f"{name}  {line}\n"))
    except (DualDataError, OutOfStep, OSError) as error:  # the last of a full disk, for example
        pipe.send(str(error))
    except RuntimeError as error:
        if _PEER_LOST not in str(error):
            raise
        pipe.send("another process was lost")
    else:
        pipe.send(_DONE)


def _end_with_parent() -> None:
    """End this process once its parent has ended in any way, since nobody waits for its results."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)


def _end(process: SpawnProcess) -> str:
    code = process.exitcode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _say(line: str) -> None:
    # In one write: `print` may write the newline separately, and lines of two processes would mix.
    sys.stderr.write(line)
    sys.stderr.flush()
