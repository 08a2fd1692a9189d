"""DPO and IdkDPO: prefer another answer to the true one."""

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
    """L = -gamma (2/beta) mean_i log sigmoid(beta [(L_i - Lref_i) - (L'_i - Lref'_i)]) + alpha mean l_retain; L_i is
    the loss of row i's answer, summed over its labels, and L'_i that of the answer to prefer.
    """
    true_ratio = batch.forget.row_sum(policy.forget.nll - reference.forget.nll)
    preferred_ratio = batch.refusal.row_sum(policy.refusal.nll - reference.refusal.nll)
    forget = batch.forget.row_mean(soft_margin(true_ratio - preferred_ratio, beta))
    retain = batch.retain.token_mean(policy.retain.nll)
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget + alpha * retain, {"forget": forget, "forget_nll": forget_nll, "retain_nll": retain})


_KINDS = ("forget", "retain", "refusal")
_SOURCE = "Rafailov et al. 2023, arXiv 2305.18290; as a forget loss Maini et al. 2024, arXiv 2401.06121"
_REFERENCE = frozenset({"forget", "refusal"})

DPO = Method(
    "DPO",
    loss,
    f"{_SOURCE}; prefers another row's answer",
    _KINDS,
    _REFERENCE,
    other_answer="swapped",
    check=positive_beta,
)
IDK_DPO = DPO._replace(name="IdkDPO", source=f"{_SOURCE}; prefers a refusal", other_answer="refusals")
