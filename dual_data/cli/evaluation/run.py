"""`dual-data eval run`: the grid of unlearning cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.evaluation.grid import GridPart, Threads, on_grid, use_threads
from dual_data.cli.text import say
from dual_data.errors import DualDataError, UsageError
from dual_data.text.display import count

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid
    from dual_data.evaluation.grid.grid_run import RunOptions


@on_grid
def run(
    part: GridPart,
    *,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print cells, steps, tokens and an estimate of FLOPs, memory and time; run nothing."
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="cpu, cuda or cuda:1; several, separated by commas, share the cells, with one process each.",
            show_default="a GPU if there is one",
        ),
    ] = None,
    cells_at_once: Annotated[
        int | None,
        typer.Option(
            "--cells-at-once",
            min=1,
            metavar="N",
            help="Most learning rates of a method and seed that are trained together, as one batch.",
            show_default="1 to 8 by the model's size on a GPU, else 1",
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            "--rows",
            min=1,
            metavar="N",
            help="Rows in a batch when measuring.",
            show_default="1024 to 4096 by the model's size on a GPU, else 64",
        ),
    ] = None,
    threads: Threads = None,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Split one base model over the devices of --device, each of which trains its own cells: for a model "
            "that does not fit on one device.",
        ),
    ] = False,
    save_adapters: Annotated[
        bool,
        typer.Option(
            "--save-adapters", help="Keep every cell's adapter, in peft's format; a cell without one is run again."
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Set aside results of other rows or settings, such as those of a method that was edited, in replaced/ "
            "of their folder, with the report there; without this option they stop the run.",
        ),
    ] = False,
) -> None:
    """Run a grid of unlearning cells, or a part of it.

    Each cell writes one JSON file with its settings, versions, items and scores, in cells/ of the folder of results.
    What differs when it is repeated, such as times and GPU hours, is in runs/ under the same name. A cell that has a
    result is not run again.

    Example: dual-data eval run --grid demo --dry-run
    """
    from dual_data.evaluation.models.cache import need_torch

    need_torch()
    part.check_file()

    from dual_data.evaluation.device.devices import devices_named, expect_shareable
    from dual_data.evaluation.grid.cells import refuse_training
    from dual_data.evaluation.grid.conflicts import conflicting, refuse_mixing, superseded
    from dual_data.evaluation.grid.grid_run import RunOptions

    devices = devices_named(device, used=not dry_run)
    if shard:
        expect_shareable(devices)
    grid, cells = part.open()
    refuse_training(grid, cells, adapters=save_adapters, shard=shard)
    sets = next(iter(grid.sets.values()))
    for note in (*sets.repetitions(), *sets.contradictions()):
        say(note)
    use_threads(threads)
    options = [
        RunOptions(device=where, cells_at_once=cells_at_once or 0, rows=rows or 0, save_adapters=save_adapters)
        for where in devices
    ]
    if dry_run:
        _print_forecast(grid, cells, options, shard=shard)
        try:
            devices_named(device)
        except UsageError as error:
            say(f"A run here will refuse to start: {error}")
    old: list[str] = []
    if replace:
        old = sorted({*conflicting(grid, cells), *superseded(grid, cells)})
    else:
        refuse_mixing(grid, cells)
    if dry_run:
        if old:
            say(f"{_found(grid, old)} would be set aside")
        return
    _run(grid, cells, options, old, shard=shard)


def _found(grid: Grid, old: list[str]) -> str:
    return f"{grid.folder}: {count(len(old), 'result')} with other rows or settings"


def _run(grid: Grid, cells: list[Cell], options: list[RunOptions], old: list[str], *, shard: bool) -> None:
    """Set the results `old` aside, run cells on one device or several, and print how they ended.

    Raises DualDataError if some failed.
    """
    from dual_data.evaluation.grid.cells import is_done
    from dual_data.evaluation.grid.conflicts import moving, set_aside
    from dual_data.evaluation.grid.forecast import forecast
    from dual_data.evaluation.grid.planned import keep_plan
    from dual_data.evaluation.grid.run import run as run_grid
    from dual_data.evaluation.grid.workers import run_spread

    folder, adapters = grid.folder, options[0].save_adapters
    already_done = sum(is_done(folder, cell, adapter=adapters) for cell in cells)
    if already_done < len(cells):
        say(forecast(grid, cells, options, shard=shard).summary)
    if old:  # not before the forecast, which refuses what cannot be run
        with moving(folder):
            say(f"{_found(grid, old)}, set aside in {set_aside(folder, old)}")
    keep_plan(grid, cells)
    if len(options) > 1:
        tally = run_spread(grid, cells, options, shard=shard)
    else:
        tally = run_grid(grid, cells, options[0], say=say)
    print(
        f"{folder}: {tally.done} done, {tally.stopped} stopped, {tally.failed} failed, "
        f"{tally.elsewhere} left to another process; {already_done} of {len(cells)} cells already had results"
    )
    if tally.failed:
        raise DualDataError(f"{tally.failed} cell(s) failed; their results in {folder / 'cells'} say why")


def _print_forecast(grid: Grid, cells: list[Cell], options: list[RunOptions], *, shard: bool) -> None:
    from dual_data.evaluation.grid.forecast import forecast

    told = forecast(grid, cells, options, shard=shard)
    for line in told.lines:
        state = "done" if line.done else "to do"
        print(
            f"{line.cell.id}  {state:5}  {line.cell.label}: {line.steps} steps, "
            f"{line.training_tokens:,} training and {line.measured_tokens:,} measured tokens"
        )
    print(f"\n{told.summary}")
