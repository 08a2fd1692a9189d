"""Runs a grid: one resident base a model, cells as adapters that are trained, measured and dropped in place.

    model -> stage and its seed -> set to forget -> before unlearning -> method -> cells, some at once

A cell that has a result is never run again; a killed run loses the cells in flight and no more. Several processes may
run one grid (`workers` starts one a device): each takes cells that no other has taken.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dual_data import __version__
from dual_data.engine.manifest import git_state
from dual_data.errors import DualDataError
from dual_data.evaluation.cells import Cell, Grid, is_done
from dual_data.evaluation.claims import any_free, claimed
from dual_data.evaluation.data import Encoded, Item, encode, token_hash
from dual_data.evaluation.embedding import SentenceEmbedder
from dual_data.evaluation.engine import open_engine
from dual_data.evaluation.full import FullWeights
from dual_data.evaluation.lora import Adapters
from dual_data.evaluation.measure import Measurement, measure
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models import Loaded, load
from dual_data.evaluation.optimiser import Trainable
from dual_data.evaluation.plain import PlainEngine
from dual_data.evaluation.results import BASE, FORMAT, Result, write_result
from dual_data.evaluation.settings import ModelSettings
from dual_data.evaluation.smaller import halving
from dual_data.evaluation.stages import applied, prepare
from dual_data.evaluation.stream import Engine
from dual_data.evaluation.train import CellData, Trace, train
from dual_data.evaluation.workload import Workload, build_workload


class RunOptions(NamedTuple):
    """How a grid is run; nothing here changes a number beyond rounding."""

    device: str = "cpu"
    cells_at_once: int = 1
    """Cells of one method trained and measured as one batch."""
    rows: int = 64
    """Rows a batch of the measurement, of all cells together."""
    graphs: bool | None = None
    """Whether steps are replayed as CUDA graphs; None for whenever there is a GPU."""
    save_adapters: bool = False
    """Whether every cell's adapter is kept, below adapters/ in the results' folder."""
    start: float = 0.0
    """Where to begin, as a share of the grid: processes that share one do not all prepare the same stage first."""


class Tally(NamedTuple):
    """How a run ended."""

    done: int
    stopped: int
    failed: int
    elsewhere: int
    """Cells that another process had taken."""


def run(
    grid: Grid,
    cells: Sequence[Cell],
    options: RunOptions,
    *,
    project: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Run those of `cells` that have no result yet. What goes wrong in a cell is its result and ends no other."""
    counts = dict.fromkeys(Tally._fields, 0)
    todo = [cell for cell in cells if not is_done(grid.folder, cell)]
    benches = [found for _, found in _by(todo, lambda cell: (cell.model, *_stage_of(grid, cell)))]
    first = int(options.start * len(benches))
    for name, of_model in groupby(benches[first:] + benches[:first], lambda found: found[0].model):
        loaded: Loaded | None = None
        for of_stage in of_model:
            if not any_free(grid.folder, of_stage):
                counts["elsewhere"] += len(of_stage)
                continue
            if loaded is None:
                say(f"{name}: loading {grid.models[name].spec} in {grid.models[name].dtype}")
                loaded = load_model(grid.models[name], options.device)
            bench = _Bench(grid, loaded, options, project, say)
            try:
                found = bench.run(of_stage)
            except DualDataError as error:  # the stage or the base's measurement: none of its cells can be run
                found = bench.fail([cell for cell in of_stage if not is_done(grid.folder, cell)], str(error))
            for status, count in found.items():
                counts[status] += count
        del loaded
        if options.device.startswith("cuda"):
            torch.cuda.empty_cache()
    return Tally(**counts)


def load_model(settings: ModelSettings, device: str) -> Loaded:
    """A model of the grid file on a device."""
    return load(
        settings.spec,
        settings.dtype,
        device,
        trust_remote_code=settings.trust_remote_code,
        revision=settings.revision,
    )


def _by(cells: Sequence[Cell], key: Callable[[Cell], Any]) -> Iterator[tuple[Any, list[Cell]]]:
    """Cells in groups of equal key, in the order in which the keys first come up."""
    order: dict[Any, int] = {}
    for cell in cells:
        order.setdefault(key(cell), len(order))
    ranked = sorted(cells, key=lambda cell: order[key(cell)])
    for value, found in groupby(ranked, key):
        yield value, list(found)


def _stage_of(grid: Grid, cell: Cell) -> tuple[str, int]:
    return (cell.stage, cell.seed if grid.stages[cell.stage] is not None else 0)


