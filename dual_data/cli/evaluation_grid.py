"""Options that name a grid or a part of it, which `eval run` and `eval attack` share, and the cells that they mean."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dual_data.errors import MissingExtra

if TYPE_CHECKING:
    from dual_data.evaluation.cells import Cell, Grid
    from dual_data.evaluation.settings import EvaluationSettings

GridName = Annotated[str, typer.Option("--grid", "-g", help="Grid of the file.")]
GridFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="Grid file.", show_default="pipeline/evaluation.toml")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the results.", show_default="artifacts/evaluation/GRID"),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="One model only: a name in the file, a hub name, a folder or a GGUF file."),
]
StageName = Annotated[str | None, typer.Option("--stage", help="One training stage only.")]
SetName = Annotated[str | None, typer.Option("--set", help="One set to forget only.")]
MethodName = Annotated[str | None, typer.Option("--method", help="One method only.")]
Seed = Annotated[int | None, typer.Option("--seed", help="One seed only.")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="float32, bfloat16 or float16 in place of the file's.")]
Rows = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most N rows a split, chosen by hash.", metavar="N")
]
RemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]


def need_torch() -> None:
    """Raise MissingExtra where the packages of the evaluation are not installed."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "eval")


def open_grid(
    grid: str,
    path: Path,
    root: Path,
    out: Path | None,
    narrowed: Mapping[str, str | float | int | None],
    *,
    dtype: str | None,
    trust_remote_code: bool,
) -> tuple[Grid, list[Cell]]:
    """The grid of the file cut down to what is `narrowed`, by key of `GridSettings`, and its cells."""
    from dual_data.evaluation.cells import cells_of, spell_out
    from dual_data.evaluation.models import identify
    from dual_data.evaluation.settings import load_settings

    settings = _narrow(load_settings(path), grid, path, narrowed, dtype=dtype, trust_remote_code=trust_remote_code)
    spelled = spell_out(settings, grid, root, out or root / "artifacts" / "evaluation" / grid)
    cells = cells_of(
        spelled,
        lambda one: identify(one.spec, trust_remote_code=one.trust_remote_code, revision=one.revision),
    )
    return spelled, cells


def _narrow(
    settings: EvaluationSettings,
    grid: str,
    path: Path,
    narrowed: Mapping[str, str | float | int | None],
    *,
    dtype: str | None,
    trust_remote_code: bool,
) -> EvaluationSettings:
    from dual_data.config import parse
    from dual_data.evaluation.models import dtype_named
    from dual_data.evaluation.settings import EvaluationSettings, grid_named

    whole = settings.model_dump()
    table = grid_named(settings, grid, path).model_dump()
    for key, value in narrowed.items():
        if value is not None:
            table[key] = value if key == "limit" else (value,)
    for name in table["models"]:
        if name not in whole["models"]:  # a hub name, a folder or a file
            _say_unless_known(name, whole["models"], path)
            whole["models"][name] = {"spec": name}
        if dtype is not None:
            dtype_named(dtype)
            whole["models"][name]["dtype"] = dtype
        if trust_remote_code:
            whole["models"][name]["trust_remote_code"] = True
    whole["grids"] = {grid: table}
    return parse(EvaluationSettings, whole, path)


def _say_unless_known(name: str, known: Mapping[str, object], path: Path) -> None:
    """Tell of a bare word that may be a slip: the Hub, which has a few such names, takes long to say no."""
    if "/" in name or Path(name).exists() or name == "smollm2" or name.startswith("tiny-"):
        return
    print(f"{name}: no model of {path} ({', '.join(known)}) and no folder here: asking the Hub for it", file=sys.stderr)
