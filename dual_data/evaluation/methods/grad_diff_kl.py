"""GradDiffKL: gradient ascent on forget, and stay close to the reference on retain."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs, divergence


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0, alpha: float = 1.0) -> Loss:
    """L = -gamma mean l_forget + alpha mean KL(p_ref || p) over the retain labels only, not the prompt."""
    forget = batch.forget.token_mean(policy.forget.nll)
    kl = batch.retain.token_mean(divergence(reference.retain.log_softmax, policy.retain.log_softmax))
    retain = batch.retain.token_mean(policy.retain.nll).detach()
    return Loss(alpha * kl - gamma * forget, {"forget_nll": forget, "retain_nll": retain, "retain_kl": kl})


METHOD = Method(
    "GradDiffKL", loss, "KL minimisation of Maini et al. 2024, arXiv 2401.06121", reference=frozenset({"retain"})
)
