"""Runs a grid: each model is loaded once, and cells are adapters that are trained on it, measured and dropped.

    model -> stage and its seed -> set to forget -> before unlearning -> method -> cells, some at once

A cell that has a result is not run again, unless its adapter is to be kept and is missing. A killed run loses only the
cells in progress, those trained at once, without a written result. Several processes may run one grid (`workers` starts
one per device): each takes cells that no other has taken. Where a cell fails, for memory or its rows, the reason is its
result.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.device.devices import cells_at_once, rows_at_once
from dual_data.evaluation.device.memory import OutOfMemory, enough_memory, halving, release
from dual_data.evaluation.device.sharding import ALONE, Ranks, shard
from dual_data.evaluation.grid.cells import Cell, Grid, is_done, refuse_float16
from dual_data.evaluation.grid.claims import any_free, claimed
from dual_data.evaluation.grid.provenance import Effort, blank, run_record
from dual_data.evaluation.grid.stages import Prepared, applied, prepare
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.measuring.embedding import SentenceEmbedder
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.measure import Measurement, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.models.context import check_workload
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.results import BASE, adapter_path, stages_folder, write_result
from dual_data.evaluation.rows import panel
from dual_data.evaluation.rows.data import token_hash
from dual_data.evaluation.rows.schedule import Optimisation
from dual_data.evaluation.rows.workload import Workload
from dual_data.evaluation.settings import ModelSettings, StageSettings
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.train import CellData, Trace, train


class RunOptions(NamedTuple):
    """How a grid is run; nothing here changes results beyond rounding."""

    device: str = "cpu"
    cells_at_once: int = 0
    """Cells of one method that are trained and measured as one batch; 0 for as many as suit device and model."""
    rows: int = 0
    """Rows per measurement batch, of all cells together; 0 for as many as suit device and model."""
    save_adapters: bool = False
    """Whether every cell's adapter is kept, below adapters/ in the results' folder."""
    start: float = 0.0
    """Where to begin, as a share of the grid, so that processes that share a grid begin with different stages."""
    ranks: Ranks = ALONE
    """This process's rank where processes share a base; `joined` must be active."""


class Tally(NamedTuple):
    """Number of cells by how they ended."""

    done: int = 0
    stopped: int = 0
    failed: int = 0
    elsewhere: int = 0
    """Cells that another process had taken."""


