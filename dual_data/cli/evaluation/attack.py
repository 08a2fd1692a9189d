"""`dual-data eval attack`: attacks that need the model, on results of `eval run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dual_data.cli.evaluation.grid import GridPart, Threads, expect_rate, on_grid, use_threads
from dual_data.cli.text import say
from dual_data.errors import DualDataError, UsageError
from dual_data.text.display import count


@on_grid
def attack(
    part: GridPart,
    *,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:1.", show_default="a GPU if there is one")
    ] = None,
    threads: Threads = None,
    most_seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", min=1, metavar="N", help="Attack at most N seeds of a cell.", show_default="all that were run"
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ATTACK",
            help="relearning, quantisation or tasks; may be repeated.",
            show_default="all, tasks where --task names some",
        ),
    ] = None,
    relearn_lr: Annotated[float, typer.Option("--relearn-lr", help="Learning rate of relearning.")] = 1e-4,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK", help="Task of lm-eval, such as mmlu or hellaswag; may be repeated."),
    ] = None,
    shots: Annotated[
        int, typer.Option("--shots", min=0, metavar="N", help="Worked examples before each question of a task.")
    ] = 0,
    task_folder: Annotated[
        Path | None, typer.Option("--task-folder", help="Folder with definitions of more tasks for lm-eval.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the attacks that are to do and an estimate; run nothing.")
    ] = False,
) -> None:
    """Attack the cells that the report shows.

    The attacks are relearning (tuning on some of the forgotten facts, or on others) and quantisation (rounding the
    weights to int8, int4 and nf4); --task evaluates the cells on tasks of lm-eval, which show what unlearning cost
    (without a chat template; lm-eval fetches their data from the Hub, or takes them from its cache).
    Every method is attacked at the learning rate that was chosen on forget and retain_train, with all seeds; tasks are
    run on the first seed only. What was done with the same --relearn-lr, --task or --shots is not repeated, results
    with other values are kept, and a run that was stopped continues with the attack that it was running.

    The grid must have been run with --save-adapters; give the options that narrowed it (--model, --limit, --dtype and
    the like) here again. `dual-data eval report` then shows all results.

    Example: dual-data eval attack --grid demo
    """
    expect_rate("--relearn-lr", relearn_lr)
    if shots and not task:
        raise UsageError("--shots: are shown before the questions of a task; name one with --task")
    if task_folder and not task:
        raise UsageError("--task-folder: holds the definitions of tasks; name one with --task")
    from dual_data.evaluation.attack_results import ATTACKS

    if unknown := [name for name in only or () if name not in ATTACKS]:
        raise UsageError(f"--only {unknown[0]}: no such attack; there are {', '.join(ATTACKS)}")
    if only and ("tasks" in only) != bool(task):
        raise UsageError("--only: takes tasks if --task names some, and only then")
    from dual_data.evaluation.models.cache import need_torch

    need_torch()
    part.check_file()

    from dual_data.evaluation.attacks.forecast import forecast
    from dual_data.evaluation.attacks.lm_eval_tasks import check_tasks
    from dual_data.evaluation.attacks.run import attack as run_attacks
    from dual_data.evaluation.attacks.targets import AttackOptions, targets
    from dual_data.evaluation.device.devices import device_named
    from dual_data.system.progress import TerminalProgress

    where = device_named(device)
    use_threads(threads)
    grid, cells = part.open()
    options = AttackOptions(
        device=where,
        only=tuple(only or ()),
        seeds=most_seeds or 0,
        lr=relearn_lr,
        tasks=tuple(task or ()),
        task_folder=task_folder,
        shots=shots,
    )
    chosen = targets(grid, cells, options, say=say, progress=TerminalProgress())
    if dry_run:
        if any("tasks" in target.todo for target in chosen):
            check_tasks(options.tasks, task_folder)
        for target in chosen:
            print(f"{target.cell.id}  {target.cell.label}: {', '.join(target.todo)}")
        print(f"\n{forecast(grid, cells, chosen, options)}")
        return
    if chosen:
        say(forecast(grid, cells, chosen, options))
    tally = run_attacks(grid, chosen, options, say=say)
    attacked = {path.parent for path in tally.written}
    print(f"{grid.folder}: {count(len(tally.written), 'attack')} on {count(len(attacked), 'cell')}")
    if tally.failed:
        raise DualDataError(f"attacks failed on {'; '.join(tally.failed)}")
