"""The parts of the benchmark, each from a `Bench` to something that JSON can hold."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig

from benchmarks.evaluation import count, counted, ours, plain
from benchmarks.evaluation.ceilings import Ceilings, ceilings
from benchmarks.evaluation.clock import Clock
from benchmarks.evaluation.floor import floor
from benchmarks.evaluation.parity import parity
from benchmarks.evaluation.profiling import profiled
from benchmarks.evaluation.subject import SHAPES, Work, checkpoint, config_of, made_up, random_model, tokenizer_of
from dual_data.evaluation.engine import open_engine
from dual_data.evaluation.grid import RunOptions
from dual_data.evaluation.lora import Adapters, LoraSpec
from dual_data.evaluation.measure import measure
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.models import identify, load

GRID_CELLS_A_METHOD = 16
"""2 training stages x 2 sets x 4 learning rates."""


class Bench(NamedTuple):
    """What is measured and how."""

    name: str
    device: str
    dtype: str
    work: Work
    methods: tuple[str, ...]
    rows: int
    cells_at_once: int
    plain_steps: int
    plain_requests: int
    as_shipped: bool
    checkpoints: Path
    scratch: Path
    say: Callable[[str], None]

    @property
    def folder(self) -> Path:
        """The checkpoint that both sides load."""
        return checkpoint(self.name, self.dtype, self.device, self.checkpoints)

    @property
    def on_gpu(self) -> bool:
        """Whether there is anything to replay graphs on."""
        return self.device.startswith("cuda")

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        number = sum(1 for _ in self.scratch.glob(f"{name}-*"))
        target = self.scratch / f"{name}-{number}"
        target.mkdir(parents=True)
        return target


def run_ceilings(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """The machine's two ceilings and the cell's floor under them."""
    found = ceilings(bench.device)
    return {**found._asdict(), "floor": _floor(bench, found)}


def run_counts(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """Operations, bytes, kernels and memory of training steps and of a batch, no device needed; shapes alone."""
    if bench.name not in SHAPES:
        return {}
    tokenizer, found = tokenizer_of(), dict[str, Any]()
    card = Ceilings(*count.H100)
    found["floor"] = _floor(bench, card)
    for method in bench.methods:
        for cells in {1, bench.cells_at_once}:
            work, weights = counted.step(bench.name, tokenizer, bench.work._replace(method=method), cells=cells)
            found[f"{method} step of {cells}"] = _counted(work) | {"weights_bytes": weights}
    for name, options in (("plain step", plain.FAIREST), ("plain step as shipped", plain.AS_SHIPPED)):
        work, weights = counted.plain_step(bench.name, tokenizer, bench.work, options=options)
        found[name] = _counted(work) | {"weights_bytes": weights}
    for part, work in counted.batch(bench.name, tokenizer, bench.work, rows=bench.rows).items():
        found[part] = _counted(work)
    found["modelled"] = modelled(found, bench.methods, bench.work, bench.rows)
    return found


def modelled(found: Mapping[str, Any], methods: Sequence[str], work: Work, rows: int) -> dict[str, Any]:
    """Seconds of a cell if every kernel ran at the ceilings and nothing came between; loading and the host left out."""
    batches = math.ceil((len(work.forget) + len(work.retain)) / rows)
    measured = found["prompts and answers"]["seconds"] + (work.new_tokens - 1) * found["decoding step"]["seconds"]
    steps = math.ceil(len(work.forget) / work.batch) * work.epochs
    cells = {}
    for method in methods:
        floor = found["floor"][method]
        once = sum(part["seconds"] for part in floor["parts"] if part["name"] == "reference")
        seconds = steps * found[f"{method} step of 1"]["seconds"] + once + batches * measured
        cells[method] = {"seconds": seconds, "over_floor": seconds / floor["seconds"]}
    return cells


def run_cells(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """One cell of each method, by the package with graphs and without, and by the plain loop."""
    text_scores("warm", "up")
    found: dict[str, Any] = {}
    folder, stops = bench.folder, load(bench.folder, bench.dtype).info.stop_ids
    tokenizer = identify(str(folder)).tokenizer
    for method in bench.methods:
        work = bench.work._replace(method=method)
        variants: dict[str, Any] = {}
        for name, graphs in (("graphs", True), ("eager", False)):
            if graphs and not bench.on_gpu:
                continue
            cell = ours.run_cell(folder, work, device=bench.device, dtype=bench.dtype, rows=bench.rows, graphs=graphs)
            variants[f"ours, {name}"] = _clock(cell.clock)
            del cell
            _free(bench)
            bench.say(f"{method} ours {name}: {variants[f'ours, {name}']['total']:.1f} s")
        loops = {"plain": plain.FAIREST} | ({"plain as shipped": plain.AS_SHIPPED} if bench.as_shipped else {})
        for name, options in loops.items():
            one = plain.run_cell(
                folder,
                tokenizer,
                work,
                device=bench.device,
                dtype=bench.dtype,
                scratch=bench.new_folder("plain"),
                stops=stops,
                options=options,
                most_steps=bench.plain_steps,
                most_requests=bench.plain_requests,
            )
            variants[name] = _clock(one.clock) | {"scaled": one.scale}
            del one
            _free(bench)
            bench.say(f"{method} {name}: {variants[name]['total']:.1f} s")
        found[method] = variants
    return found


def run_grid(bench: Bench, results: Mapping[str, Any]) -> dict[str, Any]:
    """The grid of 48 cells by the package in full; the plain loop's is its cells' time, method by method."""
    other = [item._replace(id=f"{item.id}-rare") for item in made_up(len(bench.work.forget), 0)[0]]
    options = RunOptions(device=bench.device, cells_at_once=bench.cells_at_once, rows=bench.rows)
    grid = ours.run_grid(
        bench.folder,
        bench.work,
        other,
        device=bench.device,
        dtype=bench.dtype,
        scratch=bench.new_folder("grid"),
        options=options,
        say=bench.say,
    )
    found: dict[str, Any] = {"cells": grid.cells, "failed": grid.failed, "ours": _clock(grid.clock)}
    cells = results.get("cells", {})
    plain_totals = {method: variants["plain"] for method, variants in cells.items()}
    if plain_totals:
        for unit in ("total", "cpu_total"):
            cheapest = min(one[unit] for one in plain_totals.values())
            known = [plain_totals[method][unit] if method in plain_totals else cheapest for method in ours.GRID_METHODS]
            found[f"plain_extrapolated_{unit}"] = GRID_CELLS_A_METHOD * sum(known)
    return found


def run_parity(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """Both sides from the same adapter in float32, on the first 64 rows of each set."""
    folder = checkpoint(bench.name, "float32", bench.device, bench.checkpoints)
    info = load(folder, "float32").info
    forget = bench.work.forget[:64]
    epochs = -(-11 // -(-len(forget) // bench.work.batch))  # at least 11 steps
    found = {}
    for method in bench.methods:
        work = bench.work._replace(method=method, forget=forget, retain=bench.work.retain[:64], epochs=epochs, lr=1e-4)
        adapter = ours.fresh_adapter(folder, bench.new_folder("adapter") / "fresh", dtype="float32", seed=work.seed)
        mine = ours.run_cell(
            folder, work, device=bench.device, dtype="float32", rows=bench.rows, graphs=None, adapter=adapter
        )
        other = plain.run_cell(
            folder,
            identify(str(folder)).tokenizer,
            work,
            device=bench.device,
            dtype="float32",
            scratch=bench.new_folder("plain"),
            stops=info.stop_ids,
            adapter=adapter,
        )
        found[method] = parity(mine, other)._asdict()
    return found


def run_profile(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """Kernels of training and of measuring one cell."""
    loaded = load(bench.folder, bench.dtype, bench.device)
    adapters = Adapters(loaded.model, LoraSpec())
    workload = plain.workload_of(loaded.tokenizer, bench.work)
    engine = open_engine(loaded, adapters, rows=bench.rows, max_new_tokens=bench.work.new_tokens, hidden=False)
    found = {
        "train": profiled(
            lambda: ours.train_cells(loaded, adapters, bench.work, [bench.work.lr], graphs=None), bench.device
        )._asdict(),
        "measure": profiled(lambda: measure(engine, workload), bench.device)._asdict(),
    }
    adapters.remove()
    return found


def run_growth(bench: Bench, _: Mapping[str, Any]) -> dict[str, Any]:
    """Time against cells trained and measured at once, against facts, and against the size of the model."""
    found: dict[str, Any] = {"cells": {}, "facts": {}, "parameters": {}}
    loaded = load(bench.folder, bench.dtype, bench.device)
    for cells in (1, 2, 4, 8):
        found["cells"][cells] = _timed(bench, loaded, bench.work, cells)
    whole = len(bench.work.forget)
    for facts in sorted({whole // 8, whole // 4, whole // 2, whole} - {0}):
        work = bench.work._replace(forget=bench.work.forget[:facts], retain=bench.work.retain[:facts])
        found["facts"][facts] = _timed(bench, loaded, work, 1)
    parameters = loaded.info.parameters
    del loaded
    _free(bench)
    largest = parameters if bench.on_gpu else 10**7
    for shape in SHAPES:
        size = sum(parameter.numel() for parameter in _empty(shape).parameters())
        if size <= largest:
            loaded = random_model(shape, bench.dtype, bench.device)
            found["parameters"][size] = _timed(bench, loaded, bench.work, 1)
            del loaded
            _free(bench)
    return found


def _timed(bench: Bench, loaded: Any, work: Work, cells: int) -> dict[str, Any]:
    clock = Clock(bench.device)
    adapters = Adapters(loaded.model, LoraSpec(), seeds=[work.seed] * cells)
    with clock.part("train"):
        ours.train_cells(loaded, adapters, work, [work.lr] * cells, graphs=None)
    with clock.part("measure"):
        workload = plain.workload_of(loaded.tokenizer, work)
        rows = max(1, bench.rows // cells)
        measure(open_engine(loaded, adapters, rows=rows, max_new_tokens=work.new_tokens, hidden=False), workload)
    adapters.remove()
    return _clock(clock)


def _floor(bench: Bench, card: Ceilings) -> dict[str, Any]:
    config = config_of(bench.name) if bench.name in SHAPES else AutoConfig.from_pretrained(bench.folder)
    width = 2 if bench.dtype == "bfloat16" else 4
    found: dict[str, Any] = {}
    for method in bench.methods:
        parts = floor(config, tokenizer_of(), bench.work._replace(method=method), width=width)
        found[method] = {
            "parts": [{**part._asdict(), "seconds": part.seconds(card)} for part in parts],
            "flops": sum(part.flops for part in parts),
            "bytes": sum(part.bytes for part in parts),
            "seconds": sum(part.seconds(card) for part in parts),
        }
    return found


def _counted(work: count.Work) -> dict[str, Any]:
    return {**work._asdict(), "eager_seconds": work.eager_seconds()}


def _clock(clock: Clock) -> dict[str, Any]:
    return {
        "seconds": dict(clock.seconds),
        "total": clock.total,
        "cpu_seconds": dict(clock.cpu_seconds),
        "cpu_total": sum(clock.cpu_seconds.values()),
        "peak_bytes": dict(clock.peak_bytes),
    }


def _empty(shape: str) -> torch.nn.Module:
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model: torch.nn.Module = LlamaForCausalLM(config_of(shape))
    return model


def _free(bench: Bench) -> None:
    gc.collect()
    if bench.on_gpu:
        torch.cuda.empty_cache()


PARTS: Mapping[str, Callable[[Bench, Mapping[str, Any]], dict[str, Any]]] = {
    "counts": run_counts,
    "ceilings": run_ceilings,
    "cells": run_cells,
    "grid": run_grid,
    "parity": run_parity,
    "profile": run_profile,
    "growth": run_growth,
}
