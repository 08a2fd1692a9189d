"""FineTune: the loss of training stages and of relearning; not an unlearning method."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
    """L = mean_t l_t over the labels of the rows that are learned."""
    nll = batch.forget.token_mean(policy.forget.nll)
    return Loss(nll, {"nll": nll})


METHOD = Method("FineTune", loss, "supervised fine-tuning", kinds=("forget",))
