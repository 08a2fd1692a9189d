"""The same cell, and whole grids, through the package: what people run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.evaluation.clock import Clock
from benchmarks.evaluation.plain import workload_of
from benchmarks.evaluation.subject import Work
from dual_data.evaluation.cells import cells_of, spell_out
from dual_data.evaluation.data import Item, encode
from dual_data.evaluation.engine import open_engine
from dual_data.evaluation.grid import RunOptions, run
from dual_data.evaluation.lora import Adapters, LoraSpec
from dual_data.evaluation.measure import Measurement, measure
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models import Loaded, identify, load
from dual_data.evaluation.order import Optimisation
from dual_data.evaluation.settings import EvaluationSettings
from dual_data.evaluation.train import CellData, Trace, train

GRID_METHODS = ("GradAscent", "GradDiff", "NPO")


class OurCell(NamedTuple):
    """What a cell took and gave."""

    clock: Clock
    trace: Trace
    measured: Measurement


def run_cell(
    folder: Path, work: Work, *, device: str, dtype: str, rows: int, graphs: bool | None, adapter: Path | None = None
) -> OurCell:
    """Run a cell from the checkpoint in `folder`; `rows` are asked at once. `adapter` is where training starts."""
    clock = Clock(device)
    with clock.part("load"):
        loaded = load(folder, dtype, device)
    with clock.part("train"):
        adapters = Adapters(loaded.model, LoraSpec(), seeds=[work.seed])
        if adapter is not None:
            adapters.load(adapter)
        trace = train_cells(loaded, adapters, work, [work.lr], graphs=graphs)[0]
    with clock.part("measure"):
        workload = workload_of(loaded.tokenizer, work)
        engine = open_engine(loaded, adapters, rows=rows, max_new_tokens=work.new_tokens, graphs=graphs, hidden=False)
        measured = measure(engine, workload)[0]
    adapters.remove()
    return OurCell(clock, trace, measured)


def train_cells(
    loaded: Loaded, adapters: Adapters, work: Work, lrs: Sequence[float], *, graphs: bool | None
) -> list[Trace]:
    """Train one cell a learning rate, all at once."""
    forget, retain = (encode(loaded.tokenizer, rows, "chat") for rows in (work.forget, work.retain))
    cells = [CellData(forget, retain, lr, work.seed) for lr in lrs]
    how = Optimisation(epochs=work.epochs, batch=work.batch)
    return train(loaded, adapters, method_named(work.method), cells, how, graphs=graphs)


def fresh_adapter(folder: Path, target: Path, *, dtype: str, seed: int) -> Path:
    """An adapter as training begins with it, in peft's format: so that both sides start from the same one."""
    loaded = load(folder, dtype)
    adapters = Adapters(loaded.model, LoraSpec(), seeds=[seed])
    adapters.save(target, base=str(folder))
    adapters.remove()
    return target


class OurGrid(NamedTuple):
    """What a grid took."""

    cells: int
    """Cells that were trained; the models before unlearning come on top."""
    clock: Clock
    stages: int
    failed: int


def run_grid(
    folder: Path,
    work: Work,
    other: Sequence[Item],
    *,
    device: str,
    dtype: str,
    scratch: Path,
    options: RunOptions,
    stages: Sequence[str] = ("pretrained", "sft"),
    methods: Sequence[str] = GRID_METHODS,
    lrs: Sequence[float] = (1e-6, 1e-5, 5e-5, 1e-4),
    say: Callable[[str], None] = lambda _: None,
) -> OurGrid:
    """Run stages x 2 sets x methods x learning rates x 1 seed as `dual-data eval run` does, results written."""
    data = scratch / "rows"
    data.mkdir(parents=True)
    for name, items in (("popular", work.forget), ("rare", other), ("retain", work.retain)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(_row(item)) + "\n" for item in items))
    settings = EvaluationSettings.model_validate(
        {
            "models": {"model": {"spec": str(folder), "dtype": dtype}},
            "data": {
                "rows": {
                    "folder": str(data),
                    "forget": {"rare": "rare.jsonl", "popular": "popular.jsonl"},
                    "retain_train": "retain.jsonl",
                    "retain_eval": "retain.jsonl",
                }
            },
            "stages": {
                "sft": {"train": ["forget", "retain_train"], "epochs": 3, "batch": 128, "micro": 32, "lr": 2e-4}
            },
            "presets": {
                "speed": {
                    "epochs": work.epochs,
                    "batch": work.batch,
                    "lrs": list(lrs),
                    "methods": {method: {} for method in methods},
                    "max_new_tokens": work.new_tokens,
                }
            },
            "grids": {
                "speed": {
                    "models": ["model"],
                    "data": "rows",
                    "stages": list(stages),
                    "preset": "speed",
                    "paraphrases": False,
                    "distractors": work.distractors,
                }
            },
        }
    )
    grid = spell_out(settings, "speed", scratch, scratch / "results")
    cells = cells_of(grid, lambda model: identify(model.spec))
    clock = Clock(device)
    with clock.part("grid"):
        tally = run(grid, cells, options, project=scratch, say=say)
    trained = sum(cell.lr > 0 for cell in cells)
    return OurGrid(trained, clock, sum(stage != "pretrained" for stage in stages), tally.failed)


def _row(item: Item) -> dict[str, object]:
    row: dict[str, object] = {"question": item.question, "answer": item.answer, "subject": item.subject}
    return row | {"relation": item.relation, "popularity": item.popularity}
