"""NPO: negative preference optimisation, a bounded gradient ascent."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs, positive_beta, soft_margin


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    beta: float = 0.1,
    gamma: float = 1.0,
    alpha: float = 1.0,
) -> Loss:
    """L = -gamma (2/beta) mean_i log sigmoid(beta (L_i - Lref_i)) + alpha mean l_retain; L_i = sum_t l_t of row i.

    Sums over the labels of a row, not means. At the reference the forget loss is (2/beta) ln 2, with the gradient of
    -mean_i L_i.
    """
    ratio = batch.forget.row_sum(policy.forget.nll - reference.forget.nll)
    forget = batch.forget.row_mean(soft_margin(ratio, beta))
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method(
    "NPO", loss, "Zhang et al. 2024, arXiv 2404.05868", reference=frozenset({"forget"}), check=positive_beta
)
