"""CE-U: learn the model's own distribution without the true label."""

from dual_data.evaluation.methods.base import Batch, Constants, Facts, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, gamma: float = 1.0) -> Loss:
    """L = gamma mean_t CE(sg(q_t), p_t) over the forget labels, where q is p without the label: q_v = p_v / (1 - p_y).

    Labels that are skipped count as 0 in the mean. q is the softmax of the other logits, since 1 - p_y has no digits
    left where the model is certain.
    """
    label = batch.forget.targets[..., None]
    others = policy.forget.logits.detach().scatter(-1, label, float("-inf")).softmax(-1)
    cross = (others * policy.forget.log_softmax).sum(-1)
    forget = batch.forget.token_mean(-cross * batch.forget.constants["counted"])
    forget_nll = batch.forget.token_mean(policy.forget.nll).detach()
    return Loss(gamma * forget, {"forget": forget, "forget_nll": forget_nll})


def counted(facts: Facts, *, skip: int = 1) -> Constants:
    """0 for the first `skip` labels of an answer, which its author leaves out, and 1 for the others.

    The last token of an answer always counts: with nothing else than the end of the turn, no fact would be forgotten.
    """
    skipped = [min(skip, size - 1) for size in facts.answer_tokens]
    return {
        "counted": [
            [float(t >= first) for t in range(len(labels))] for first, labels in zip(skipped, facts.labels, strict=True)
        ]
    }


def share_short(facts: Facts, *, skip: int) -> dict[str, float]:
    """Share of answers that are too short for `skip` labels to be left out."""
    return {"share_of_answers_too_short_to_skip": sum(size <= skip for size in facts.answer_tokens) / len(facts.labels)}


METHOD = Method(
    "CEU",
    loss,
    "Yang 2025, arXiv 2503.01224",
    kinds=("forget",),
    constants=counted,
    notes=share_short,
    not_negative=("skip",),
)
