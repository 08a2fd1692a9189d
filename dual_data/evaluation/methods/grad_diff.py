"""GradDiff: gradient ascent on forget, descent on retain."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0, alpha: float = 1.0) -> Loss:
    """L = -gamma mean l_forget + alpha mean l_retain, each over its own labels."""
    forget = batch.forget.token_mean(policy.forget.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    return Loss(alpha * retain - gamma * forget, {"forget_nll": forget, "retain_nll": retain})


METHOD = Method("GradDiff", loss, "Liu et al. 2022, arXiv 2203.12817; constants of Maini et al. 2024, arXiv 2401.06121")
