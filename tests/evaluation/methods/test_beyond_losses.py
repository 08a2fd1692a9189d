"""What methods do besides a loss: combine the gradients of its terms, and change weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import Method, inner
from dual_data.evaluation.methods.gru import rectified
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import read_results
from dual_data.evaluation.training.cells import Trace
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import halving, train
from tests.cli.command import dual_data
from tests.evaluation.attacks.attacked_grid import GRID, attack_files, opened, write_project
from tests.evaluation.training.oracle import SPEC, problem

CELLS = 200


def _made(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    """A gradient of two buffers for each cell."""
    random = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(CELLS, width, generator=random) for width in (4, 3)]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_rectified_gradient_never_opposes_that_of_the_retain_loss(scale: float) -> None:
    forget, retain = _made(0), _made(1, scale)
    gradient = rectified({"forget": forget, "retain": retain})
    opposed = inner(forget, retain)[:, 0] < 0
    assert 50 < int(opposed.sum()) < 150
    cosine = inner(gradient, retain) / (inner(gradient, gradient) * inner(retain, retain)).sqrt()
    assert float(cosine.min()) > -1e-5
    assert float(cosine[opposed].abs().max()) < 1e-5
    for before, after in zip(forget, gradient, strict=True):
        assert torch.equal(after[~opposed], before[~opposed])
    # No gradient that does not oppose it is nearer: what was taken away lies along the retain gradient.
    removed = [before - after for before, after in zip(forget, gradient, strict=True)]
    along = inner(removed, retain)[opposed] / (inner(removed, removed) * inner(retain, retain))[opposed].sqrt()
    assert along.min() == pytest.approx(-1.0, abs=1e-4)
    assert along.max() == pytest.approx(-1.0, abs=1e-4)


def test_where_nothing_is_to_be_kept_the_gradient_is_that_of_ascent() -> None:
    forget = _made(0)
    gradient = rectified({"forget": forget, "retain": [torch.zeros_like(buffer) for buffer in forget]})
    assert all(torch.equal(*pair) for pair in zip(gradient, forget, strict=True))


def test_where_the_losses_do_not_conflict_gru_is_gradient_ascent() -> None:
    setup, other = problem(fresh=True), problem(fresh=True)
    agreeing = METHODS["GRU"]._replace(gradient=lambda terms: terms["forget"])
    how = Optimisation(epochs=3, batch=4, micro_batch=3)
    (trace,) = train(setup.loaded, setup.adapters, agreeing, setup.data, [1e-2], how)
    assert trace.losses == pytest.approx(other.train("GradAscent", how, 1e-2)[0].losses, rel=1e-5)
    assert torch.allclose(setup.adapters.master, other.adapters.master, atol=1e-5)


def test_gru_forgets_and_keeps_more_than_gradient_ascent() -> None:
    how, kept = Optimisation(epochs=8, batch=7, diverged_nll=0.0), {}
    for name in ("GradAscent", "GRU"):
        setup = problem(fresh=True)
        parts = setup.train(name, how, 3e-3)[0].parts
        assert all(before < after for before, after in pairwise(parts["forget_nll"])), name
        # The loss on the rows to keep, by a run without steps.
        kept[name] = setup.train("GradDiff", Optimisation(epochs=1, batch=7))[0].parts["retain_nll"][0]
    start = problem(fresh=True).train("GradDiff", Optimisation(epochs=1, batch=7))[0].parts["retain_nll"][0]
    assert start < kept["GradAscent"]
    assert kept["GRU"] < kept["GradAscent"]


HOW = Optimisation(epochs=2, batch=4, micro_batch=3)


def _weights(
    method: Method, dtype: torch.dtype, *, full: bool, how: Optimisation = HOW, **options: Any
) -> tuple[list[Trace], list[torch.Tensor], list[torch.Tensor]]:
    """Weights of two adapters or of a model before training and after it, in float32 and as they are read."""
    loaded, rows = tiny("llama", dtype=dtype), problem()
    trainable: Any = FullWeights(loaded.model, keep_head=True) if full else Adapters(loaded.model, SPEC, seeds=(0, 1))
    before = [buffer.master.clone() for buffer in trainable.buffers]
    lrs = [1e-2, 3e-3][: trainable.count]
    traces = train(loaded, trainable, method, rows.data, lrs, how, options=options)
    read = [weight.detach().view(1, -1) for weight in loaded.model.parameters()] if full else [trainable.live]
    after = [buffer.master for buffer in trainable.buffers]
    assert all(torch.equal(one.to(other.dtype), other) for one, other in zip(after, read, strict=True))
    return traces, before, after


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_task_vector_is_taken_from_all_weights(dtype: torch.dtype, alpha: float) -> None:
    method = METHODS["TaskVector"]
    learned, before, trained = _weights(method._replace(factor=None), dtype, full=True)
    traces, _, after = _weights(method, dtype, full=True, alpha=alpha)
    assert traces == learned
    for start, end, negated in zip(before, trained, after, strict=True):
        assert torch.allclose(negated, start - alpha * (end - start), atol=1e-6)
    assert sum(float((end - start).norm()) for start, end in zip(before, after, strict=True)) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_task_vector_of_adapters_is_their_product(dtype: torch.dtype) -> None:
    def products(adapters: Adapters) -> list[torch.Tensor]:
        return [b @ a for k in range(adapters.count) for a, b in adapters.weights(k).values()]

    found = []
    for method, options in ((METHODS["TaskVector"]._replace(factor=None), {}), (METHODS["TaskVector"], {"alpha": 0.3})):
        loaded, rows = tiny("llama", dtype=dtype), problem()
        adapters = Adapters(loaded.model, SPEC, seeds=(0, 1))
        assert not any(product.any() for product in products(adapters))
        train(loaded, adapters, method, rows.data, [1e-2, 3e-3], HOW, options=options)
        assert torch.equal(adapters.live, adapters.master.to(dtype))
        found.append(products(adapters))
    for learned, negated in zip(*found, strict=True):
        assert learned.any()
        assert torch.allclose(negated, -0.3 * learned, atol=1e-6)


def test_a_task_vector_forgets_what_was_learned_and_without_weight_leaves_the_model() -> None:
    losses = {}
    for alpha in (0.0, 0.5, 1.0):
        setup = problem(fresh=True)
        learned = setup.train("TaskVector", Optimisation(epochs=4, batch=7), 3e-3, alpha=alpha)[0].parts["nll"]
        assert learned[-1] < learned[0]
        losses[alpha] = setup.train("GradAscent", Optimisation(epochs=1, batch=7))[0].parts["forget_nll"][0]
    assert losses[0.0] == pytest.approx(learned[0], rel=1e-6)
    assert losses[0.0] + 0.05 < losses[0.5] < losses[1.0] - 0.05


def test_a_task_vector_that_teaches_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^TaskVector.alpha: -1 is negative$"):
        METHODS["TaskVector"].options({"alpha": -1.0})


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["GRU", "TaskVector"])
def test_after_memory_ran_out_a_method_begins_anew(name: str, full: bool) -> None:
    loaded, rows, tries = tiny("llama"), problem(), list[int]()
    trainable: Any = FullWeights(loaded.model, keep_head=True) if full else Adapters(loaded.model, SPEC, seeds=(0, 1))

    def attempt(optimisation: Optimisation) -> list[Trace]:
        tries.append(optimisation.micro_batch)
        lrs = [1e-2, 3e-3][: trainable.count]
        traces = train(loaded, trainable, METHODS[name], rows.data, lrs, optimisation)
        if len(tries) == 1:
            raise MemoryError
        return traces

    halving(attempt, HOW, [], rows=7, undo=trainable.reset)
    assert tries == [3, 1]
    _, _, expected = _weights(METHODS[name], torch.float32, full=full, how=HOW.model_copy(update={"micro_batch": 1}))
    assert all(torch.equal(buffer.master, one) for buffer, one in zip(trainable.buffers, expected, strict=True))


def test_cells_of_such_methods_are_run_saved_attacked_and_resumed(tmp_path: Path) -> None:
    methods = "methods.GRU = {}\nmethods.TaskVector = {}"
    file = GRID.replace("methods.GradDiff = {}", methods)
    options = write_project(tmp_path, adapters=True, more=["--cells-at-once", "2"], grid=file)
    grid, cells = opened(tmp_path)
    assert dual_data("eval", "attack", *options).code == 0
    attacked = {path.parent.name for path in attack_files(grid.folder)}
    assert {cell.method for cell in cells if cell.id in attacked} == {"GRU", "TaskVector"}
    written = {path: path.read_bytes() for path, _ in read_results(grid.folder)}
    assert len(written) == len(cells) == 5
    for path in list(written)[1:3]:
        path.unlink()
    assert dual_data("eval", "run", *options, "--save-adapters", "--cells-at-once", "2").code == 0
    assert {path: path.read_bytes() for path in written} == written
