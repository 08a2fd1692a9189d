"""`dual-data eval attack`: the attacks that need the model, on results of `eval run`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dual_data.cli.evaluation_grid import GridPart, need_torch, on_grid
from dual_data.errors import DualDataError


@on_grid(without=("rate",))  # its --lr is that of relearning
def attack(
    part: GridPart,
    *,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1.", show_default="a GPU if there is one")
    ] = None,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate of relearning.")] = 1e-4,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Task of lm-eval, such as mmlu or hellaswag; may be repeated.")
    ] = None,
    panel: Annotated[
        Path | None, typer.Option("--panel", help="Utility panel, JSON lines.", show_default="the shipped one")
    ] = None,
    task_folder: Annotated[
        Path | None, typer.Option("--task-folder", help="Folder with definitions of further tasks of lm-eval.")
    ] = None,
) -> None:
    """Attack the cells that the report shows: relearning curves, int8 and int4 rounding, the utility panel.

    For every method, the learning rate chosen on forget and retain_train and its first seed. What was done with the
    same --lr, --task and --panel is not done again; with others it is replaced. The grid must have been run with
    --save-adapters; options that narrowed it (--model, --limit, --dtype and the like) are given here again. `dual-data
    eval report` then shows what was found.

    Example: dual-data eval attack --grid demo
    """
    need_torch()

    from dual_data.evaluation.devices import device_named
    from dual_data.evaluation.examine import AttackOptions, targets
    from dual_data.evaluation.examine import attack as run_attacks
    from dual_data.evaluation.utility import PANEL

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    where = device_named(device)
    root, spelled, cells = part.open()
    options = AttackOptions(
        device=where,
        lr=lr,
        tasks=tuple(task or ()),
        panel=panel or PANEL,
        task_folder=task_folder,
    )
    tally = run_attacks(spelled, targets(spelled, cells, options, say=say), options, project=root, say=say)
    print(f"{spelled.folder}: attacks on {len(tally.written)} cell{'' if len(tally.written) == 1 else 's'}")
    if tally.failed:
        raise DualDataError(f"attacks failed on {'; '.join(tally.failed)}")
