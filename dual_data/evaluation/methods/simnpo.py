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
    """L_f = -(2/beta) mean_i log sigmoid(beta (L_i / n_i - delta)); falls as the forget loss L_i / n_i grows.

    The paper's gamma is beta * delta here; `gamma` is the weight of L_f.
    """
    mean = batch.forget.row_sum(policy.forget.nll) / batch.forget.lengths()
    forget = batch.forget.row_mean(soft_margin(mean - delta, beta))
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


METHOD = Method("SimNPO", loss, "Fan et al. 2024, arXiv 2410.07163; constants of its TOFU runs", check=positive_beta)
