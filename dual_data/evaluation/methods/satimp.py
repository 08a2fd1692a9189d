"""SatImp: gradient ascent with most weight on labels that are probable, but not yet certain."""

import torch

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    beta1: float = 5.0,
    beta2: float = 1.0,
    gamma: float = 1.0,
    alpha: float = 0.1,
) -> Loss:
    """L = -gamma mean_t sg(p_t^beta1 (1 - p_t)^beta2) l_t over forget + alpha mean l_retain; sg: without a gradient.

    The first factor leaves alone what is forgotten (saturation), the second what is certain (importance).
    """
    log_p = policy.forget.log_p.detach()
    other_p = -torch.expm1(log_p.clamp(max=0.0))
    weight = (beta1 * log_p).exp() * other_p**beta2
    forget = -batch.forget.token_mean(weight * policy.forget.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method(
    "SatImp",
    loss,
    "Yang et al. 2025, arXiv 2505.11953; constants of its authors",
    not_negative=("beta1", "beta2"),
)
