"""TaskVector: learn the facts to forget, and go as far the other way."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
    """L = mean_t l_t over the forget labels: they are learned first."""
    nll = batch.forget.token_mean(policy.forget.nll)
    return Loss(nll, {"nll": nll})


def negated(*, alpha: float = 1.0) -> float:
    """At the end, weights = start - alpha (trained - start).

    The authors choose alpha between 0 and 1 by the scores on held-out data; here, the learning rate is chosen.
    """
    return -alpha


METHOD = Method(
    "TaskVector",
    loss,
    "Ilharco et al. 2023, arXiv 2212.04089; alpha is the end of its range",
    kinds=("forget",),
    factor=negated,
)
