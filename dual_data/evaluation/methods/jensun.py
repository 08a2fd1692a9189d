"""JensUn: bounded divergences, towards a refusal on forget and towards the reference on retain."""

import math

import torch
from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.methods.base import Batch, Constants, Facts, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0, alpha: float = 1.0) -> Loss:
    """L = gamma mean_t JSD(p, delta_e) over forget + alpha mean_t JSD(p, p_ref) over retain.

    e is the refusal's token at the position. Against a point mass JSD = ln 2 + (p ln p - (1 + p) ln(1 + p)) / 2 with
    p = p(e), which needs one gathered probability, not two distributions.
    """
    log_p = policy.forget.log_p_of(batch.forget.constants["refusal"].long())
    forget = batch.forget.token_mean(point_divergence(log_p))
    retain = batch.retain.token_mean(jensen_shannon(policy.retain.log_softmax, reference.retain.log_softmax))
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    retain_nll = batch.retain.token_mean(policy.retain.nll).detach()
    parts = {"forget": forget, "retain": retain, "forget_nll": forget_nll, "retain_nll": retain_nll}
    return Loss(gamma * forget + alpha * retain, parts)


def point_divergence(log_p: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats of a distribution and a point mass on an event of log-probability `log_p`."""
    p = log_p.exp()
    return math.log(2.0) + 0.5 * (p * log_p - (1.0 + p) * torch.log1p(p))


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in nats over the last dimension of two tensors of log-probabilities."""
    middle = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * (log_p.exp() * (log_p - middle) + log_q.exp() * (log_q - middle)).sum(-1)


def refusal_tokens(facts: Facts, *, refusal: str = "No idea") -> Constants:
    """e is `refusal`, its tokens repeated over the answer's labels; the label of the turn's end keeps its own token."""
    ids = facts.encode(refusal)
    if not ids:
        raise UsageError(f"JensUn.refusal: {refusal!r} has no tokens")
    rows = []
    for labels, size in zip(facts.labels, facts.answer_tokens, strict=True):
        rows.append([float(ids[t % len(ids)]) for t in range(size)] + [float(token) for token in labels[size:]])
    return {"refusal": rows}


METHOD = Method(
    "JensUn",
    loss,
    "Singh et al. 2025, arXiv 2509.02820",
    reference=frozenset({"retain"}),
    constants=refusal_tokens,
)
