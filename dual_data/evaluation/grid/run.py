"""Runs a grid: each model is loaded once, and cells are adapters that are trained on it, measured and dropped.

    model -> stage and its seed -> set to forget -> before unlearning -> method -> cells, some at once

A cell that has a result is not run again, unless its adapter is to be kept and is missing. A killed run loses only the
cells in progress, those trained at once, without a written result, and the next run trains the same cells at once, so
that it ends with the same bytes. Several processes may run one grid (`workers` starts one per device): each takes cells
that no other has taken. Where a cell fails, for memory, its rows or the code of its method, the reason is its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from dual_data.evaluation.device.memory import OutOfMemory, release
from dual_data.evaluation.grid.cells import Cell, Grid, is_done, refuse_training
from dual_data.evaluation.grid.grid_run import GridRun, Pace, RunOptions
from dual_data.evaluation.grid.stage_run import StageRun, grouped
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.models.loading import Loaded


class Tally(NamedTuple):
    """Number of cells by how they ended."""

    done: int = 0
    stopped: int = 0
    failed: int = 0
    elsewhere: int = 0
    """Cells that another process had taken."""


def run(
    grid: Grid, cells: Sequence[Cell], options: RunOptions, *, say: Callable[[str], None] = lambda _: None
) -> Tally:
    """Run those of `cells` that have no result yet. A failure of a cell is its result and does not affect others.

    Raises UsageError as `refuse_training`, and for a model that cannot be loaded for a reason other than memory.
    """
    ranks = options.ranks
    refuse_training(grid, cells, adapters=options.save_adapters, shard=not ranks.alone)
    done = partial(is_done, grid.folder, adapter=options.save_adapters)
    todo = ranks.agree([cell for cell in cells if not done(cell)])
    grid_run, counts = GridRun(grid, cells, options, say, Pace(todo, done, say)), Counter[str]()
    # A stage that trains nothing is the same for all seeds.
    stage_groups = grouped(
        todo, lambda cell: (cell.model, cell.stage, cell.seed if grid.stages[cell.stage] is not None else 0)
    )
    first = int(options.start * len(stage_groups))
    for name, model_groups in groupby(stage_groups[first:] + stage_groups[:first], lambda group: group[0].model):
        loaded: Loaded | None = None
        too_large = ""
        for stage_cells in model_groups:
            if not grid_run.any_free(stage_cells):
                counts["elsewhere"] += len(stage_cells)
                continue
            if loaded is None and not too_large:
                try:
                    loaded = grid_run.load(name)
                    tokenised = Tokenised(grid, loaded.tokenizer)
                except OutOfMemory as error:
                    too_large = str(error)
            if loaded is None:
                counts += grid_run.fail_free(stage_cells, too_large)
            else:
                counts += StageRun(grid_run, loaded, tokenised).run(stage_cells)
        del loaded
        release()
    return Tally(**counts)
