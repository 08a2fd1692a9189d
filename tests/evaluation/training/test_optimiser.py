"""AdamW over the buffers of many cells."""

from __future__ import annotations

from typing import Any

import torch

from dual_data.evaluation.training.optimiser import AdamW, Buffer


class Numbers:
    """Two cells of three weights each, as a trainable of the optimiser."""

    count = 2

    def __init__(self) -> None:
        self.buffers = [Buffer(torch.ones(2, 3), torch.zeros(2, 3))]

    def publish(self) -> None: ...

    def disabled(self) -> Any: ...

    def reference_head(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden


def test_adamw_equals_torch_for_each_cell_with_its_own_rate_and_clipping() -> None:
    numbers = Numbers()
    ours = AdamW(numbers, [0.1, 0.01], [1.0, 0.5, 1.0], clip=1.0, most_norm=0.0, weight_decay=0.1)
    theirs = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    adams = [torch.optim.AdamW([p], lr=lr, weight_decay=0.1) for p, lr in zip(theirs, (0.1, 0.01), strict=True)]
    for step, factor in enumerate((1.0, 0.5, 1.0)):
        gradient = torch.randn(2, 3, generator=torch.Generator().manual_seed(step)) * 3
        numbers.buffers[0].gradient.copy_(gradient)
        ours.step()
        for k, (p, adam) in enumerate(zip(theirs, adams, strict=True)):
            p.grad = gradient[k].clone()
            torch.nn.utils.clip_grad_norm_([p], 1.0)
            adam.param_groups[0]["lr"] = (0.1, 0.01)[k] * factor
            adam.step()
    for k, p in enumerate(theirs):
        assert torch.allclose(numbers.buffers[0].master[k], p.data, atol=1e-6)
    assert not numbers.buffers[0].gradient.any()