def run(
    grid: Grid,
    cells: Sequence[Cell],
    options: RunOptions,
    *,
    project: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Run those of `cells` that have no result yet. A failure of a cell is its result and does not affect others.

    Raises UsageError where a grid that trains all weights is to keep adapters or share a base, where float16 would be
    trained in, and for a model that cannot be loaded for a reason other than memory.
    """
    ranks = options.ranks
    if options.save_adapters and grid.preset.full:
        raise UsageError(f"{grid.name} trains all weights and has no adapters to keep: leave --save-adapters out")
    if grid.preset.full and not ranks.alone:
        raise UsageError(
            f"{grid.name} trains all weights, but the base that --shard spreads over devices is not trained: leave "
            "--shard out"
        )
    refuse_float16(grid, cells)
    todo = ranks.agree([cell for cell in cells if not is_done(grid.folder, cell, adapter=options.save_adapters)])
    numbers = {cell.id: number for number, cell in enumerate(todo, 1)}
    grid_run, counts = _GridRun(grid, options, project, say, numbers), Counter[str]()
    stage_groups = _grouped(todo, lambda cell: (cell.model, *_stage_of(grid, cell)))
    first = int(options.start * len(stage_groups))
    for name, model_groups in groupby(stage_groups[first:] + stage_groups[:first], lambda group: group[0].model):
        loaded: Loaded | None = None
        too_large = ""
        for stage_cells in model_groups:
            if not grid_run.any_free(stage_cells):
                counts["elsewhere"] += len(stage_cells)
                continue
            if loaded is None and not too_large:
                try:
                    loaded = grid_run.load(name)
                    tokenised = Tokenised(grid, loaded.tokenizer)
                except OutOfMemory as error:
                    too_large = str(error)
            if loaded is None:
                counts += grid_run.fail_free(stage_cells, too_large)
            else:
                counts += _StageRun(grid_run, loaded, tokenised).run(stage_cells)
        del loaded
        release()
    return Tally(**counts)


def load_model(settings: ModelSettings, device: str) -> Loaded:
    """Load a model of the grid file on a device."""
    return load(
        settings.spec,
        settings.dtype,
        device,
        trust_remote_code=settings.trust_remote_code,
        revision=settings.revision,
    )


def _grouped(cells: Sequence[Cell], key: Callable[[Cell], object]) -> list[list[Cell]]:
    """Cells in groups of equal key, in the order in which the keys first appear."""
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def _stage_of(grid: Grid, cell: Cell) -> tuple[str, int]:
    return (cell.stage, cell.seed if grid.stages[cell.stage] is not None else 0)


class _GridRun(NamedTuple):
    """What is run and how; and failing of cells, which the next run tries again."""

    grid: Grid
    options: RunOptions
    project: Path
    say: Callable[[str], None]
    numbers: Mapping[str, int]
    """Place of each cell among those that this run began with, by id."""

    def begin(self, cells: Sequence[Cell]) -> None:
        """Say which cells begin, all of one set and method."""
        cell, number, last = cells[0], self.numbers[cells[0].id], self.numbers[cells[-1].id]
        if len(cells) == 1:
            self.say(f"cell {number} of {len(self.numbers)}: {cell.label}")
        else:
            label = f"{cell.model} {cell.stage} {cell.set} {cell.method}"
            self.say(f"cells {number}-{last} of {len(self.numbers)}: {label}")

    def load(self, name: str) -> Loaded:
        """Load a model of the grid, or this process's shard of it. Raises OutOfMemory."""
        settings, ranks, device = self.grid.models[name], self.options.ranks, self.options.device
        self.say(f"{name}: loading {settings.spec} in {settings.dtype}")
        with enough_memory(f"loading {settings.spec}"):
            if ranks.alone:
                return load_model(settings, device)
            return shard(load_model(settings, "cpu"), ranks, device)

    def any_free(self, cells: Sequence[Cell]) -> bool:
        """Whether one of the cells is left to claim, as the first process decides."""
        ranks = self.options.ranks
        return ranks.agree(ranks.first and any_free(self.grid.folder, cells, adapter=self.options.save_adapters))

    def fail(
        self, cells: Sequence[Cell], reason: str, loaded: Loaded | None = None, stage: Prepared | None = None
    ) -> None:
        """Write `reason` as the result of cells that this process has claimed; cells that have a result keep it."""
        for cell in cells:
            self.say(f"{cell.label}: failed: {reason}")
            if not is_done(self.grid.folder, cell):
                result = blank(
                    self.grid, cell, status="failed", reason=reason, loaded=loaded, stage=stage, project=self.project
                )
                write_result(self.grid.folder, cell.id, result)

    def fail_free(
        self, cells: Sequence[Cell], reason: str, loaded: Loaded | None = None, stage: Prepared | None = None
    ) -> Counter[str]:
        """The same for the cells that no process has claimed. Returns the number of cells by how they ended."""
        if not self.options.ranks.first:
            return Counter()
        # Cells that only lack their adapter were to be run too.
        with claimed(self.grid.folder, cells, adapter=self.options.save_adapters) as taken:
            self.fail(taken, reason, loaded, stage)
        return Counter(failed=len(taken), elsewhere=len(cells) - len(taken))


class _StageRun:
    """Runs the cells of one model in one stage."""

    def __init__(self, grid_run: _GridRun, loaded: Loaded, tokenised: Tokenised) -> None:
        grid, options = grid_run.grid, grid_run.options
        self._grid_run, self._grid, self._options = grid_run, grid, options
        self._loaded, self._tokenised = loaded, tokenised
        suitable = options.cells_at_once or cells_at_once(options.device, loaded.info.parameters)
        self._cells_at_once = (1 if grid.preset.full else suitable) * options.ranks.size
        self._rows_at_once = options.rows or rows_at_once(options.device, loaded.info.parameters)
        self._embedder = SentenceEmbedder(device=options.device) if grid.measure.minilm else None
        self._stage: Prepared | None = None
        self._workload: Workload
        self._base: Measurement | None = None

    def run(self, cells: Sequence[Cell]) -> Counter[str]:
        """Run cells of one stage. Returns the number of cells by how they ended."""
        name, seed = _stage_of(self._grid, cells[0])
        settings, counts = self._grid.stages[name], Counter[str]()
        set_groups = _grouped(cells, lambda cell: cell.set)
        try:
            if settings is not None:
                self._stage = self._prepare(settings, f"{cells[0].model} {name} seed {seed}", name, seed)
            with enough_memory(f"putting the stage {name} on the base"), applied(self._loaded, self._stage):
                while set_groups:
                    counts += self._run_set(set_groups[0])
                    del set_groups[0]
        except DualDataError as error:  # of the stage, so none of its cells can be run
            cells = [cell for group in set_groups for cell in group]
            counts += self._grid_run.fail_free(cells, str(error), self._loaded, self._stage)
        return counts

    def _prepare(self, settings: StageSettings, label: str, name: str, seed: int) -> Prepared:
        grid, began = self._grid, time.perf_counter()
        self._grid_run.say(f"{label}: preparing the stage")
        with enough_memory(f"training the stage {name}"):
            prepared = prepare(
                self._loaded,
                settings,
                grid.sets[name].trained(settings),
                seed=seed,
                profile=grid.profile,
                folder=stages_folder(grid.folder),
                ranks=self._options.ranks,
            )
        self._grid_run.say(f"{label}: ready after {time.perf_counter() - began:.0f} s")
        return prepared

    def _run_set(self, cells: Sequence[Cell]) -> Counter[str]:
        if not self._grid_run.any_free(cells):
            return Counter(elsewhere=len(cells))
        try:
            with enough_memory("measuring the model before unlearning"):
                counts = Counter(done=self._measure_base(cells))
        except DualDataError as error:  # the cells are compared with it, so none of them can be run
            return self._grid_run.fail_free(cells, str(error), self._loaded, self._stage)
        for group in _grouped([cell for cell in cells if cell.method != BASE], lambda cell: cell.method):
            for start in range(0, len(group), self._cells_at_once):
                counts += self._run_cells(group[start : start + self._cells_at_once])
        return counts

    def _measure_base(self, cells: Sequence[Cell]) -> int:
        """Measure the model from which the cells start. Returns the number of missing results that this gave."""
        grid, first = self._grid, cells[0]
        missing = [cell for cell in cells if cell.method == BASE]
        if missing:
            self._grid_run.begin(missing)
        else:
            self._grid_run.say(f"{first.model} {first.stage} {first.set}: measuring the model before unlearning again")
        self._workload = self._tokenised.workload(first.stage, first.set)
        check_workload(self._loaded, self._workload, grid.max_new_tokens)
        self._reset_peak()
        began = time.perf_counter()
        engine = self._engine(None)
        self._base = None  # the last set's logits, which may fill half of the device
        self._base = base = measure(engine, self._workload, keep_reference=True, embedder=self._embedder)[0]
        self._keep_to(engine, 1)
        effort = Effort(0.0, time.perf_counter() - began, 1, rows=engine.rows)
        with claimed(grid.folder, missing if self._options.ranks.first else ()) as bases:
            for cell in bases:
                self._write(cell, base, effort, engine.notes)
        return len(bases)

    def _run_cells(self, cells: Sequence[Cell]) -> Counter[str]:
        """Train and measure some cells of one method together, except those that another process has claimed."""
        adapter, ranks = self._options.save_adapters, self._options.ranks
        with claimed(self._grid.folder, cells if ranks.first else (), adapter=adapter) as free:
            claimed_cells = ranks.agree(free)
            counts = Counter(elsewhere=len(cells) - len(claimed_cells))
            own, together = ranks.share(claimed_cells)
            try:
                if own:
                    self._grid_run.begin(own)
                if claimed_cells:
                    with enough_memory(f"training and measuring {cells[0].method}"):
                        counts.update(self._train_and_measure(together, len(own)))
            except DualDataError as error:
                failed = [cell for cell in own if not is_done(self._grid.folder, cell, adapter=adapter)]
                self._grid_run.fail(failed, str(error), self._loaded, self._stage)
                counts.update(done=len(own) - len(failed), failed=len(failed))
            ranks.wait()  # the first process holds the claims of all
        return counts

    def _train_and_measure(self, cells: Sequence[Cell], own: int) -> list[str]:
        """Run cells together. This process writes the first `own` of them, and returns how these ended."""
        grid, loaded, notes = self._grid, self._loaded, list[str]()
        method = method_named(cells[0].method)
        rows = self._tokenised.cell_data(cells[0])
        data = [rows._replace(lr=cell.lr, seed=cell.seed) for cell in cells]
        self._reset_peak()
        seeds = [cell.seed for cell in cells]
        adapters = None if grid.preset.full else Adapters(loaded.model, grid.preset.lora.spec(), seeds=seeds)
        distributions = bool(method.reference_rows) or grid.preset.forget_kl > 0
        trainable = adapters or FullWeights(loaded.model, keep_head=distributions and not method.at_layer)

        def attempt(optimisation: Optimisation) -> list[Trace]:
            options = grid.preset.methods[method.name]
            return train(
                loaded, trainable, method, data, optimisation, options=options, train_end=grid.profile.train_end
            )

        try:
            began = time.perf_counter()
            traces = halving(attempt, grid.preset, notes, rows=len(rows.forget), undo=trainable.reset)
            trained = time.perf_counter()
            engine = self._engine(adapters)
            measurements = measure(engine, self._workload, base=self._base, embedder=self._embedder)
            self._keep_to(engine, len(cells))
            effort = Effort(
                trained - began,
                time.perf_counter() - trained,
                len(cells),
                tokens=traces[0].tokens,
                rows=engine.rows * len(cells),
            )
            for k, (cell, trace, measured) in enumerate(zip(cells[:own], traces, measurements, strict=False)):
                if self._options.save_adapters and adapters is not None:
                    # Before the result, with which the cell counts as done.
                    adapters.save(adapter_path(grid.folder, cell.id), k, base=loaded.info.spec)
                self._write(cell, measured, effort, [*notes, *engine.notes], trace, rows)
                self._grid_run.say(_line(cell, measured, trace, effort.seconds))
        finally:
            trainable.remove()
        return ["stopped" if trace.stopped else "done" for trace in traces[:own]]

    def _engine(self, adapters: Adapters | None) -> Engine:
        cells = adapters.count if adapters is not None else 1
        return open_engine(
            self._loaded,
            adapters,
            rows=max(1, self._rows_at_once // cells),
            max_new_tokens=self._grid.max_new_tokens,
        )

    def _keep_to(self, engine: Engine, cells: int) -> None:
        """Remember a halved batch size, so that one that did not fit is not tried again."""
        if engine.rows < self._rows_at_once // cells:
            self._rows_at_once = engine.rows * cells

    def _reset_peak(self) -> None:
        if self._loaded.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._loaded.device)

    def _write(
        self,
        cell: Cell,
        measured: Measurement,
        effort: Effort,
        notes: Sequence[str],
        trace: Trace | None = None,
        rows: CellData | None = None,
    ) -> None:
        """Write a result; `trace` and `rows` are those of its training, None before unlearning."""
        stopped = trace.stopped if trace is not None else ""
        result = blank(
            self._grid,
            cell,
            status="stopped" if stopped else "done",
            reason=stopped,
            loaded=self._loaded,
            stage=self._stage,
            project=self._grid_run.project,
        )
        result["summary"] = measured.summary
        result["items"] = measured.items
        if self._grid.panel is not None and measured.panel is not None:
            result["panel"] = panel.summary(self._grid.panel, measured.panel)
            result["panel_items"] = panel.items(self._grid.panel, measured.panel)
        if trace is not None and rows is not None:
            kinds = {"forget": rows.forget, "retain": rows.retain, "refusal": rows.refusal}
            result["training"] = {
                "steps": trace.steps,
                "loss": trace.losses,
                "parts": trace.parts,
                "gradient_norm": trace.norms,
                "notes": trace.notes,
                "token_ids": {kind: token_hash(encoded) for kind, encoded in kinds.items() if encoded},
            }
        result["run"] = run_record(effort, self._loaded, self._stage, notes)
        write_result(self._grid.folder, cell.id, result)


def _line(cell: Cell, measured: Measurement, trace: Trace, seconds: float) -> str:
    forget, retain = measured.summary["forget"], measured.summary["retain_eval"]
    state = f"stopped: {trace.stopped}" if trace.stopped else "done"
    return (
        f"{cell.label}: {state}, ROUGE-L recall forget {forget['rougeL_recall']:.3f} "
        f"retain {retain['rougeL_recall']:.3f}, {seconds:.1f} s"
    )
