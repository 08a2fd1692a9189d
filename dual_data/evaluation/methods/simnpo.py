"""SimNPO: NPO without a reference, on length-normalised losses."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs, positive_beta, soft_margin


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    beta: float = 4.5,
    delta: float = 0.0,
    gamma: float = 0.125,
    alpha: float = 1.0,
) -> Loss:
    """L = -gamma (2/beta) mean_i log sigmoid(beta (m_i - delta)) + alpha mean l_retain; m_i = mean_t l_t of row i.

    The paper's gamma is beta * delta here; `gamma` is the weight of the forget loss, which falls as m_i grows.
    """
    mean = batch.forget.row_sum(policy.forget.nll) / batch.forget.lengths()
    forget = batch.forget.row_mean(soft_margin(mean - delta, beta))
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method("SimNPO", loss, "Fan et al. 2024, arXiv 2410.07163; constants of its TOFU runs", check=positive_beta)
