"""GRU: gradient ascent without what opposes the gradient of the retain loss."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs, inner


def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
    """L = -mean_t l_t over the forget labels, as in GradAscent; the retain loss only turns its gradient."""
    forget = batch.forget.token_mean(policy.forget.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    return Loss(-forget, {"forget_nll": forget, "retain_nll": retain}, {"forget": -forget, "retain": retain})


def rectified(terms: Mapping[str, Sequence[Tensor]]) -> list[Tensor]:
    """g = g_f - min(0, g_f . g_r) / |g_r|^2 g_r, over all weights: the nearest to g_f with g . g_r >= 0.

    To first order such a step does not raise the retain loss. The authors take a running mean of g_r over steps, whose
    decay they choose from four, of which one is none, as here.
    """
    forget, retain = terms["forget"], terms["retain"]
    length = inner(retain, retain).clamp_min(torch.finfo(torch.float32).tiny)
    share = inner(forget, retain).clamp_max(0.0) / length
    return [f.addcmul_(share, r, value=-1.0) for f, r in zip(forget, retain, strict=True)]  # in place: they are large


METHOD = Method(
    "GRU",
    loss,
    "Wang et al. 2025, arXiv 2503.09117, on gradient ascent; without their running mean of retain gradients",
    gradient=rectified,
)
