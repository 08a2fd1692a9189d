"""The parts of the benchmark: each is a list of pieces, and the result of a piece can be written as JSON."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig

from benchmarks.evaluation import count, counted, ours, plain
from benchmarks.evaluation.ceilings import Ceilings, ceilings
from benchmarks.evaluation.clock import Clock, is_gpu
from benchmarks.evaluation.floor import floor
from benchmarks.evaluation.parity import parity
from benchmarks.evaluation.profiling import profiled
from benchmarks.evaluation.subject import (
    SHAPES,
    Work,
    checkpoint,
    config_of,
    made_up,
    random_model,
    stop_ids,
    tokenizer_of,
)
from benchmarks.evaluation.table import GRID_STAGES
from dual_data.evaluation.device.memory import OutOfMemory, enough_memory, release
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.metrics.text import text_scores
from dual_data.evaluation.models.loading import Loaded, identify, load
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec

Piece = tuple[tuple[str, ...], Callable[[], dict[str, Any]]]
"""Path of a piece's result within the part's, and the function that makes it, which does all that takes time."""

_COUNTED_CELLS = 4
"""A training step is counted for one cell and for so many cells at once."""
_MOST_ON_PROCESSOR = 2 * 10**8
"""Largest number of parameters whose growth is measured on a processor."""


class Bench(NamedTuple):
    """Settings of the benchmark."""

    name: str
    device: str
    dtype: str
    work: Work
    methods: tuple[str, ...]
    rows: int
    cells_at_once: int
    """0 for as many as the package takes."""
    plain_steps: int
    plain_requests: int
    as_shipped: bool
    checkpoints: Path
    temporary: bool
    """Whether the checkpoints are temporary: then there is one at a time, as a small disk has no room for more."""
    scratch: Path
    say: Callable[[str], None]

    def folder(self, dtype: str = "") -> Path:
        """The checkpoint that both sides load, made if it is not there."""
        dtype = dtype or self.dtype
        name = f"{self.name}-{dtype}"
        for other in self.checkpoints.glob(f"{self.name}-*") if self.temporary else ():
            if other.name != name:
                shutil.rmtree(other)
        return checkpoint(self.name, dtype, self.device, self.checkpoints)

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU, which can replay graphs."""
        return is_gpu(self.device)

    @contextmanager
    def new_folder(self) -> Iterator[Path]:
        """An empty folder that is always removed afterwards: a merged model is as large as the original."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            yield Path(folder)


def ceilings_part(bench: Bench) -> Iterator[Piece]:
    """The machine's ceilings and the floor of a cell at them."""

    def make() -> dict[str, Any]:
        rates = ceilings(bench.device)
        return {**rates._asdict(), "floor": _floor(bench, rates)}

    yield (), make


def counts_part(bench: Bench) -> Iterator[Piece]:
    """Operations, bytes, kernels and memory of training steps and of a batch, from shapes alone, without a device."""
    if bench.name in SHAPES:
        yield (), partial(_counts, bench)


def _counts(bench: Bench) -> dict[str, Any]:
    tokenizer, counts = tokenizer_of(), dict[str, Any]()
    counts["floor"] = _floor(bench, count.H100)
    for method in bench.methods:
        for cells in sorted({1, bench.cells_at_once or _COUNTED_CELLS}):
            cost, weights = counted.step(bench.name, tokenizer, bench.work._replace(method=method), cells=cells)
            counts[f"{method} step of {cells}"] = _counted(cost) | {"weights_bytes": weights}
    for name, options in (("plain step", plain.FAIREST), ("plain step as shipped", plain.AS_SHIPPED)):
        cost, weights = counted.plain_step(bench.name, tokenizer, bench.work, options=options)
        counts[name] = _counted(cost) | {"weights_bytes": weights}
    for part, cost in counted.batch(bench.name, tokenizer, bench.work, rows=bench.rows).items():
        counts[part] = _counted(cost)
    counts["modelled"] = modelled(counts, bench.methods, bench.work, bench.rows)
    return counts


def modelled(counts: Mapping[str, Any], methods: Sequence[str], work: Work, rows: int) -> dict[str, Any]:
    """Seconds of a cell by method if every kernel ran at the ceilings, one right after the other; loading left out."""
    batches = math.ceil((len(work.forget) + len(work.retain)) / rows)
    measured = counts["prompts and answers"]["seconds"] + (work.new_tokens - 1) * counts["decoding step"]["seconds"]
    steps = math.ceil(len(work.forget) / work.batch) * work.epochs
    cells = {}
    for method in methods:
        floor = counts["floor"][method]
        reference = sum(part["seconds"] for part in floor["parts"] if part["name"] == "reference")
        seconds = steps * counts[f"{method} step of 1"]["seconds"] + reference + batches * measured
        cells[method] = {"seconds": seconds, "over_floor": seconds / floor["seconds"]}
    return cells


