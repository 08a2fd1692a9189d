"""`dual-data eval run`: the grid of unlearning cells."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.errors import DualDataError, MissingExtra

if TYPE_CHECKING:
    from dual_data.evaluation.cells import Cell, Grid
    from dual_data.evaluation.settings import EvaluationSettings


def run(
    *,
    grid: Annotated[str, typer.Option("--grid", "-g", help="Grid of the file.")] = "demo",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Grid file.", show_default="pipeline/evaluation.toml")
    ] = None,
    project: ProjectFolder = HERE,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results.", show_default="artifacts/evaluation/GRID"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="One model only: a name in the file, a hub name, a folder or a GGUF file."),
    ] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="One training stage only.")] = None,
    forget: Annotated[str | None, typer.Option("--set", help="One set to forget only.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="One method only.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="One learning rate only.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="One seed only.")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16 or float16 in place of the file's.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most N rows a split, chosen by hash.", metavar="N")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, steps, tokens and an estimate; run nothing.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="cpu, cuda, cuda:1; several with commas between share the cells, in a process each.",
            show_default="a GPU if there is one",
        ),
    ] = None,
    cells_at_once: Annotated[
        int | None,
        typer.Option("--cells-at-once", min=1, help="Cells trained as one batch.", show_default="4 on a GPU, else 1"),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows a batch when measuring.")] = 64,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")] = None,
    save_adapters: Annotated[
        bool, typer.Option("--save-adapters", help="Keep every cell's adapter, in peft's format.")
    ] = False,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
) -> None:
    """Run a grid of unlearning cells, or one cell; what has a result is not run again.

    Example: dual-data eval run --grid demo --dry-run
    """
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "eval")
    # Threads that spin while they wait are ten times slower wherever another process wants the processor too.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch

    from dual_data.evaluation.cells import cells_of, spell_out
    from dual_data.evaluation.grid import RunOptions
    from dual_data.evaluation.grid import run as run_grid
    from dual_data.evaluation.models import identify
    from dual_data.evaluation.settings import load_settings
    from dual_data.evaluation.workers import run_spread
    from dual_data.project import find_root

    root = find_root(project)
    path = file or root / "pipeline" / "evaluation.toml"
    settings = _narrow(
        load_settings(path),
        grid,
        path,
        {
            "models": model,
            "stages": stage,
            "sets": forget,
            "methods": method,
            "lrs": lr,
            "seeds": seed,
            "limit": limit,
        },
        dtype=dtype,
        trust_remote_code=trust_remote_code,
    )
    folder = out or root / "artifacts" / "evaluation" / grid
    spelled = spell_out(settings, grid, root, folder)
    cells = cells_of(
        spelled,
        lambda one: identify(one.spec, trust_remote_code=one.trust_remote_code, revision=one.revision),
    )
    devices = device.split(",") if device else ["cuda" if torch.cuda.is_available() else "cpu"]
    if threads is not None:
        torch.set_num_threads(threads)
    if dry_run:
        _print_plan(spelled, cells, devices[0])
        return
    options = [
        RunOptions(
            device=where,
            cells_at_once=cells_at_once or (4 if where.startswith("cuda") else 1),
            rows=rows,
            save_adapters=save_adapters,
        )
        for where in devices
    ]
    if len(options) > 1:
        tally = run_spread(spelled, cells, options, project=root)
    else:
        tally = run_grid(
            spelled, cells, options[0], project=root, say=lambda line: print(line, file=sys.stderr, flush=True)
        )
    print(f"{folder}: {tally.done} done, {tally.stopped} stopped, {tally.failed} failed, {tally.elsewhere} elsewhere")
    if tally.failed:
        raise DualDataError(f"{tally.failed} cell(s) failed; each result in {folder / 'cells'} has its reason")


def _narrow(
    settings: EvaluationSettings,
    grid: str,
    path: Path,
    chosen: dict[str, str | float | int | None],
    *,
    dtype: str | None,
    trust_remote_code: bool,
) -> EvaluationSettings:
    """The settings with the grid cut down to what the options name."""
    from dual_data.config import parse
    from dual_data.evaluation.models import dtype_named
    from dual_data.evaluation.settings import EvaluationSettings, grid_named

    whole = settings.model_dump()
    table = grid_named(settings, grid, path).model_dump()
    for key, value in chosen.items():
        if value is not None:
            table[key] = value if key == "limit" else (value,)
    for name in table["models"]:
        if name not in whole["models"]:  # a hub name, a folder or a file
            whole["models"][name] = {"spec": name}
        if dtype is not None:
            dtype_named(dtype)
            whole["models"][name]["dtype"] = dtype
        if trust_remote_code:
            whole["models"][name]["trust_remote_code"] = True
    whole["grids"] = {grid: table}
    return parse(EvaluationSettings, whole, path)


def _print_plan(grid: Grid, cells: list[Cell], device: str) -> None:
    from dual_data.evaluation.forecast import forecast

    plan = forecast(grid, cells, device)
    for line in plan.lines:
        state = "done" if line.done else "to do"
        print(
            f"{line.cell.id}  {state:5}  {line.cell.label}: {line.steps} steps, "
            f"{line.training_tokens:,} training and {line.measured_tokens:,} measured tokens"
        )
    print(f"\n{len(plan.lines)} cells, {plan.to_do} to do: {plan.summary}")
