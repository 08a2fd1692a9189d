"""Runs the cells of one model in one training stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.device.devices import cells_at_once, even_size, rows_at_once
from dual_data.evaluation.device.memory import enough_memory
from dual_data.evaluation.grid.cells import Cell
from dual_data.evaluation.grid.grid_run import GridRun
from dual_data.evaluation.grid.provenance import blank, run_record
from dual_data.evaluation.grid.stages import Prepared, applied, prepare_for
from dual_data.evaluation.grid.tokenised import Tokenised
from dual_data.evaluation.measuring.embedding import SentenceEmbedder
from dual_data.evaluation.measuring.engine import Engine
from dual_data.evaluation.measuring.measure import Measurement, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import Workload, check_workload
from dual_data.evaluation.methods import method_named
from dual_data.evaluation.metrics.panel import panel_items, panel_summary
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import BASE, RunRecord, adapter_path, seconds_of, write_result
from dual_data.evaluation.rows.encoding import TrainingRows, token_hash
from dual_data.evaluation.settings import StageSettings
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.reference import References
from dual_data.evaluation.training.train import OnEpoch, halving, train
from dual_data.evaluation.training.training_run import Trace
from dual_data.system.progress import lines


def grouped(cells: Sequence[Cell], key: Callable[[Cell], object]) -> list[list[Cell]]:
    """Cells in groups of equal key, in the order in which the keys first appear."""
    groups: dict[object, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


class StageRun:
    """Runs the cells of one model in one stage."""

    def __init__(self, grid_run: GridRun, loaded: Loaded, tokenised: Tokenised) -> None:
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
        self._references = References()

    def run(self, cells: Sequence[Cell]) -> Counter[str]:
        """Run cells of one stage. Returns the number of cells by how they ended."""
        first, counts = cells[0], Counter[str]()
        set_groups = grouped(cells, lambda cell: cell.set)
        try:
            if (stage := self._grid.stages[first.stage]) is not None:
                self._stage = self._prepare(first, stage)
            with enough_memory(f"putting the stage {first.stage} on the base"), applied(self._loaded, self._stage):
                while set_groups:
                    counts += self._run_set(set_groups[0])
                    del set_groups[0]
        except DualDataError as error:  # of the stage, so none of its cells can be run
            cells = [cell for group in set_groups for cell in group]
            counts += self._grid_run.fail_free(cells, str(error), self._loaded, self._stage)
        return counts

    def _prepare(self, cell: Cell, stage: StageSettings) -> Prepared | None:
        began, label = time.perf_counter(), f"{cell.model} {cell.stage} seed {cell.seed}"
        self._grid_run.say(f"{label}: preparing the stage")
        with enough_memory(f"training the stage {cell.stage}"):
            on_epoch = self._telling(label, stage.epochs)
            prepared = prepare_for(self._grid, cell, self._loaded, self._options.ranks, on_epoch)
        self._grid_run.say(f"{label}: ready after {time.perf_counter() - began:.0f} s")
        return prepared

    def _telling(self, label: str, epochs: int) -> OnEpoch:
        """Tells every quarter of a minute how many epochs of a training are done."""
        advance = lines(f"{label}, epochs", epochs, self._grid_run.say)
        return lambda _: advance(1)

    def _run_set(self, cells: Sequence[Cell]) -> Counter[str]:
        if not self._grid_run.any_free(cells):
            return Counter(elsewhere=len(cells))
        try:
            with enough_memory("measuring the model before unlearning"):
                counts = self._measure_base(cells)
        except DualDataError as error:  # the cells are compared with it, so none of them can be run
            return self._grid_run.fail_free(cells, str(error), self._loaded, self._stage)
        self._references = References()  # of this set's rows
        for group in grouped([cell for cell in cells if cell.method != BASE], lambda cell: cell.sweep):
            for batch in self._batches(group[0]):
                if wanted := [cell for cell in batch if cell in group]:
                    counts += self._run_cells(batch, wanted)
        return counts

    def _batches(self, like: Cell) -> list[Sequence[Cell]]:
        """The learning rates of a method and seed in batches of similar size, also those that have results.

        A batch has the same cells whatever is left to do: the last digits of a cell's numbers depend on what is trained
        and measured beside it, since products of other shapes add in another order.
        """
        cells = [cell for cell in self._grid_run.cells if cell.sweep == like.sweep]
        size = even_size(len(cells), self._cells_at_once)
        return [cells[start : start + size] for start in range(0, len(cells), size)]

    def _measure_base(self, cells: Sequence[Cell]) -> Counter[str]:
        """Measure the model from which the cells start. Returns how the cells without its result ended."""
        grid, first = self._grid, cells[0]
        missing = [cell for cell in cells if cell.method == BASE]
        if missing:
            self._grid_run.begin(missing)
        else:
            self._grid_run.say(f"{first.model} {first.stage} {first.set}: measuring the model before unlearning again")
        workload = self._tokenised.workload(first.stage, first.set)
        check_workload(self._loaded.room, workload, grid.preset.max_new_tokens)
        self._reset_peak()
        began = time.perf_counter()
        engine = self._engine(None)
        self._base = None  # the last set's logits, which may fill half of the device
        (base,) = measure(
            engine, workload, keep_reference=True, embedder=self._embedder, in_own_words=("forget", "retain_eval")
        )
        self._base, self._workload = base, base.workload
        self._remember_rows(engine, 1)
        effort = _effort(0.0, time.perf_counter() - began, engine, 1, self._options.ranks.size)
        with self._grid_run.claimed(missing) as bases:
            for cell in bases:
                self._write(cell, base, effort, engine.notes)
        return Counter(done=len(bases), elsewhere=len(missing) - len(bases))

    def _run_cells(self, batch: Sequence[Cell], wanted: Sequence[Cell]) -> Counter[str]:
        """Train and measure a batch, and write those of its `wanted` cells that no other process has claimed."""
        ranks = self._options.ranks
        with self._grid_run.claimed(wanted) as free:
            claimed_cells = ranks.agree(free)
            counts = Counter(elsewhere=len(wanted) - len(claimed_cells))
            share, together = ranks.share(batch)
            own = [cell for cell in share if cell in claimed_cells]
            try:
                if own:
                    self._grid_run.begin(own)
                if claimed_cells:
                    with enough_memory(f"training and measuring {batch[0].method}"):
                        devices = ranks.size * len(together) / len(batch)
                        counts.update(self._train_and_measure(together, own, devices))  # also those before an error
            except DualDataError as error:
                failed = [cell for cell in own if not self._grid_run.is_done(cell)]
                self._grid_run.fail(failed, str(error), self._loaded, self._stage)
                counts["failed"] += len(failed)
            ranks.wait()  # the first process holds the claims of all
        return counts

    def _train_and_measure(self, cells: Sequence[Cell], own: Sequence[Cell], devices: float) -> Iterator[str]:
        """Run cells together, which keep `devices` busy for each. This process writes its `own` of them, and says of
        each how it ended.
        """
        grid, loaded, notes = self._grid, self._loaded, list[str]()
        first, method = cells[0], method_named(cells[0].method)
        label = f"{first.model} {first.stage} {first.set} {first.method} seed {first.seed}"
        rows, lrs = self._tokenised.training_rows(first), [cell.lr for cell in cells]
        self._reset_peak()
        seeds = [cell.seed for cell in cells]
        adapters = None if grid.preset.full else Adapters(loaded.model, grid.preset.lora, seeds=seeds)
        keep_head = not method.at_layer and (bool(method.reference) or grid.preset.forget_kl > 0)
        trainable = adapters or FullWeights(loaded.model, seed=seeds[0], keep_head=keep_head)

        def attempt(optimisation: Optimisation) -> list[Trace]:
            on_epoch = self._telling(label, grid.preset.epochs)
            options = grid.preset.methods[method.name]
            return train(
                *(loaded, trainable, method, rows, lrs, optimisation),
                options=options,
                on_epoch=on_epoch,
                references=self._references,
            )

        try:
            began = time.perf_counter()
            traces = halving(attempt, grid.preset, notes, rows=len(rows.forget), undo=trainable.reset)
            trained = time.perf_counter()
            engine = self._engine(adapters)
            measurements = measure(engine, self._workload, base=self._base, embedder=self._embedder)
            self._remember_rows(engine, len(cells))
            measuring = time.perf_counter() - trained
            effort = _effort(trained - began, measuring, engine, len(cells), devices, traces[0].tokens)
            for cell in own:
                k = cells.index(cell)
                trace, measured = traces[k], measurements[k]
                if self._options.save_adapters and adapters is not None:
                    # Before the result, with which the cell counts as done.
                    adapters.save(adapter_path(grid.folder, cell.id), k, base=loaded.info.spec)
                self._write(cell, measured, effort, [*notes, *trace.fallbacks, *engine.notes], trace, rows)
                yield "stopped" if trace.stopped else "done"
        finally:
            trainable.remove()

    def _engine(self, adapters: Adapters | None) -> Engine:
        cells = adapters.count if adapters is not None else 1
        return open_engine(
            self._loaded,
            adapters,
            rows=max(1, self._rows_at_once // cells),
            max_new_tokens=self._grid.preset.max_new_tokens,
        )

    def _remember_rows(self, engine: Engine, cells: int) -> None:
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
        effort: RunRecord,
        notes: Sequence[str],
        trace: Trace | None = None,
        rows: TrainingRows | None = None,
    ) -> None:
        """Write a result and tell of it; `trace` and `rows` are those of its training, None before unlearning."""
        stopped = trace.stopped if trace is not None else ""
        result = blank(
            self._grid,
            cell,
            status="stopped" if stopped else "done",
            reason=stopped,
            loaded=self._loaded,
            stage=self._stage,
        )
        result["summary"] = measured.summary
        result["items"] = measured.items
        if self._grid.panel is not None and measured.panel is not None:
            result["panel"] = panel_summary(self._grid.panel, measured.panel)
            result["panel_items"] = panel_items(self._grid.panel, measured.panel)
        if trace is not None and rows is not None:
            result["training"] = {
                "steps": trace.steps,
                "loss": trace.losses,
                "parts": trace.parts,
                "gradient_norm": trace.norms,
                "notes": trace.notes,
                "token_ids": {kind: token_hash(encoded) for kind, encoded in rows.by_kind.items() if encoded},
            }
        result["run"] = run_record(effort, self._loaded, self._stage, notes)
        write_result(self._grid.folder, cell.id, result)
        self._grid_run.say(_line(cell, measured, stopped, seconds_of(effort)))
        self._grid_run.pace.cell_ended()


def _effort(
    training: float, measuring: float, engine: Engine, cells: int, devices: float, tokens: int | None = None
) -> RunRecord:
    return {
        "training_seconds": training,
        "measuring_seconds": measuring,
        "devices": devices,
        "cells_at_once": cells,
        "rows_at_once": engine.rows * cells,
        "tokens": tokens,
    }


def _line(cell: Cell, measured: Measurement, stopped: str, seconds: float) -> str:
    forget, retain = measured.summary["forget"], measured.summary["retain_eval"]
    state = f"stopped: {stopped}" if stopped else "done"
    ended = [row["ended"] for row in measured.items["forget"]]
    cut_off = f", {ended.count(False)} of {len(ended)} generations cut off" if not all(ended) else ""
    return (
        f"{cell.label}: {state}, ROUGE-L recall forget {forget['rougeL_recall']:.3f}{cut_off}, "
        f"retain {retain['rougeL_recall']:.3f}, {seconds:.1f} s"
    )
