"""Options that name a grid or a part of it, which `eval run` and `eval attack` share, and the cells that they mean."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from dual_data.cli.options import HERE, ProjectFolder
from dual_data.errors import MissingExtra

if TYPE_CHECKING:
    from dual_data.evaluation.grid.cells import Cell, Grid
    from dual_data.evaluation.settings import EvaluationSettings


Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]


@dataclass(frozen=True)
class GridPart:
    """A grid of a file, or the part of it that the options leave: each is an option of the command line."""

    grid: Annotated[str, typer.Option("--grid", "-g", help="Grid of the file.")] = "demo"
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Grid file.", show_default="pipeline/evaluation.toml")
    ] = None
    project: ProjectFolder = HERE
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the results.", show_default="artifacts/evaluation/GRID"),
    ] = None
    model: Annotated[
        str | None,
        typer.Option("--model", help="One model only: a name in the file, a hub name, a folder or a GGUF file."),
    ] = None
    stage: Annotated[str | None, typer.Option("--stage", help="One training stage only.")] = None
    forget: Annotated[str | None, typer.Option("--set", help="One set to forget only.")] = None
    method: Annotated[str | None, typer.Option("--method", help="One method only.")] = None
    # Not `lr`: that is what `eval attack`, which takes this option out, calls the learning rate of relearning.
    rate: Annotated[float | None, typer.Option("--lr", help="One learning rate only.")] = None
    seed: Annotated[int | None, typer.Option("--seed", help="One seed only.")] = None
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32, bfloat16 or float16 in place of the file's.")
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, help="At most N rows of a split and N questions of the panel, by hash.", metavar="N"
        ),
    ] = None
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Allow code that comes with the model to run.")
    ] = False

    def open(self) -> Opened:
        """The project, the grid cut down to this part, and its cells."""
        from dual_data.evaluation.grid.cells import cells_of, spell_out
        from dual_data.evaluation.settings import load_settings
        from dual_data.project import find_root

        root = find_root(self.project)
        path = self.file or root / "pipeline" / "evaluation.toml"
        out = self.out or root / "artifacts" / "evaluation" / self.grid
        grid = spell_out(_narrow(load_settings(path), self, path), self.grid, root, out)
        return Opened(root, grid, cells_of(grid))


class Opened(NamedTuple):
    """What a part of a grid means."""

    project: Path
    grid: Grid
    cells: list[Cell]


def on_grid(*, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of :class:`GridPart`, but those `without`, around its own; it is called with the part.

    Typer reads options from a signature, so the command gets one that lists them all.
    """

    def give(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        *shared, last = (
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for one in inspect.signature(GridPart, eval_str=True).parameters.values()
            if one.name not in without
        )
        parameters = [*shared, *own, last]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            part = GridPart(**{one.name: given.pop(one.name) for one in (*shared, last)})
            command(part, **given)

        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return give


def need_torch() -> None:
    """Raise MissingExtra where the packages of the evaluation are not installed."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "eval")


def use_threads(threads: Threads) -> None:
    """Let torch compute on so many threads, or on as many as it chooses."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)


def _narrow(settings: EvaluationSettings, part: GridPart, path: Path) -> EvaluationSettings:
    from dual_data.config import parse
    from dual_data.evaluation.models.loading import dtype_named
    from dual_data.evaluation.settings import EvaluationSettings, grid_named

    whole = settings.model_dump()
    table = grid_named(settings, part.grid, path).model_dump()
    one_of = {
        "models": part.model, "stages": part.stage, "sets": part.forget, "methods": part.method, "lrs": part.rate,
        "seeds": part.seed,
    }  # fmt: skip
    table |= {key: (value,) for key, value in one_of.items() if value is not None}
    if part.limit is not None:
        table["limit"] = part.limit
        table["panel_questions"] = min(table["panel_questions"], part.limit)
    for name in table["models"]:
        if name not in whole["models"]:  # a hub name, a folder or a file
            _say_unless_known(name, whole["models"], path)
            # A path that is given here is of this folder, one in the file of the project.
            whole["models"][name] = {"spec": str(Path(name).absolute()) if Path(name).exists() else name}
        if part.dtype is not None:
            dtype_named(part.dtype)
            whole["models"][name]["dtype"] = part.dtype
        if part.trust_remote_code:
            whole["models"][name]["trust_remote_code"] = True
    whole["grids"] = {part.grid: table}
    return parse(EvaluationSettings, whole, path)


def _say_unless_known(name: str, known: Mapping[str, object], path: Path) -> None:
    """Tell of a bare word that may be a slip: the Hub, which has a few such names, takes long to say no."""
    if "/" in name or Path(name).exists() or name == "smollm2" or name.startswith("tiny-"):
        return
    print(f"{name}: no model of {path} ({', '.join(known)}) and no folder here: asking the Hub for it", file=sys.stderr)
