"""Options for a grid or a part of it, which `eval run` and `eval attack` share, and the selected cells."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.cli.text import say
from dual_data.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid
    from dual_data.evaluation.settings import EvaluationSettings


Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        metavar="N",
        help="CPU threads.",
        show_default="those that torch takes: $OMP_NUM_THREADS, or one for each core",
    ),
]


def _only(option: str, value: str, of: str) -> Any:
    return typer.Option(option, metavar=value, help=f"Only this {of}; may be repeated.")


@dataclass(frozen=True)
class GridPart:
    """A grid of a file, or a part of it; each field is an option of the command line."""

    grid: Annotated[str, typer.Option("--grid", "-g", help="Name of a grid in the grid file.")] = "demo"
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Grid file.", show_default="pipeline/evaluation.toml")
    ] = None
    project: ProjectFolder = HERE
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results.", show_default="artifacts/evaluation/GRID"),
    ] = None
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Only this model: a name in the file; or a Hub name, a folder or a GGUF file, loaded in bfloat16, on "
            "a CPU too, unless --dtype says otherwise; may be repeated.",
        ),
    ] = None
    stages: Annotated[list[str] | None, _only("--stage", "STAGE", "training stage")] = None
    sets: Annotated[list[str] | None, _only("--set", "SET", "forget set")] = None
    methods: Annotated[list[str] | None, _only("--method", "METHOD", "method")] = None
    lrs: Annotated[list[float] | None, _only("--lr", "RATE", "learning rate")] = None
    seeds: Annotated[list[int] | None, _only("--seed", "N", "seed")] = None
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            help="float32 or bfloat16.",
            show_default="the file's, or bfloat16 where it names none",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=1,
            help="At most N rows of a split and N questions of the panel, chosen by hash.",
            metavar="N",
        ),
    ] = None
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Allow code that comes with the model to run.")
    ] = False

    def check_file(self) -> None:
        """Raise UsageError for a faulty grid file or a grid that it lacks; imports no torch, which takes seconds."""
        from dual_data.evaluation.settings import grid_named, read_settings
        from dual_data.project.loading import find_root

        path = self._path(find_root(self.project))
        grid_named(read_settings(path), self.grid, path)

    def _path(self, root: Path) -> Path:
        return self.file or root / "pipeline" / "evaluation.toml"

    def open(self) -> tuple[Grid, list[Cell]]:
        """The grid reduced to this part, and its cells."""
        from dual_data.evaluation.grid.cells import cells_of, resolve_grid
        from dual_data.evaluation.methods import load_methods
        from dual_data.evaluation.settings import expect_methods, read_settings
        from dual_data.project.loading import find_root

        for lr in self.lrs or ():
            expect_rate("--lr", lr)
        root = find_root(self.project)
        load_methods(root)
        path = self._path(root)
        out = self.out or root / "artifacts" / "evaluation" / self.grid
        settings = _narrow(read_settings(path), self, path)
        chosen = settings.grids[self.grid]
        methods = settings.presets[chosen.preset].methods
        # Only those of this part: another grid's method may be gone, and its cells remain to be reported.
        expect_methods({chosen.preset: {name: methods[name] for name in chosen.methods or methods}}, path)
        try:
            grid = resolve_grid(settings, self.grid, root, out)
        except ConfigError as error:
            if error.file is not None:
                raise
            raise ConfigError(str(error), file=path) from None
        return grid, cells_of(grid)


def on_grid(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command to take the options of :class:`GridPart` and call it with the part.

    Typer reads options from the signature, so the command gets one that lists them all.
    """
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    shared = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(GridPart, eval_str=True).parameters.values()
    ]
    parameters = [*shared, *own]

    @functools.wraps(command)
    def run(**options: Any) -> None:
        command(GridPart(**{parameter.name: options.pop(parameter.name) for parameter in shared}), **options)

    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def expect_rate(option: str, rate: float) -> None:
    """Raise UsageError for a learning rate at which nothing can be learnt."""
    if not 0 < rate < math.inf:
        raise UsageError(f"{option} {rate:g}: a learning rate is a number greater than 0")


def use_threads(threads: Threads) -> None:
    """Set torch's number of threads; None leaves its default."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _narrow(settings: EvaluationSettings, part: GridPart, path: Path) -> EvaluationSettings:
    from dual_data.config import parse
    from dual_data.evaluation.models.loading import dtype_named
    from dual_data.evaluation.settings import EvaluationSettings, grid_named

    # Without defaults, since a list that is left out may not be empty.
    whole = {"models": {}, **settings.model_dump(exclude_unset=True)}
    table = grid_named(settings, part.grid, path).model_dump(exclude_unset=True)
    for key in ("models", "stages", "sets", "methods", "lrs", "seeds"):
        if chosen := getattr(part, key):
            table[key] = tuple(dict.fromkeys(chosen))
    if part.limit is not None:
        table["limit"] = part.limit
        table["panel_questions"] = min(table.get("panel_questions", 0), part.limit)
    for name in table["models"]:
        if name not in whole["models"]:  # a hub name, a folder or a file
            _say_unless_known(name, whole["models"], path)
            # A path on the command line is relative to the working directory, one in the file to the project.
            spec = str(Path(name).absolute()).replace("$", "$$") if Path(name).exists() else name
            whole["models"][name] = {"spec": spec}
        if part.dtype is not None:
            dtype_named(part.dtype)
            whole["models"][name]["dtype"] = part.dtype
        if part.trust_remote_code:
            whole["models"][name]["trust_remote_code"] = True
    whole["grids"] = {part.grid: table}
    return parse(EvaluationSettings, whole, path)


def _say_unless_known(name: str, known: Mapping[str, object], path: Path) -> None:
    """Print a note on an unknown bare name, which may be a typo: it may exist on the Hub, but a refusal takes long."""
    from dual_data.evaluation.models.names import SMOLLM2, is_tiny

    if "/" in name or Path(name).exists() or name == SMOLLM2 or is_tiny(name):
        return
    say(f"{name}: not a model in {path} ({', '.join(known)}) and not a folder here: looking for it on the Hub")
