"""Norms by torch's own kernel: same outputs and gradients, and norms of another form are left unchanged."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dual_data.evaluation.models.decoder import last_hidden
from dual_data.evaluation.models.norms import fuse_norms, norms_of
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec

IDS = torch.tensor([[5, 9, 11, 40, 7], [8, 8, 30, 2, 6]])


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return [weight for norm in norms_of(model) for weight in norm.parameters()]


def _loss_and_gradients(model: Any, *, trained: bool) -> list[Tensor]:
    adapters = Adapters(model, LoraSpec(), seeds=[1])
    if trained:
        for weight in _weights(model):
            weight.requires_grad_(True)
    loss = last_hidden(model, IDS).float().square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    results = [loss.detach(), *(buffer.gradient.clone() for buffer in adapters.buffers)]
    results += [weight.grad.clone() for weight in _weights(model) if weight.grad is not None]
    adapters.remove()
    return results


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("architecture", ["llama", "qwen"])
def test_a_model_gives_the_same_with_its_norms_fused(
    architecture: str, dtype: torch.dtype, tolerance: float, *, trained: bool
) -> None:
    model = tiny(architecture, dtype=dtype).model
    before = _loss_and_gradients(copy.deepcopy(model), trained=trained)
    assert fuse_norms(model) == len(norms_of(model)) == 5
    after = _loss_and_gradients(model, trained=trained)
    assert len(before) == len(after) == (7 if trained else 2)
    for expected, actual in zip(before, after, strict=True):
        assert (expected - actual).float().norm() <= tolerance * expected.float().norm()


def test_a_copy_of_a_model_has_norms_of_its_own() -> None:
    model = tiny("llama").model
    fuse_norms(model)
    other = copy.deepcopy(model)
    for weight in _weights(other):
        nn.init.zeros_(weight)
    assert not last_hidden(other, IDS).any()
    assert last_hidden(model, IDS).any()


def test_norms_that_scale_by_one_more_than_their_weight_stay_as_they_are() -> None:
    model = tiny("gemma").model
    before = last_hidden(model, IDS)
    assert fuse_norms(model) == 0
    assert torch.equal(last_hidden(model, IDS), before)


class _RMSNorm(nn.Module):
    def __init__(self, size: int = 8, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(size) + 0.5)
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps)


class _OutsideRMSNorm(_RMSNorm):
    def forward(self, hidden: Tensor) -> Tensor:
        return self.weight * hidden / (hidden.pow(2).mean(-1, keepdim=True).sqrt() + self.eps)


class _CentredRMSNorm(_RMSNorm):
    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden - hidden.mean(-1, keepdim=True))


class _GatedRMSNorm(_RMSNorm):
    def forward(self, hidden: Tensor, gate: Tensor | None = None) -> Tensor:
        normed = super().forward(hidden)
        return normed if gate is None else normed * gate


class _WiderRMSNorm(_RMSNorm):
    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden).double()


@pytest.mark.parametrize(
    ("kind", "fused"),
    [(_RMSNorm, 1), (_OutsideRMSNorm, 0), (_CentredRMSNorm, 0), (_GatedRMSNorm, 0), (_WiderRMSNorm, 0)],
)
def test_a_norm_is_fused_only_where_the_kernel_gives_what_it_gave(kind: type[_RMSNorm], fused: int) -> None:
    assert fuse_norms(nn.ModuleList([kind(), nn.LayerNorm(8)])) == fused
