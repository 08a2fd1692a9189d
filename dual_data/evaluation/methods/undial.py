"""UNDIAL: distil from the reference with the true label's logit lowered."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, beta: float = 10.0, gamma: float = 1.0) -> Loss:
    """L = gamma mean_t CE(softmax(z_ref - beta onehot(y_t)), p) over the forget labels only.

    With q = p_ref the teacher is q_v / Z, and q_y e^-beta / Z for the label. Z is summed, not computed as
    1 - q_y (1 - e^-beta), which loses all digits where the reference is certain.
    """
    label = batch.forget.targets[..., None]
    other_q = reference.forget.log_softmax.exp().scatter(-1, label, 0.0)
    label_q = (reference.forget.log_p - beta).exp()
    cross = (other_q * policy.forget.log_softmax).sum(-1) + label_q * policy.forget.log_p
    forget = batch.forget.token_mean(-cross / (other_q.sum(-1) + label_q))
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget, {"forget": forget, "forget_nll": forget_nll})


METHOD = Method(
    "UNDIAL", loss, "Dong et al. 2024, arXiv 2402.10052", kinds=("forget",), reference=frozenset({"forget"})
)