def cells_part(bench: Bench) -> Iterator[Piece]:
    """One cell of each method, by the package with graphs and without, and by the plain loop."""
    loops = {"plain": plain.FAIREST} | ({"plain as shipped": plain.AS_SHIPPED} if bench.as_shipped else {})
    for method in bench.methods:
        work = bench.work._replace(method=method)
        for name, graphs in (("graphs", True), ("eager", False)):
            if bench.on_gpu or not graphs:
                yield (method, f"ours, {name}"), _timed_piece(bench, partial(_our_cell, bench, work, graphs))
        for name, options in loops.items():
            yield (method, name), _timed_piece(bench, partial(_plain_cell, bench, work, options))


def _timed_piece(bench: Bench, make: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """A piece that is timed only once the process is warm, whichever piece is its first."""

    def run() -> dict[str, Any]:
        text_scores("warm", "up")
        if bench.on_gpu:
            _warm_up(bench.folder(), bench.dtype, bench.device, bench.rows)
        return make()

    return run


@cache
def _warm_up(folder: Path, dtype: str, device: str, rows: int) -> None:
    """Load the device's context, libraries and kernels, which a process pays for once."""
    forget, retain, source = made_up(64, 64)
    work = Work(forget, retain, source, new_tokens=4)
    ours.run_cell(folder, work, device=device, dtype=dtype, rows=rows, graphs=True)
    release()


@cache
def _warm_up_plain(folder: Path, dtype: str, device: str) -> None:
    """The same for the training of the plain loop, which warms up its evaluation itself."""
    forget, retain, source = made_up(32, 0)
    plain.warm_up(folder, identify(str(folder)).tokenizer, Work(forget, retain, source), device=device, dtype=dtype)
    release()


def _our_cell(bench: Bench, work: Work, graphs: bool) -> dict[str, Any]:
    cell = ours.run_cell(bench.folder(), work, device=bench.device, dtype=bench.dtype, rows=bench.rows, graphs=graphs)
    return _clock(cell.clock) | {"how": cell.how}


def _plain_cell(bench: Bench, work: Work, options: plain.PlainOptions) -> dict[str, Any]:
    folder = bench.folder()
    if bench.on_gpu:
        _warm_up_plain(folder, bench.dtype, bench.device)
    with bench.new_folder() as scratch:
        cell = plain.run_cell(
            folder,
            identify(str(folder)).tokenizer,
            work,
            device=bench.device,
            dtype=bench.dtype,
            scratch=scratch,
            stops=stop_ids(folder),
            options=options,
            most_steps=bench.plain_steps,
            most_requests=bench.plain_requests,
        )
    how = {"rows_at_once": plain.EVALUATION_ROWS, "cells_at_once": 1, "graphs": False, **options._asdict()}
    return _clock(cell.clock) | {"scaled": cell.scale, "how": how | {"attention": ours.attention_kernels()}}


def grid_part(bench: Bench) -> Iterator[Piece]:
    """The full grid of 48 cells by the package: one piece per training stage, which loads the model itself."""
    for stage in GRID_STAGES:
        yield (stage,), _timed_piece(bench, partial(_grid, bench, stage))


def _grid(bench: Bench, stage: str) -> dict[str, Any]:
    folder = bench.folder()
    with bench.new_folder() as scratch:
        grid = ours.run_grid(
            folder,
            bench.work,
            made_up(len(bench.work.forget), 0)[0],
            device=bench.device,
            dtype=bench.dtype,
            scratch=scratch,
            options=RunOptions(device=bench.device, cells_at_once=bench.cells_at_once, rows=bench.rows),
            stages=[stage],
            say=bench.say,
        )
    if grid.failed:  # what is left was quicker than a grid
        raise RuntimeError(f"{grid.failed} cells without a result: {'; '.join(grid.how['notes'])}")
    result = grid._asdict()
    return result | {"clock": _clock(grid.clock)}


def parity_part(bench: Bench) -> Iterator[Piece]:
    """Both sides from the same adapter in float32, on the first 64 rows of each set."""
    for method in bench.methods:
        yield (method,), partial(_parity, bench, method)


def _parity(bench: Bench, method: str) -> dict[str, Any]:
    folder = bench.folder("float32")
    forget = bench.work.forget[:64]
    epochs = -(-11 // -(-len(forget) // bench.work.batch))  # at least 11 steps
    work = bench.work._replace(method=method, forget=forget, retain=bench.work.retain[:64], epochs=epochs, lr=1e-4)
    with bench.new_folder() as scratch:
        adapter = scratch / "fresh"
        our_cell = ours.run_cell(
            folder, work, device=bench.device, dtype="float32", rows=bench.rows, graphs=None, start=adapter
        )
        plain_cell = plain.run_cell(
            folder,
            identify(str(folder)).tokenizer,
            work,
            device=bench.device,
            dtype="float32",
            scratch=scratch,
            stops=stop_ids(folder),
            adapter=adapter,
            options=plain.SMALL,
        )
    return parity(our_cell, plain_cell)._asdict() | {"how": our_cell.how}


def profile_part(bench: Bench) -> Iterator[Piece]:
    """Kernels of training and of measuring one cell."""
    model = cache(lambda: load(bench.folder(), bench.dtype, bench.device))

    def train() -> dict[str, Any]:
        with _adapters(model(), [bench.work.seed]) as adapters:
            return profiled(
                lambda: ours.train_cells(model(), adapters, bench.work, [bench.work.lr], graphs=None), bench.device
            )._asdict()

    def measuring() -> dict[str, Any]:
        with _adapters(model(), [bench.work.seed]) as adapters:
            workload = plain.workload_of(model().tokenizer, bench.work)
            engine = ours.fast_engine(model(), adapters, rows=bench.rows, new_tokens=bench.work.new_tokens)
            return profiled(lambda: measure(engine, workload), bench.device)._asdict() | {"how": ours.how(engine)}

    yield ("train",), train
    yield ("measure",), measuring
    model.cache_clear()


def growth_part(bench: Bench) -> Iterator[Piece]:
    """Time against cells trained and measured at once, against facts, and against the size of the model."""
    model = cache(lambda: load(bench.folder(), bench.dtype, bench.device))
    for cells in (1, 2, 4, 8):
        yield ("cells", str(cells)), _timed_piece(bench, partial(_timed, bench, model, bench.work, cells))
    whole = len(bench.work.forget)
    for facts in sorted({whole // 8, whole // 4, whole // 2, whole} - {0}):
        work = bench.work._replace(forget=bench.work.forget[:facts], retain=bench.work.retain[:facts])
        yield ("facts", str(facts)), _timed_piece(bench, partial(_timed, bench, model, work, 1))
    model.cache_clear()
    sizes = {shape: sum(parameter.numel() for parameter in _empty(shape).parameters()) for shape in SHAPES}
    largest = sizes.get(bench.name, 0) if bench.on_gpu else _MOST_ON_PROCESSOR
    for shape, size in sizes.items():
        if size <= largest:
            random = partial(random_model, shape, bench.dtype, bench.device)
            yield ("parameters", str(size)), _timed_piece(bench, partial(_timed, bench, random, bench.work, 1))


def _timed(bench: Bench, model: Callable[[], Loaded], work: Work, cells: int) -> dict[str, Any]:
    """Seconds of training and measuring `cells` cells at once; only a note if they do not fit."""
    clock = Clock(bench.device)
    try:
        with enough_memory(f"with {cells} cells at once"):
            loaded = model()
            with _adapters(loaded, [work.seed] * cells) as adapters:
                # Opened first: the first engine of a model tries it out, which would distort the time of one point.
                rows = max(1, bench.rows // cells)
                engine = ours.fast_engine(loaded, adapters, rows=rows, new_tokens=work.new_tokens)
                with clock.part("train"):
                    ours.train_cells(loaded, adapters, work, [work.lr] * cells, graphs=None)
                with clock.part("measure"):
                    measure(engine, plain.workload_of(loaded.tokenizer, work))
                return _clock(clock) | {"how": ours.how(engine)}
    except OutOfMemory as error:
        bench.say(str(error))
        return {"note": str(error)}


@contextmanager
def _adapters(loaded: Loaded, seeds: Sequence[int]) -> Iterator[Adapters]:
    adapters = Adapters(loaded.model, LoraSpec(), seeds=seeds)
    try:
        yield adapters
    finally:
        adapters.remove()


def _floor(bench: Bench, rates: Ceilings) -> dict[str, Any]:
    config = config_of(bench.name) if bench.name in SHAPES else AutoConfig.from_pretrained(bench.folder())
    width = 2 if bench.dtype == "bfloat16" else 4
    floors: dict[str, Any] = {}
    for method in bench.methods:
        parts = floor(config, tokenizer_of(), bench.work._replace(method=method), width=width)
        if rates.link is None:  # loading is then left out, as it is of the modelled cell
            parts = [part for part in parts if part.name != "load"]
        floors[method] = {
            "parts": [{**part._asdict(), "seconds": part.seconds(rates)} for part in parts],
            "flops": sum(part.flops for part in parts),
            "bytes": sum(part.bytes for part in parts),
            "seconds": sum(part.seconds(rates) for part in parts),
        }
    return floors


def _counted(cost: count.Cost) -> dict[str, Any]:
    return {**cost._asdict(), "eager_seconds": cost.eager_seconds()}


def _clock(clock: Clock) -> dict[str, Any]:
    return {
        "seconds": dict(clock.seconds),
        "total": sum(clock.seconds.values()),
        "cpu_seconds": dict(clock.cpu_seconds),
        "cpu_total": sum(clock.cpu_seconds.values()),
        "peak_bytes": dict(clock.peak_bytes),
        "reserved_bytes": dict(clock.reserved_bytes),
    }


def _empty(shape: str) -> torch.nn.Module:
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model: torch.nn.Module = LlamaForCausalLM(config_of(shape))
    return model


PARTS: Mapping[str, Callable[[Bench], Iterator[Piece]]] = {
    "counts": counts_part,
    "ceilings": ceilings_part,
    "cells": cells_part,
    "grid": grid_part,
    "parity": parity_part,
    "profile": profile_part,
    "growth": growth_part,
}
