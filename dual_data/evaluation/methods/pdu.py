"""PDU: flatten the logits of the forget labels as far as a limit on the retain loss allows."""

from collections.abc import Mapping, Sequence

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0) -> Loss:
    """L = gamma mean_t (max_v z_tv - mean_v z_tv)^2 over forget + alpha mean l_retain; z the logits, alpha the dual.

    z_t are the logits that predict the label. open-unlearning takes those one token later, so it flattens what follows
    the answer and leaves the prediction of its first token alone.
    """
    logits = policy.forget.logits
    margin = logits.amax(-1) - logits.mean(-1)
    forget = batch.forget.token_mean(margin**2)
    retain = batch.retain.token_mean(policy.retain.nll)
    alpha = batch.state["alpha"]
    parts = {
        "forget": forget,
        "forget_nll": batch.forget.token_mean(policy.forget.nll).detach(),
        "retain_nll": retain,
        "retain_before": batch.retain.token_mean(reference.retain.nll),
        "alpha": alpha,
    }
    return Loss(gamma * forget + alpha * retain, parts)


class DualVariable:
    """Price of the limit R <= R0 + slack: alpha <- max(0, alpha + rate (R - R0 - slack)) for every step after `warm_up`
    epochs at `start_alpha`.

    R is the retain loss of a step and R0 the reference's loss on the same rows, both in nats per label. Each epoch
    takes the updates of all its steps at its end; the authors take each at once, after 5 of their 10 to 30 epochs.
    Their limit of 0.3 is absolute, for models that know the rows to keep, where R0 is nearly 0.
    """

    def __init__(self, *, start_alpha: float = 100.0, rate: float = 5.0, slack: float = 0.3, warm_up: int = 0) -> None:
        self._alpha, self._rate, self._slack, self._warm_up = start_alpha, rate, slack, warm_up

    def start(self) -> dict[str, float]:
        """Alpha before the first step."""
        return {"alpha": self._alpha}

    def after_epoch(self, parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Alpha for the next epoch, from the retain losses of each step of the last one."""
        if self._warm_up > 0:
            self._warm_up -= 1
            return {"alpha": self._alpha}
        for now, before in zip(parts["retain_nll"], parts["retain_before"], strict=True):
            self._alpha = max(0.0, self._alpha + self._rate * (now - before - self._slack))
        return {"alpha": self._alpha}


METHOD = Method(
    "PDU",
    loss,
    "Entesari et al. 2025, arXiv 2506.05314; constants of its TOFU runs, without their warm-up",
    reference=frozenset({"retain"}),
    controller=DualVariable,
    not_negative=("start_alpha", "rate", "warm_up"),
)
