"""A project with a small grid of random models that is run, to be attacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dual_data.evaluation.grid.cells import Cell, Grid, cells_of, resolve_grid
from dual_data.evaluation.settings import load_settings
from tests.cli.command import dual_data
from tests.evaluation.questions import cities, other_cities, write_rows

GRID = """
[models.tiny]
spec = "tiny-llama"
dtype = "float32"

[data.cities]
folder = "."
retain_train = { path = "retain.jsonl", end = 0.5 }
retain_eval = { path = "retain.jsonl", start = 0.5 }
[data.cities.forget]
rare = "forget.jsonl"
[data.cities.measured]
neighbor_relation = "neighbours.jsonl"

[presets.small]
epochs = 2
methods.GradDiff = {}
lrs = [1e-3, 1e-2]
max_new_tokens = 4
lora = { rank = 4, alpha = 8.0 }

[grids.one]
models = ["tiny"]
data = "cities"
preset = "small"
"""


def write_project(folder: Path, *, adapters: bool, more: Sequence[str] = (), grid: str = GRID) -> list[str]:
    """Write a project and run its one grid; the command-line options that name the grid."""
    (folder / "pipeline").mkdir()
    (folder / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    (folder / "pipeline" / "evaluation.toml").write_text(grid)
    items = cities()
    write_rows(folder / "forget.jsonl", items[:4])
    write_rows(folder / "retain.jsonl", other_cities())
    write_rows(folder / "neighbours.jsonl", [item._replace(question=f"Say: {item.question}") for item in items[4:]])
    options = ["--grid", "one", "--project", str(folder), "--device", "cpu"]
    assert dual_data("eval", "run", *options, *(["--save-adapters"] if adapters else []), *more).code == 0
    return options


def opened(folder: Path) -> tuple[Grid, list[Cell]]:
    """The grid of the project and its cells."""
    settings = load_settings(folder / "pipeline" / "evaluation.toml")
    grid = resolve_grid(settings, "one", folder, folder / "artifacts" / "evaluation" / "one")
    return grid, cells_of(grid)


def attack_files(folder: Path) -> dict[Path, bytes]:
    """The results of attacks in a grid's folder."""
    return {path: path.read_bytes() for path in folder.glob("attacks/*/*.json")}
