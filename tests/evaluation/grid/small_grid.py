"""A grid of the tiny model on a handful of cities, in a project of its own."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dual_data.evaluation.grid.cells import Cell, Grid, cells_of, resolve_grid
from dual_data.evaluation.settings import load_settings
from tests.evaluation.questions import cities

FILE = """
[models.tiny]
spec = "tiny-llama"
dtype = "float32"

[data.cities]
folder = "data"
popularity = "the number of visitors"
forget = { rare = "rare.jsonl", popular = "popular.jsonl" }
retain_train = { path = "retain.jsonl", end = 0.5 }
retain_eval = { path = "retain.jsonl", start = 0.5 }

[stages.sft]
train = ["forget", "retain_train", "retain_eval"]
epochs = 2
lr = 1e-2

[stages.sft_new]
train = ["forget", "retain_train", "retain_eval"]
counterfactual = true
epochs = 2
lr = 1e-2

[presets.short]
lrs = [1e-3, 1e-2]
epochs = 2
batch = 2
max_new_tokens = 3
lora = { rank = 2, alpha = 4.0 }
[presets.short.methods]
GradAscent = {}
NPO = { beta = 0.5 }

[grids.one]
models = ["tiny"]
data = "cities"
stages = ["pretrained", "sft"]
sets = ["rare"]
preset = "short"
seeds = [0, 1]

[grids.all]
models = ["tiny"]
data = "cities"
preset = "short"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    items = cities()
    more = [item._replace(id=f"more-{n}", question=f"{n}: {item.question}") for n in range(3) for item in items]
    for name, rows in (("rare", items[:3]), ("popular", items[3:]), ("retain", more)):
        frame = [
            {"question": i.question, "answer": i.answer, "subject": i.subject, "relation": "P17", "pop_sum": float(n)}
            for n, i in enumerate(rows)
        ]
        pl.DataFrame(frame).write_ndjson(data / f"{name}.jsonl")
    (tmp_path / "evaluation.toml").write_text(FILE)
    return tmp_path


def opened(project: Path, name: str = "one", file: str = FILE, out: str = "out") -> tuple[Grid, list[Cell]]:
    path = project / "evaluation.toml"
    path.write_text(file)
    grid = resolve_grid(load_settings(path), name, project, project / out / name)
    return grid, cells_of(grid)


def one_stage(file: str = FILE) -> str:
    return file.replace('stages = ["pretrained", "sft"]\nsets', "sets").replace("seeds = [0, 1]", "seeds = [0]")


def run_command(project: Path, out: Path, *options: str) -> tuple[str | Path, ...]:
    """The command that runs the grid `one` of the project into a folder."""
    (project / "pipeline").mkdir()
    (project / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    return (
        "eval", "run", "--grid", "one", "--file", project / "evaluation.toml", "--project", project, "--out", out,
        "--device", "cpu", *options,
    )  # fmt: skip
