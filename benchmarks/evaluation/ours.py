"""The same cell, and whole grids, through the package, as users run them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.evaluation.clock import Clock, is_gpu
from benchmarks.evaluation.plain import workload_of
from benchmarks.evaluation.subject import Work
from benchmarks.evaluation.table import GRID_METHODS, GRID_STAGES
from dual_data.evaluation.grid.cells import cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.measure import Measurement, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.loading import Loaded, identify, load
from dual_data.evaluation.results import run_path
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import TrainingRows, encode
from dual_data.evaluation.settings import EvaluationSettings
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.train import train
from dual_data.evaluation.training.training_run import Trace

_NO_GRAPHS = ("was not recorded", "without CUDA graphs")
"""In notes of training and of decoding that took eager steps instead."""


class OurCell(NamedTuple):
    """Time and results of a cell."""

    clock: Clock
    trace: Trace
    measurement: Measurement
    how: dict[str, Any]


def run_cell(
    folder: Path, work: Work, *, device: str, dtype: str, rows: int, graphs: bool | None, start: Path | None = None
) -> OurCell:
    """Run a cell from the checkpoint in `folder`; `rows` are asked at once.

    The adapter before training is saved in `start`, in peft's format, so that the plain loop can begin with it.
    """
    identify(str(folder))  # remembers the hash of the weights, which can take as long as the cell
    clock = Clock(device)
    with clock.part("load"):
        loaded = load(folder, dtype, device)
    with clock.part("train"):
        adapters = Adapters(loaded.model, LoraSpec(), seeds=[work.seed])
        if start is not None:
            adapters.save(start, base=str(folder))
        trace = train_cells(loaded, adapters, work, [work.lr], graphs=graphs)[0]
    with clock.part("measure"):
        workload = workload_of(loaded.tokenizer, work)
        engine = fast_engine(loaded, adapters, rows=rows, new_tokens=work.new_tokens, graphs=graphs)
        measurement = measure(engine, workload)[0]
    adapters.remove()
    info = how(engine)
    notes = [*info["notes"], *trace.fallbacks]
    if trace.stopped:
        notes.append(f"training ended early: {trace.stopped}")
    return OurCell(clock, trace, measurement, info | {"notes": notes})


def fast_engine(
    loaded: Loaded, adapters: Adapters, *, rows: int, new_tokens: int, graphs: bool | None = None
) -> FastEngine:
    """The engine that the package opens. Raises RuntimeError if it is the slow one, which is not measured here."""
    engine = open_engine(loaded, adapters, rows=rows, max_new_tokens=new_tokens, graphs=graphs)
    if not isinstance(engine, FastEngine):
        raise RuntimeError(f"the package does not serve {loaded.info.spec} by its fast engine: {engine.notes}")
    return engine


def how(engine: FastEngine) -> dict[str, Any]:
    """How an engine has run; its rows are fewer than asked for if no more fit."""
    return {
        "rows_at_once": engine.rows,
        "cells_at_once": engine.cells,
        "graphs": engine.decoder.graphs,
        "attention": attention_kernels(),
        "notes": engine.notes,
    }


def attention_kernels() -> list[str]:
    """The attention kernels that torch may choose from on a GPU."""
    names = ("flash", "mem_efficient", "cudnn", "math")
    return [name for name in names if getattr(torch.backends.cuda, f"{name}_sdp_enabled")()]


def train_cells(
    loaded: Loaded, adapters: Adapters, work: Work, lrs: Sequence[float], *, graphs: bool | None
) -> list[Trace]:
    """Train one cell per learning rate, all at once."""
    forget, retain = (encode(loaded.tokenizer, rows, "chat") for rows in (work.forget, work.retain))
    data = TrainingRows(forget, retain, work.seed)
    optimisation = Optimisation(epochs=work.epochs, batch=work.batch)
    return train(loaded, adapters, method_named(work.method), data, lrs, optimisation, graphs=graphs)


class OurGrid(NamedTuple):
    """Time and size of a grid."""

    cells: int
    """Cells that were trained, without the models before unlearning."""
    clock: Clock
    failed: int
    written_bytes: int
    """Results and the adapters of training stages; a cell leaves no model."""
    how: dict[str, Any]
    """As for a cell: the most rows and cells at once, and the notes of all cells."""


def run_grid(
    folder: Path,
    work: Work,
    other: Sequence[Item],
    *,
    device: str,
    dtype: str,
    scratch: Path,
    options: RunOptions,
    stages: Sequence[str] = GRID_STAGES,
    methods: Sequence[str] = GRID_METHODS,
    lrs: Sequence[float] = (1e-6, 1e-5, 5e-5, 1e-4),
    say: Callable[[str], None] = lambda _: None,
) -> OurGrid:
    """Run stages x 2 sets x methods x learning rates x 1 seed as `dual-data eval run` does, results written.

    Raises RuntimeError where a model was measured by the slow engine.
    """
    data = scratch / "rows"
    data.mkdir(parents=True)
    for name, items in (("popular", work.forget), ("rare", other), ("retain", work.retain)):
        (data / f"{name}.jsonl").write_text("".join(json.dumps(_row(item)) + "\n" for item in items))
    settings = _settings(folder, data, work, dtype, stages, methods, lrs)
    grid = resolve_grid(settings, "speed", scratch, scratch / "results")
    cells = cells_of(grid)
    clock = Clock(device)
    with clock.part("grid"):
        tally = run(grid, cells, options, say=say)
    paths = list((grid.folder / "cells").glob("*.json"))
    results = [json.loads(path.read_text()) for path in paths]
    runs = [json.loads(run_path(path).read_text()) for path in paths]
    # The run resets the device's peak before each batch of cells. A cell that failed has no record, and no peak.
    peaks = [*clock.reserved_bytes.values(), *(row.get("peak_memory_bytes") or 0 for row in runs)]
    clock.reserved_bytes |= {"grid": max(peaks)} if any(peaks) else {}
    clock.peak_bytes.clear()  # of the last batch alone
    note_lists = [row.get("notes", ()) for row in runs]
    note_lists += [[f"{result['status']}: {result['reason']}"] for result in results if result["reason"]]
    notes = sorted({note for note_list in note_lists for note in note_list})
    if slow := [note for note in notes if note.startswith("slow evaluation")]:
        raise RuntimeError(f"the package does not serve {folder} by its fast engine: {slow}")
    return OurGrid(
        sum(cell.lr > 0 for cell in cells),
        clock,
        tally.failed,
        sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file() and data not in path.parents),
        {
            **{name: max(row.get(name) or 0 for row in runs) for name in ("rows_at_once", "cells_at_once")},
            "graphs": is_gpu(device) and not any(text in note for text in _NO_GRAPHS for note in notes),
            "attention": attention_kernels(),
            "notes": notes,
        },
    )


def _settings(
    folder: Path,
    data: Path,
    work: Work,
    dtype: str,
    stages: Sequence[str],
    methods: Sequence[str],
    lrs: Sequence[float],
) -> EvaluationSettings:
    """The grid `speed` of the model in `folder`, on the rows in `data`."""
    return EvaluationSettings.model_validate(
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
                "sft": {"train": ["forget", "retain_train"], "epochs": 3, "batch": 128, "micro_batch": 32, "lr": 2e-4}
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


def _row(item: Item) -> dict[str, object]:
    return {name: getattr(item, name) for name in ("question", "answer", "subject", "relation", "popularity")}