class _Bench:
    """One model in one stage, and the cells that start from it."""

    def __init__(
        self, grid: Grid, loaded: Loaded, options: RunOptions, project: Path, say: Callable[[str], None]
    ) -> None:
        self._grid, self._loaded, self._options, self._project, self._say = grid, loaded, options, project, say
        self._embedder = SentenceEmbedder(device=options.device) if grid.measure.minilm else None
        self._stage = ""
        self._workload: Workload
        self._base: Measurement

    def run(self, cells: Sequence[Cell]) -> dict[str, int]:
        """Run cells of one stage; how many ended how."""
        grid, counts = self._grid, dict.fromkeys(Tally._fields, 0)
        stage, seed = _stage_of(grid, cells[0])
        settings, adapter, notes = grid.stages[stage], None, list[str]()
        if settings is not None:
            self._say(f"{cells[0].model} {stage} seed {seed}: preparing the stage")
            began = time.perf_counter()
            rows = grid.sets[stage].trained(settings)
            folder = grid.folder.parent / "stages"
            adapter, notes = prepare(self._loaded, settings, rows, seed=seed, profile=grid.profile, folder=folder)
            self._stage = adapter.name
            self._say(f"{cells[0].model} {stage} seed {seed}: ready after {time.perf_counter() - began:.0f} s")
        with applied(self._loaded, adapter, settings.apply if settings is not None else ""):
            for name, of_set in _by(cells, lambda cell: cell.set):
                for status, count in self._run_set(name, of_set, notes).items():
                    counts[status] += count
        return counts

    def _run_set(self, name: str, cells: Sequence[Cell], notes: list[str]) -> dict[str, int]:
        grid, options = self._grid, self._options
        counts = dict.fromkeys(Tally._fields, 0)
        stage = cells[0].stage
        if not any_free(grid.folder, cells):
            return counts | {"elsewhere": len(cells)}
        self._workload = build_workload(
            self._loaded.tokenizer,
            grid.evaluated(stage, name),
            grid.profile,
            grid.measure,
            demonstrations=grid.sets[stage].retain_train,
        )
        began = time.perf_counter()
        engine = self._engine(None)
        self._base = measure(engine, self._workload, keep_reference=True, embedder=self._embedder)[0]
        seconds = time.perf_counter() - began
        with claimed(grid.folder, [cell for cell in cells if cell.method == BASE]) as bases:
            for cell in bases:
                self._write(cell, self._base, None, began_notes=[*notes, *engine.notes], seconds=(0.0, seconds))
                counts["done"] += 1
        for method, of_method in _by([cell for cell in cells if cell.method != BASE], lambda cell: cell.method):
            width = 1 if grid.preset.full else max(1, options.cells_at_once)
            for start in range(0, len(of_method), width):
                for status, count in self._run_cells(method, of_method[start : start + width], notes).items():
                    counts[status] += count
        return counts

    def _run_cells(self, method: str, cells: Sequence[Cell], notes: Sequence[str]) -> dict[str, int]:
        """Train and measure some cells of one method together, unless another process has taken them."""
        counts = dict.fromkeys(Tally._fields, 0)
        with claimed(self._grid.folder, cells) as taken:
            counts["elsewhere"] = len(cells) - len(taken)
            try:
                for status in self._train_and_measure(method, taken, list(notes)) if taken else ():
                    counts[status] += 1
            except DualDataError as error:
                counts |= self.fail(taken, str(error))
        return counts

    def _train_and_measure(self, method: str, cells: Sequence[Cell], notes: list[str]) -> list[str]:
        grid, loaded = self._grid, self._loaded
        rows = self._rows(cells[0], method)
        data = [CellData(**rows, lr=cell.lr, seed=cell.seed) for cell in cells]
        chosen = method_named(method)
        trainable: Adapters | FullWeights
        if grid.preset.full:
            trainable = FullWeights(loaded.model, keep_head=bool(chosen.reference_rows) and not chosen.at_layer)
        else:
            trainable = Adapters(loaded.model, grid.preset.lora.spec(), seeds=[cell.seed for cell in cells])
        try:
            began = time.perf_counter()
            for attempt in halving(grid.preset.optimisation(), notes):
                trainable.reset()
                with attempt as how:
                    traces = train(
                        loaded,
                        _trainable(trainable),
                        chosen,
                        data,
                        how,
                        options=grid.preset.methods[method],
                        train_end=grid.profile.train_end,
                        graphs=self._options.graphs,
                    )
            trained = time.perf_counter()
            engine = self._engine(trainable if isinstance(trainable, Adapters) else None)
            found = measure(engine, self._workload, base=self._base, embedder=self._embedder)
            seconds = (trained - began, time.perf_counter() - trained)
            for k, (cell, trace, measured) in enumerate(zip(cells, traces, found, strict=True)):
                self._write(cell, measured, trace, began_notes=[*notes, *engine.notes], seconds=seconds, rows=rows)
                if self._options.save_adapters and isinstance(trainable, Adapters):
                    trainable.save(grid.folder / "adapters" / cell.id, k, base=loaded.info.spec)
                self._say(_line(cell, measured, trace, sum(seconds) / len(cells)))
        finally:
            if isinstance(trainable, Adapters):
                trainable.remove()
            else:
                trainable.restore()
        return ["stopped" if trace.stopped else "done" for trace in traces]

    def _engine(self, adapters: Adapters | None) -> Engine | PlainEngine:
        return open_engine(
            self._loaded,
            adapters,
            rows=max(1, self._options.rows // (adapters.count if adapters is not None else 1)),
            max_new_tokens=self._grid.max_new_tokens,
            graphs=self._options.graphs,
        )

    def _rows(self, cell: Cell, method: str) -> dict[str, Any]:
        """The training rows that all cells of a set share, as keyword arguments of `CellData`."""
        sets = self._grid.sets[cell.stage]
        forget = sets.forget[cell.set]
        return {
            "forget": self._encode(forget),
            "retain": self._encode(sets.retain_train),
            "refusal": self._encode(self._grid.preferred(cell.stage, cell.set, method)),
            "popularity": [item.popularity for item in forget],
        }

    def _encode(self, items: Sequence[Item]) -> list[Encoded]:
        return encode(self._loaded.tokenizer, items, self._grid.profile)

    def _write(
        self,
        cell: Cell,
        measured: Measurement,
        trace: Trace | None,
        *,
        began_notes: Sequence[str],
        seconds: tuple[float, float],
        rows: dict[str, Any] | None = None,
    ) -> None:
        result = self._result(cell, "stopped" if trace is not None and trace.stopped else "done")
        result["reason"] = trace.stopped if trace is not None else ""
        result["summary"] = measured.summary
        result["items"] = measured.items
        if trace is not None and rows is not None:
            result["training"] = {
                "steps": trace.steps,
                "loss": trace.losses,
                "parts": trace.parts,
                "gradient_norm": trace.norms,
                "notes": trace.notes,
                "token_ids": {kind: token_hash(rows[kind]) for kind in ("forget", "retain", "refusal") if rows[kind]},
            }
        share = self._options.cells_at_once if trace is not None else 1
        gpu = self._loaded.device.type == "cuda"
        result["run"] = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "training_seconds": seconds[0],
            "measuring_seconds": seconds[1],
            "cells_at_once": share,
            "gpu_hours": sum(seconds) / share / 3600 if gpu else 0.0,
            "peak_memory_bytes": torch.cuda.max_memory_allocated() if gpu else None,
            "tokens": trace.tokens if trace is not None else None,
            "notes": list(dict.fromkeys(began_notes)),
        }
        write_result(self._grid.folder, cell.id, result)

    def fail(self, cells: Sequence[Cell], reason: str) -> dict[str, int]:
        """Record why cells have no numbers; the next run tries them again."""
        for cell in cells:
            self._say(f"{cell.label}: failed: {reason}")
            write_result(self._grid.folder, cell.id, self._result(cell, "failed") | {"reason": reason})
        return {"failed": len(cells)}

    def _result(self, cell: Cell, status: str) -> Result:
        info = self._loaded.info
        names = ("torch", "transformers", "tokenizers", "numpy", "rouge-score")
        return {
            "format": FORMAT,
            "id": cell.id,
            "base": cell.base,
            "grid": self._grid.name,
            "cell": {
                "model": cell.model,
                "data": self._grid.settings.data,
                "stage": cell.stage,
                "set": cell.set,
                "method": cell.method,
                "preset": self._grid.settings.preset,
                "profile": self._grid.profile.name,
                "lr": cell.lr,
                "seed": cell.seed,
            },
            "status": status,
            "reason": "",
            "summary": {},
            "training": None,
            "provenance": {
                "identity": cell.identity,
                "stage": self._stage,
                "model": {key: value for key, value in info._asdict().items() if key != "packages"},
                "dual_data": __version__,
                "packages": {name: version(name) for name in names},
                "device": device_name(self._loaded.device),
                "threads": torch.get_num_threads() if self._loaded.device.type == "cpu" else None,
                "git": git_state(self._project),
            },
            "items": {},
            "run": {},
        }


def _trainable(trainable: Adapters | FullWeights) -> Trainable:
    return trainable


def _line(cell: Cell, measured: Measurement, trace: Trace, seconds: float) -> str:
    forget, retain = measured.summary["forget"], measured.summary["retain_eval"]
    state = f"stopped: {trace.stopped}" if trace.stopped else "done"
    return (
        f"{cell.label}: {state}, ROUGE-L recall forget {forget['rougeL_recall']:.3f} "
        f"retain {retain['rougeL_recall']:.3f}, {seconds:.1f} s"
    )


def device_name(device: torch.device) -> str:
    """What the numbers were computed on."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} {platform.machine()}"
