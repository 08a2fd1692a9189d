"""GradAscent: raise the loss on the forget rows."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
    """L = -mean_t l_t over the forget labels, l_t = -log p(y_t). Unbounded below: long runs collapse."""
    forget = batch.forget.token_mean(policy.forget.nll)
    return Loss(-forget, {"forget_nll": forget})


METHOD = Method("GradAscent", loss, "Jang et al. 2023, arXiv 2210.01504", kinds=("forget",))
