"""What methods do besides a loss: combine the gradients of its terms, and change weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.grid import stage_run
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import Method, inner
from dual_data.evaluation.methods.gru import rectified
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.results import read_results
from dual_data.evaluation.rows.encoding import TrainingRows
from dual_data.evaluation.training import fine_tune
from dual_data.evaluation.training.full import FullWeights
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import halving, train
from dual_data.evaluation.training.training_run import Trace
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
    gradient = rectified({"forget": _made(0), "retain": retain})
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
    gradient = rectified({"forget": _made(0), "retain": [torch.zeros_like(buffer) for buffer in forget]})
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


def _noise(trainable: FullWeights | Adapters) -> None:
    """Blur the weights, with nothing drawn from torch's own generator."""
    state = torch.get_rng_state()
    trainable.perturb(0.9, 0.5)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_of_all_weights_is_that_of_undo_and_of_the_seed_alone(dtype: torch.dtype) -> None:
    found = []
    for seed in (3, 4, 3):
        model = tiny("llama", dtype=dtype).model
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        weights = FullWeights(model, seed=seed)
        _noise(weights)
        after = dict(zip(before, (buffer.master.clone() for buffer in weights.buffers), strict=True))
        for name, start in before.items():
            noise = after[name].view_as(start) - 0.9 * start.float()
            if start.dim() == 1:
                assert float(noise.abs().max()) < 1e-6, name
                continue
            most = 0.5 * (6 / sum(start.shape)) ** 0.5  # torch.nn.init.xavier_uniform_
            assert 0.95 * most < float(noise.abs().max()) <= most + 1e-6, name
            assert float(noise.std()) == pytest.approx(most / 3**0.5, rel=0.05), name
            assert abs(float(noise.mean())) < 0.1 * most, name
            assert torch.equal(model.get_parameter(name), after[name].view_as(start).to(dtype)), name
        found.append(after)
        weights.reset()
        assert all(torch.equal(model.get_parameter(name), start) for name, start in before.items())
    one, other, same = (torch.cat([weight.flatten() for weight in after.values()]) for after in found)
    assert torch.equal(one, same)
    assert float((one != other).float().mean()) > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_of_adapters_has_the_size_of_that_of_all_weights_and_is_of_each_cells_seed(dtype: torch.dtype) -> None:
    model = tiny("llama", dtype=dtype).model
    base = {name: weight.clone() for name, weight in model.state_dict().items()}
    together = Adapters(model, SPEC, seeds=(3, 4, 3))
    _noise(together)
    assert torch.equal(together.live, together.master.to(dtype))
    assert torch.equal(together.master[0], together.master[2])
    ratios = []
    for name, (a, b) in together.weights(1).items():
        size = 0.5 * (2 / (a.shape[1] + b.shape[0])) ** 0.5
        ratios.append(float((SPEC.scaling * b @ a).std()) / size)
        assert not torch.equal(b, together.weights(0)[name][1]), name
    # A and B have few numbers.
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, rel=0.1)
    assert all(torch.equal(weight, base[name]) for name, weight in model.state_dict().items())
    together.remove()
    alone = Adapters(model, SPEC, seeds=(4,))
    _noise(alone)
    assert torch.equal(alone.master[0], together.master[1])
    alone.reset()
    assert torch.equal(alone.master[0], Adapters(model, SPEC, seeds=(4,)).master[0])


@pytest.mark.parametrize("full", [False, True])
def test_what_noise_took_is_distilled_again_but_for_the_facts_to_forget(full: bool) -> None:
    rows, loaded = problem(), tiny("llama")
    taught = FullWeights(loaded.model)
    both = TrainingRows([*rows.forget, *rows.retain], (), 0)
    (learned,) = train(loaded, taught, fine_tune.METHOD, both, [3e-3], Optimisation(epochs=30, batch=12))
    assert learned.parts["nll"][-1] < 0.5
    taught._untrack()  # the model keeps what it learned

    def parts(share: float) -> dict[str, list[float]]:
        trainable: Any = FullWeights(loaded.model, keep_head=True) if full else Adapters(loaded.model, SPEC)
        how, options = Optimisation(epochs=20, batch=7), {"share": share, "scale": 1.0}
        trace = train(loaded, trainable, METHODS["NoiseDistil"], rows.data, [3e-3], how, options=options)[0]
        trainable.remove()
        return trace.parts

    clear, blurred = parts(0.0), parts(0.2)
    assert clear["retain_kl"][0] == pytest.approx(0.0, abs=1e-5)
    assert blurred["retain_kl"][0] > 0.02
    assert blurred["retain_kl"][-1] < 0.5 * max(blurred["retain_kl"])
    assert blurred["retain_nll"][-1] < blurred["retain_nll"][0]
    assert blurred["forget_nll"][-1] > clear["forget_nll"][0] + 1.0


def test_noise_in_a_grid_that_trains_all_weights_is_of_the_seed_of_its_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    class Noted(FullWeights):
        def perturb(self, keep: float, spread: float) -> None:
            seeds.append(self._seed)
            super().perturb(keep, spread)

    monkeypatch.setattr(stage_run, "FullWeights", Noted)
    grid = GRID.replace("methods.GradDiff = {}", "full = true\nmethods.NoiseDistil = {}").replace(
        "lrs = [1e-3, ", "lrs = ["
    )
    write_project(
        tmp_path, adapters=False, grid=grid.replace('preset = "small"\n', 'preset = "small"\nseeds = [0, 5]\n')
    )
    assert seeds == [0, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"share": 1.5}, "share: 1.5 is not 0 <= share <= 1"), ({"scale": -0.1}, "scale: -0.1 is negative")],
)
def test_noise_that_is_no_share_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=f"^NoiseDistil.{message}$"):
        METHODS["NoiseDistil"].options(options)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["GRU", "TaskVector", "NoiseDistil"])
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
    methods = "methods.GRU = {}\nmethods.TaskVector = {}\nmethods.NoiseDistil = {}"
    file = GRID.replace("methods.GradDiff = {}", methods)
    options = write_project(tmp_path, adapters=True, more=["--cells-at-once", "2"], grid=file)
    grid, cells = opened(tmp_path)
    assert dual_data("eval", "attack", *options).code == 0
    attacked = {path.parent.name for path in attack_files(grid.folder)}
    assert {cell.method for cell in cells if cell.id in attacked} == {"GRU", "TaskVector", "NoiseDistil"}
    written = {path: path.read_bytes() for path, _ in read_results(grid.folder)}
    assert len(written) == len(cells) == 7
    for path in list(written)[1:3]:
        path.unlink()
    assert dual_data("eval", "run", *options, "--save-adapters", "--cells-at-once", "2").code == 0
    assert {path: path.read_bytes() for path in written} == written
