"""Full fine-tuning: its gradient, what it leaves of the base and the reference, and the memory it takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dual_data.errors import DualDataError
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import Encoded
from dual_data.evaluation.training.full import FullWeights, bytes_per_parameter
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.optimiser import AdamW
from dual_data.evaluation.training.schedule import plan
from dual_data.evaluation.training.train import train
from tests.evaluation.methods.formulas import gru_gradient, row_figures
from tests.evaluation.training.oracle import LAYER, Problem, problem


@pytest.mark.parametrize("method", ["GradDiff", "GRU"])
def test_full_fine_tuning_has_the_gradient_of_autograd(method: str) -> None:
    setup = problem(fresh=True)
    setup.adapters.remove()
    seen: list[list[torch.Tensor]] = []

    class Watched(FullWeights):
        @property
        def buffers(self) -> Any:
            seen.append([buffer.gradient.clone() for buffer in super().buffers])
            return super().buffers

    weights = Watched(setup.loaded.model)
    names = [name for name, _ in setup.loaded.model.named_parameters()]
    trace = train(setup.loaded, weights, METHODS[method], setup.data, [0.0], Optimisation(epochs=1, batch=7))[0]
    twin: Any = tiny("llama").model.double().requires_grad_(True)
    retain, forget = (
        torch.cat([-row_figures(twin, row, LAYER).log_p for row in rows]).mean()
        for rows in (_retain_rows(setup), setup.forget)
    )
    weights_of_twin = [twin.get_parameter(name) for name in names]
    of_retain, of_forget = (
        torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights_of_twin)])
        for loss in (retain, -forget)
    )
    combined = of_forget + of_retain if method == "GradDiff" else gru_gradient(of_forget, of_retain)
    assert trace.losses[0] == pytest.approx(((retain if method == "GradDiff" else 0.0) - forget).item(), rel=1e-5)
    expected_gradients = torch.split(combined, [weight.numel() for weight in weights_of_twin])
    for name, gradient, expected in zip(names, seen[-1], expected_gradients, strict=True):
        assert (gradient[0] - expected).norm() <= 1e-4 * expected.norm() + 1e-8, name


def _retain_rows(setup: Problem) -> list[Encoded]:
    """The retain rows of the single step that has all seven forget rows."""
    (step,) = plan({"forget": [1] * 7, "retain": [1] * 5}, Optimisation(epochs=1, batch=7), seed=0)[0]
    return [setup.retain[index] for micro_batch in step for index in micro_batch.rows["retain"]]


def test_full_fine_tuning_learns_and_is_undone_to_the_bit() -> None:
    setup = problem(fresh=True)
    setup.adapters.remove()
    model = setup.loaded.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = FullWeights(model, keep_head=True)
    trace = train(setup.loaded, weights, METHODS["JensUn"], setup.data, [1e-3], Optimisation(epochs=3, batch=7))[0]
    assert trace.parts["retain"][0] == pytest.approx(0.0, abs=1e-6)
    assert trace.losses[-1] < trace.losses[0]
    with pytest.raises(DualDataError, match="before the first step"), weights.disabled():
        pass
    weights.remove()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_reference_of_full_fine_tuning_has_the_bias_of_the_head_as_it_was() -> None:
    setup = problem("qwen", fresh=True)
    setup.adapters.remove()
    model: Any = setup.loaded.model
    bias = torch.randn(model.config.vocab_size, generator=torch.Generator().manual_seed(0))
    model.lm_head.bias = torch.nn.Parameter(bias.clone(), requires_grad=False)  # as Phi has it
    hidden = torch.randn(3, model.config.hidden_size)
    before = head(model, hidden)
    weights = FullWeights(model, keep_head=True)
    trace = train(setup.loaded, weights, METHODS["GradDiffKL"], setup.data, [1e-2], Optimisation(epochs=2, batch=7))[0]
    assert trace.parts["retain_kl"][0] == pytest.approx(0.0, abs=1e-6)
    assert trace.parts["retain_kl"][1] > 1e-3
    assert not torch.equal(model.lm_head.bias, bias)
    assert torch.equal(weights.reference_head(hidden), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_fine_tuning_takes_the_memory_that_is_forecast(dtype: torch.dtype) -> None:
    model = tiny(dtype=dtype).model
    weights = FullWeights(model)
    optimiser = AdamW(weights, [1e-3], [1.0], clip=1.0, most_norm=0.0, weight_decay=0.0)
    tensors = [*model.parameters(), *(parameter.grad for parameter in model.parameters())]
    tensors += [buffer.master for buffer in weights.buffers] + [
        moment for pair in optimiser._moments for moment in pair
    ]
    tensors += optimiser._sums
    sizes = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in tensors
        if tensor is not None
    }
    assert sum(sizes.values()) == bytes_per_parameter(dtype) * sum(tensor.numel() for tensor in model.parameters())


class Converted(TorchDispatchMode):
    """Remembers the storages of copies that change the type."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name == "aten::copy_" and args[0].dtype != args[1].dtype:
            self.storages.add(args[1].untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


def test_the_copy_on_the_host_is_only_sent_back_and_converted_on_the_device() -> None:
    model = tiny(dtype=torch.bfloat16).model
    weights = FullWeights(model)
    with Converted() as converted:
        weights.reset()
    assert converted.storages == {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with Converted() as converted:
        weights.remove()
    assert not converted.storages


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_fine_tuning_that_is_reset_starts_anew(dtype: torch.dtype) -> None:
    rows, loaded = problem(), tiny("llama", dtype=dtype)
    weights = FullWeights(loaded.model)
    weight = loaded.model.lm_head.weight
    before, runs = weight.clone(), []
    for _ in range(2):
        runs.append(train(loaded, weights, METHODS["GradDiff"], rows.data, [1e-2], Optimisation(epochs=2, batch=7))[0])
        assert (weight - before).abs().max() > 1e-3
        for buffer in weights.buffers:
            buffer.gradient.fill_(torch.nan)  # as where a step that cannot be taken ended the run
        weights.reset()
    assert torch.equal(weight, before)
    assert runs[0] == runs[1]
