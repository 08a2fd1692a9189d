"""AdamW over the buffers of many cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dual_data.evaluation.training.optimiser import AdamW, Buffer


class Numbers:
    """Two cells of a few weights each, as a trainable of the optimiser; full fine-tuning has a buffer a parameter."""

    count = 2

    def __init__(self, *sizes: int, dtype: torch.dtype = torch.float32) -> None:
        self.buffers = [Buffer(torch.ones(2, size), torch.zeros(2, size, dtype=dtype)) for size in sizes or (3,)]

    def publish(self) -> None: ...

    def perturb(self, keep: float, spread: float) -> None: ...

    def multiply_change(self, factor: float) -> None: ...

    def disabled(self) -> Any: ...

    def reference_head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adamw_equals_torch_for_each_cell_with_its_own_rate_and_clipping(dtype: torch.dtype) -> None:
    sizes, lrs = (3, 5), (0.1, 0.01)
    numbers = Numbers(*sizes, dtype=dtype)
    ours = AdamW(numbers, lrs, [1.0, 0.5, 1.0], clip=1.0, most_norm=0.0, weight_decay=0.1)
    theirs = [[torch.nn.Parameter(torch.ones(n)) for n in sizes] for _ in lrs]
    adams = [torch.optim.AdamW(cell, lr=lr, weight_decay=0.1) for cell, lr in zip(theirs, lrs, strict=True)]
    random = torch.Generator().manual_seed(0)
    for step, factor in enumerate((1.0, 0.5, 1.0)):
        sums = [torch.zeros(2, n) for n in sizes]
        for _ in range(3):  # micro-batches
            for buffer, total in zip(numbers.buffers, sums, strict=True):
                gradient = torch.randn(total.shape, generator=random).to(dtype)
                buffer.gradient.add_(gradient)
                total.add_(gradient)
            ours.accumulate()
        ours.step()
        for k, (cell, adam) in enumerate(zip(theirs, adams, strict=True)):
            for weight, total in zip(cell, sums, strict=True):
                weight.grad = total[k].clone()
            norm = torch.nn.utils.clip_grad_norm_(cell, 1.0)
            assert ours.norms[step, k].item() == pytest.approx(norm.item(), rel=1e-5)
            adam.param_groups[0]["lr"] = lrs[k] * factor
            adam.step()
    for k, cell in enumerate(theirs):
        for buffer, weight in zip(numbers.buffers, cell, strict=True):
            assert torch.allclose(buffer.master[k], weight.data, atol=1e-6)
            assert not buffer.gradient.any()


class Made(TorchDispatchMode):
    """Counts the tensors of one size that are made, not written in place."""

    def __init__(self, size: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.size, self.count = size, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        written = any(result is given for given in args)
        self.count += isinstance(result, torch.Tensor) and not written and result.numel() == self.size
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_makes_two_tensors_of_a_buffer_and_leaves_a_stopped_cell_as_it_was(dtype: torch.dtype) -> None:
    numbers = Numbers(50, dtype=dtype)
    adam = AdamW(numbers, (0.1, 0.1), [1.0] * 2, clip=1.0, most_norm=0.0, weight_decay=0.1)
    (buffer,) = numbers.buffers
    buffer.gradient[1, 7] = torch.nan
    for _ in range(2):
        buffer.gradient[0] += 1.0
        adam.accumulate()
        with Made(100) as made:
            adam.step()
        assert made.count == 2
    assert adam.alive.tolist() == [True, False]
    assert (buffer.master[0] < 1.0).all()
    assert (buffer.master[1] == 1.0).all()
    assert not any(moment[1].any() for pair in adam._moments for moment in pair)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_terms_take_one_float32_tensor_of_a_buffer_each_and_are_made_one(dtype: torch.dtype) -> None:
    numbers, whole = Numbers(50, dtype=dtype), Numbers(50, dtype=dtype)
    adam, expected = (
        AdamW(given, (0.1, 0.2), [1.0] * 2, clip=1.0, most_norm=0.0, weight_decay=0.1) for given in (numbers, whole)
    )
    random = torch.Generator().manual_seed(0)
    with Made(100) as made:
        for _ in range(2):
            for _ in range(3):
                for term in ("a", "b"):
                    value = torch.randn(2, 1, generator=random).to(dtype)
                    numbers.buffers[0].gradient.add_(value)
                    adam.accumulate(term)
                    whole.buffers[0].gradient.add_(value if term == "a" else -2 * value)
                    expected.accumulate()
            adam.combine(lambda terms: [terms["a"][0].sub_(terms["b"][0], alpha=2.0)])
            for optimiser in (adam, expected):
                optimiser.step()
    assert made.count == 2 + 4 * 2
    assert {total.dtype for totals in adam._terms.values() for total in totals} == {torch.float32}
    assert not any(total.any() for totals in adam._terms.values() for total in totals)
    assert torch.allclose(numbers.buffers[0].master, whole.buffers[0].master)
    assert torch.allclose(adam.norms, expected.norms)
