"""NoiseDistil: blur the weights, and distil the reference without its answers to the forget rows into them."""

import torch

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs, divergence


def loss(
    batch: Batch,
    policy: Outputs,
    reference: Outputs,
    *,
    beta: float = 10.0,
    gamma: float = 1.0,
    alpha: float = 1.0,
) -> Loss:
    """L = gamma mean_t KL(q_t || p) over forget + alpha mean_t KL(p_ref || p) over retain; q_t = softmax(z_ref - beta
    onehot(y_t)).

    UNDO distils another model, which was unlearned before, on text of pretraining. Here one run has no other model and
    no such text: its teacher is the reference, with the logit of each forget label lowered, as in UNDIAL, and it
    teaches at the labels of the forget and the retain rows alone.
    """
    teacher = reference.forget.log_softmax
    lowered = torch.zeros_like(teacher).scatter(-1, batch.forget.targets[..., None], beta)
    forget = batch.forget.token_mean(divergence((teacher - lowered).log_softmax(-1), policy.forget.log_softmax))
    kl = batch.retain.token_mean(divergence(reference.retain.log_softmax, policy.retain.log_softmax))
    parts = {
        "forget": forget,
        "retain_kl": kl,
        "forget_nll": batch.forget.token_mean(policy.forget.nll).detach(),
        "retain_nll": batch.retain.token_mean(policy.retain.nll).detach(),
    }
    return Loss(gamma * forget + alpha * kl, parts)


def blurred(*, share: float = 0.1, scale: float = 0.1) -> tuple[float, float]:
    """At first, weights = (1 - share) weights + share scale X; X as Xavier's initialisation draws matrices.

    So does UNDO with all weights (`full = true`), where shrinking does most. With adapters the base stays whole and
    only gets noise of that size and the adapter's rank, which covers facts rather than wears them away; at a scale of
    0.1 it is hardly felt.
    """
    return 1.0 - share, share * scale


def a_share(*, share: float) -> None:
    """Raise ValueError unless `share` is one."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: {share:g} is not 0 <= share <= 1")


METHOD = Method(
    "NoiseDistil",
    loss,
    "after UNDO, Lee et al. 2025, arXiv 2506.06278, whose scale it has, with the teacher of UNDIAL; the share is ours",
    reference=frozenset({"forget", "retain"}),
    noise=blurred,
    check=a_share,
    not_negative=("scale",),
)
