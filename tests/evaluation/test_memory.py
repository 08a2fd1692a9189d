"""Running out of memory: smaller pieces are tried where possible, else only the cells concerned fail."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.device.memory import enough_memory
from dual_data.evaluation.grid import grid_run, stage_run, stages
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.measuring import decoding as generate
from dual_data.evaluation.measuring import fast as stream
from dual_data.evaluation.measuring import open_engine as engine
from dual_data.evaluation.measuring import plain
from dual_data.evaluation.measuring import teacher_forcing as forced
from dual_data.evaluation.measuring.fast import FastEngine
from dual_data.evaluation.measuring.measure import Measurement, measure
from dual_data.evaluation.measuring.plain import PlainEngine
from dual_data.evaluation.measuring.score import Reference
from dual_data.evaluation.models.decoder import last_hidden
from dual_data.evaluation.models.loading import Loaded, load
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import cell_path, read_result, read_results
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.request import Outcome, request_of
from dual_data.evaluation.settings import ModelSettings
from dual_data.evaluation.training import reference
from dual_data.evaluation.training.forward import hidden_at
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.train import halving, train
from dual_data.evaluation.training.training_run import Trace
from tests.evaluation.grid.small_grid import FILE, one_stage, opened
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import OPTIONS, problem

ERRORS = [
    torch.OutOfMemoryError("made up"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


def reasons(folder: Path, **coordinates: object) -> set[str]:
    """Reasons of the cells with these coordinates; empty for cells without a failure."""
    return {
        result["reason"]
        for _, result in read_results(folder)
        if all(result["cell"][name] == value for name, value in coordinates.items())
    }


@pytest.mark.parametrize("error", ERRORS)
def test_adapters_that_do_not_fit_fail_their_cells_and_the_grid_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Cramped(Adapters):
        def __init__(self, *arguments: Any, seeds: Any) -> None:
            if 7 in seeds:
                raise error
            super().__init__(*arguments, seeds=seeds)

    monkeypatch.setattr(stage_run, "Adapters", Cramped)
    grid, cells = opened(project, file=one_stage().replace("seeds = [0]", "seeds = [0, 7]"))
    assert run(grid, cells, RunOptions()) == (5, 0, 4, 0)
    messages = sorted(reason.partition(":")[0] for reason in reasons(grid.folder, seed=7))
    assert messages == [f"out of memory training and measuring {method}" for method in ("GradAscent", "NPO")]
    monkeypatch.undo()
    assert run(grid, cells, RunOptions()) == (4, 0, 0, 0)


def test_a_model_that_does_not_fit_fails_its_cells_and_the_next_one_is_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs: list[str] = []

    def cramped(settings: ModelSettings, device: str) -> Loaded:
        specs.append(settings.spec)
        if settings.spec == "tiny-qwen":
            raise torch.OutOfMemoryError("made up")
        return load(settings.spec, settings.dtype, device)

    monkeypatch.setattr(grid_run, "load_model", cramped)
    file = FILE.replace('models = ["tiny"]', 'models = ["big", "tiny"]').replace("seeds = [0, 1]", "seeds = [0]")
    file = file.replace("[data.cities]", '[models.big]\nspec = "tiny-qwen"\ndtype = "float32"\n[data.cities]', 1)
    grid, cells = opened(project, file=file)
    assert run(grid, cells, RunOptions()) == (10, 0, 10, 0)
    (reason,) = reasons(grid.folder, model="big")
    assert reason.startswith("out of memory loading tiny-qwen")
    assert specs == ["tiny-qwen", "tiny-llama"]


def test_a_stage_that_does_not_fit_fails_the_cells_that_rest_on_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cramped(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("made up")

    monkeypatch.setattr(stages, "train", cramped)
    grid, cells = opened(project, file=FILE.replace("seeds = [0, 1]", "seeds = [0]"))
    assert run(grid, cells, RunOptions()) == (5, 0, 5, 0)
    (reason,) = reasons(grid.folder, stage="sft")
    assert reason.startswith("out of memory with a single row a forward pass")
    assert reasons(grid.folder, stage="pretrained") == {""}


@pytest.mark.parametrize("error", ERRORS)
def test_a_cell_that_does_not_fit_is_trained_on_fewer_rows_at_once_and_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole, cells = opened(project, file=one_stage(), out="whole")
    run(whole, cells, RunOptions())

    def cramped(
        loaded: Loaded, trainable: Any, method: Any, data: Any, lrs: Any, optimisation: Optimisation, **options: Any
    ) -> Any:
        traces = train(loaded, trainable, method, data, lrs, optimisation, **options)
        if (optimisation.micro_batch or optimisation.batch) > 1:  # memory can run out after some steps
            raise error
        return traces

    monkeypatch.setattr(stage_run, "train", cramped)
    grid, cells = opened(project, file=one_stage())
    assert run(grid, cells, RunOptions()) == (5, 0, 0, 0)
    for cell in cells:
        actual, expected = (read_result(cell_path(either.folder, cell.id)) for either in (grid, whole))
        notes = ["out of memory: forward passes of 1 rows in place of 2"] if cell.lr else []
        assert actual["run"]["notes"] == notes
        if cell.lr:
            assert actual["training"] is not None
            assert expected["training"] is not None
            assert actual["training"]["loss"] == pytest.approx(expected["training"]["loss"], rel=1e-4)


@pytest.mark.parametrize("error", ERRORS)
def test_both_engines_halve_their_batch_on_the_device_and_the_host(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tiny()
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(), "chat")]
    expected = PlainEngine(loaded, rows=4, max_new_tokens=4).run(requests)[0]
    most = [2]

    def cramped(model: Any, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        if len(ids) > most[0]:
            raise error
        return last_hidden(model, ids, *rest)

    for module in (plain, stream, forced, generate):
        monkeypatch.setattr(module, "last_hidden", cramped)
    slow = PlainEngine(loaded, rows=7, max_new_tokens=4)
    same(slow.run(requests)[0], expected)
    assert slow.notes == [f"out of memory: evaluation batch halved to {rows}" for rows in (3, 1)]
    fast = FastEngine(loaded, rows=7, max_new_tokens=4)
    same(fast.run(requests)[0], expected)
    assert (fast.rows, fast.notes) == (1, slow.notes)
    most[0] = 0
    for either in (slow, fast):
        with pytest.raises(DualDataError, match="out of memory with a single row"):
            either.run(requests)


def test_a_batch_that_did_not_fit_once_is_not_tried_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, cells = opened(project, file=one_stage())
    sizes: list[int] = []
    real = FastEngine._batch

    def cramped(engine: FastEngine, requests: Any, indices: list[int], *arguments: Any, **options: Any) -> Any:
        sizes.append(len(indices) * engine.cells)
        if sizes[-1] > 6:
            raise torch.OutOfMemoryError("made up")
        return real(engine, requests, indices, *arguments, **options)

    monkeypatch.setattr(FastEngine, "_batch", cramped)
    assert run(grid, cells, RunOptions(rows=12, cells_at_once=2)) == (5, 0, 0, 0)
    assert [rows for rows in sizes if rows > 6] == [12]
    notes = [read_result(cell_path(grid.folder, cell.id))["run"]["notes"] for cell in cells]
    assert [note for cell_notes in notes for note in cell_notes] == ["out of memory: evaluation batch halved to 6"]


def test_a_batch_that_did_not_fit_the_plain_way_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("gemma2")  # a window of 64 tokens, shorter than the prompts
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(), "chat")]
    sizes: list[int] = []
    real = PlainEngine._batch

    def cramped(engine: PlainEngine, batch: Any, *arguments: Any) -> Any:
        sizes.append(len(batch))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("made up")
        return real(engine, batch, *arguments)

    monkeypatch.setattr(PlainEngine, "_batch", cramped)
    fast = FastEngine(loaded, rows=6, max_new_tokens=2)
    for _ in range(2):
        fast.run(requests)
    assert sizes == [6, 3, 3, 1, 3, 3, 1]
    assert (fast.rows, fast.notes[1:]) == (3, ["out of memory: evaluation batch halved to 3"])


def test_of_two_sets_only_one_reference_is_held_at_a_time(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    references: list[weakref.ref[Reference]] = []
    held: list[int] = []

    def watched(*arguments: Any, keep_reference: bool = False, **options: Any) -> list[Measurement]:
        if keep_reference:
            held.append(sum(reference() is not None for reference in references))
        measurements = measure(*arguments, keep_reference=keep_reference, **options)
        if (kept := measurements[0].reference) is not None:
            references.append(weakref.ref(kept))
        return measurements

    monkeypatch.setattr(stage_run, "measure", watched)
    grid, cells = opened(project, "all")
    assert run(grid, cells, RunOptions()).failed == 0
    assert held == [0, 0]


def same(actual: list[Outcome], expected: list[Outcome]) -> None:
    for outcome, expected_outcome in zip(actual, expected, strict=True):
        assert outcome.generation == expected_outcome.generation
        assert outcome.scores[0].log_p == pytest.approx(expected_outcome.scores[0].log_p, abs=1e-5)


def test_memory_that_runs_out_says_nothing_about_an_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny()

    def cramped(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("made up")

    monkeypatch.setattr(engine, "_NO_CACHE", {})  # this model may have been tried before
    with monkeypatch.context() as patch:
        patch.setattr(FastEngine, "run", cramped)
        with pytest.raises(torch.OutOfMemoryError):
            engine.open_engine(loaded)
    # Nor do active adapters: two rows cannot be divided among three.
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=range(3))
    assert isinstance(engine.open_engine(loaded, adapters), FastEngine)
    assert adapters.enabled


def attempts(rows: int, errors: list[Exception], notes: list[str], *, batch: int = 8, micro: int = 0) -> list[int]:
    """Sizes of the forward passes tried, where each attempt raises the next of `errors` until none is left."""
    sizes: list[int] = []

    def attempt(optimisation: Optimisation) -> list[int]:
        sizes.append(optimisation.micro_batch or optimisation.batch)
        if errors:
            raise errors.pop(0)
        return sizes

    optimisation = Optimisation(batch=batch, micro_batch=micro)
    return halving(attempt, optimisation, notes, rows=rows, undo=lambda: None)


def test_out_of_memory_halves_the_forward_pass_until_it_fits_and_says_so() -> None:
    notes: list[str] = []
    assert attempts(8, [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], notes) == [8, 4, 2]
    assert notes == [
        "out of memory: forward passes of 4 rows in place of 8",
        "out of memory: forward passes of 2 rows in place of 4",
    ]
    with pytest.raises(DualDataError, match="single row"):
        attempts(1, [MemoryError()], [])
    notes.clear()
    assert attempts(5, [MemoryError(), MemoryError()], notes, batch=32) == [32, 2, 1]  # 32 is more than there are
    assert notes[0] == "out of memory: forward passes of 2 rows in place of 5"
    notes.clear()
    assert attempts(100, [MemoryError()], notes, batch=4, micro=16) == [16, 2]  # a batch of 4 has no micro-batch of 16
    assert notes == ["out of memory: forward passes of 2 rows in place of 4"]
    with pytest.raises(RuntimeError, match="shape"):
        attempts(8, [RuntimeError("a wrong shape")], [])


def test_a_loss_that_is_normalised_over_micro_batches_is_not_computed_over_smaller_ones() -> None:
    def cramped(_: Optimisation) -> None:
        raise MemoryError

    with pytest.raises(DualDataError, match="would change a loss"):
        halving(cramped, Optimisation(batch=8, micro_batch=4, normalise="micro_batch"), [], rows=8, undo=lambda: None)


@pytest.mark.parametrize(("method", "error"), list(zip(("NPO", "GradDiffKL", "RMU"), ERRORS, strict=True)))
def test_a_reference_that_does_not_fit_is_computed_on_fewer_rows_at_once_whatever_is_trained_on(
    method: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = problem()
    optimisation = Optimisation(epochs=1, batch=7, micro_batch=2, normalise="micro_batch")
    expected = setup.train(method, optimisation, **OPTIONS.get(method, {}))[0]
    most, rows = [2], list[int]()

    def cramped(model: Any, layout: Any, kinds: Any, states: Any = None) -> Any:
        rows.append(kinds[0].share.shape[1])
        if rows[-1] > most[0]:
            raise error
        return hidden_at(model, layout, kinds, states)

    def attempt(smaller: Optimisation) -> Trace:
        return setup.train(method, smaller, **OPTIONS.get(method, {}))[0]

    monkeypatch.setattr(reference, "hidden_at", cramped)
    notes: list[str] = []
    trace = halving(attempt, optimisation, notes, rows=len(setup.forget), undo=lambda: None)
    assert notes == []
    assert rows[:4] == ([7, 3, 1, 1] if method == "NPO" else [5, 2, 2, 1])  # forget rows, or first the retain rows
    assert trace.losses == pytest.approx(expected.losses, rel=1e-5)
    most[0] = 0
    with pytest.raises(DualDataError, match="the reference: out of memory with a single row"):
        halving(attempt, optimisation, notes, rows=len(setup.forget), undo=lambda: None)


def test_full_fine_tuning_that_does_not_fit_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny().model
    tensors = []

    def cramped(tensor: torch.Tensor) -> torch.Tensor:
        tensors.append(tensor)
        if len(tensors) > 3:
            raise torch.OutOfMemoryError("made up")
        return torch.zeros(tensor.shape)

    monkeypatch.setattr(torch, "zeros_like", cramped)
    with pytest.raises(torch.OutOfMemoryError):
        FullWeights(model)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


def test_other_errors_go_on_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a wrong shape"), enough_memory("trying"):
        raise RuntimeError("a wrong shape")
