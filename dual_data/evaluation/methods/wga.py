"""WGA: gradient ascent with less weight on labels that are already improbable."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    alpha: float = 1.0,
) -> Loss:
    """L = -gamma mean_t sg(p_t)^beta l_t over forget + alpha mean l_retain; sg: no gradient through the weight."""
    weight = (beta * policy.forget.log_p.detach()).exp()
    forget = -batch.forget.token_mean(weight * policy.forget.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method("WGA", loss, "Wang et al. 2025, arXiv 2502.19301")
