"""python -m tests.evaluation.on_separate_device FOLDER: train, measure and attack on the device and the host; as JSON.

This is a separate process because torch accepts a device only before the first backward pass.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from dual_data.evaluation.attacks.run import attack
from dual_data.evaluation.attacks.targets import AttackOptions, targets
from dual_data.evaluation.grid.cells import cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import read_results
from dual_data.evaluation.rows.request import Request
from dual_data.evaluation.settings import load_settings
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from tests.evaluation.questions import cities, other_cities, write_rows
from tests.evaluation.separate_device import NAME, register, separate_device
from tests.evaluation.training.oracle import OPTIONS, SPEC, problem

NEW_TOKENS = 40

GRID = """
[models.tiny]
spec = "MODEL"
dtype = "float32"

[data.cities]
folder = "."
forget = { rare = "forget.jsonl" }
retain_train = { path = "retain.jsonl", end = 0.5 }
retain_eval = { path = "retain.jsonl", start = 0.5 }

[stages.sft]
train = ["forget", "retain_train"]
epochs = 1
lr = 1e-3

[presets.small]
epochs = 2
lrs = [1e-3, 1e-2]
max_new_tokens = 12
lora = { rank = 4, alpha = 8.0 }
methods = { NPO = {}, RMU = { layer = 0 } }

[grids.small]
models = ["tiny"]
data = "cities"
stages = ["sft"]
preset = "small"
panel = "shipped"
panel_questions = 12
attacks = ["cloze", "in_context"]
"""


def trained(device: str, method: str, batch: int) -> list[list[float]]:
    """Losses of two cells that are trained together."""
    rows = problem()
    loaded = tiny("llama")
    moved: Any = loaded.model
    moved.to(device)
    traces = train(
        loaded,
        Adapters(loaded.model, SPEC, seeds=(0, 1)),
        METHODS[method],
        rows.data,
        [1e-3, 1e-4],
        Optimisation(epochs=2, batch=batch),
        options=OPTIONS.get(method, {}),
    )
    return [trace.losses for trace in traces]


def grid(device: str, folder: Path) -> list[dict[str, Any]]:
    """Scores and generations of a grid that runs on `device`, and its attacks."""
    write_rows(folder / "forget.jsonl", cities(4))
    write_rows(folder / "retain.jsonl", other_cities())
    model = folder / "model"
    if not model.exists():
        made = tiny("llama")
        made.model.save_pretrained(model)
        made.tokenizer.save_pretrained(model)
    (folder / "grid.toml").write_text(GRID.replace("MODEL", str(model)))
    small_grid = resolve_grid(load_settings(folder / "grid.toml"), "small", folder, folder / device)
    cells = cells_of(small_grid)
    tally = run(small_grid, cells, RunOptions(device, cells_at_once=2, save_adapters=True))
    options = AttackOptions(device, steps=(0, 1, 4))
    attacks = attack(small_grid, targets(small_grid, cells, options), options)
    results = sorted(read_results(small_grid.folder), key=lambda entry: str(entry[0]))
    return [
        {"tally": tally._asdict(), "failed": attacks.failed},
        *({"scores": result["summary"], "items": result["items"], "panel": result["panel"]} for _, result in results),
        *({"attack": json.loads(path.read_text())[path.stem.partition("-")[0]]} for path in sorted(attacks.written)),
    ]


def decoded(device: str) -> int:
    """Number of rows of two cells that get `NEW_TOKENS` tokens; no token ends an answer."""
    setup = problem(seeds=(0, 1))
    loaded = tiny("llama")
    moved: Any = loaded.model
    moved.to(device)
    loaded = loaded._replace(info=loaded.info._replace(stop_ids=()))
    engine = FastEngine(loaded, Adapters(loaded.model, SPEC, seeds=(0, 1)), rows=64, max_new_tokens=NEW_TOKENS)
    outcomes = engine.run([Request(row.prompt_ids, ()) for row in setup.forget])
    return sum(len(row.generation) == NEW_TOKENS for cell in outcomes for row in cell)


def main(folder: Path) -> dict[str, Any]:
    """Results here, on the host, and there, on the device, and what the host waited for."""
    register()
    steps = {method: {"here": trained("cpu", method, 5), "waits": list[Any]()} for method in METHODS}
    with separate_device():
        # Once per process, the trials of fast paths wait for the device, and RMU's direction is copied there.
        for method in ("NPO", "RMU"):
            trained(NAME, method, 5)
    for method, runs in steps.items():
        for batch in (1, 5):
            with separate_device() as watch:
                runs["there"] = trained(NAME, method, batch)
            runs["waits"].append(watch.waits)
    with separate_device() as watch:
        rows = decoded(NAME)
        waits = Counter(watch.waits)
        there = grid(NAME, folder)
        refused = _refused()
    return {
        "steps": steps,
        "grid": {"here": grid("cpu", folder), "there": there},
        "rows": rows,
        "decoding": waits,
        "refused": refused,
    }


def _refused() -> str:
    try:
        torch.zeros(2, device=NAME) + torch.zeros(2)
    except RuntimeError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
