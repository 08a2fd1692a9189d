"""IdkNLL: learn to refuse the forget questions."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0, alpha: float = 1.0) -> Loss:
    """L = gamma mean l_refusal + alpha mean l_retain, over labels; the true answer is not in the loss."""
    refusal = batch.refusal.token_mean(policy.refusal.nll)
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * refusal + alpha * retain, {"forget": refusal, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method(
    "IdkNLL",
    loss,
    "Maini et al. 2024, arXiv 2401.06121, where it is called preference optimisation",
    kinds=("forget", "retain", "refusal"),
    other_answer="refusals",
)
