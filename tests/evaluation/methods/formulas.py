"""The losses that the methods must equal, from their formulas: in float64, one row at a time, on full softmaxes.

Nothing here imports a method: `row_figures` runs the model on one unpadded row, and the functions below use its
log-probabilities as the papers do. A formula takes the options of its loss by their names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dual_data.evaluation.rows.encoding import Encoded


class Figures(NamedTuple):
    """One row under one model."""

    log_p: Tensor
    """[labels]"""
    rows: Tensor
    """[labels, vocabulary] log-probabilities."""
    hidden: Tensor
    """[labels, width] output of the steered layer at the labels."""


class Step(NamedTuple):
    """The rows of one optimiser step under policy and reference."""

    forget: Sequence[Figures]
    retain: Sequence[Figures]
    other: Sequence[Figures]
    forget_ref: Sequence[Figures]
    retain_ref: Sequence[Figures]
    other_ref: Sequence[Figures]
    labels: Sequence[Sequence[int]]
    """Labels of the forget rows."""
    answer_sizes: Sequence[int]
    popularity_rank: Sequence[float]
    """Rank of each forget row among all forget rows, in [0, 1]."""
    refusal_ids: Sequence[int]


def row_figures(model: Any, row: Encoded, layer: int) -> Figures:
    """Run one row alone, without padding."""
    labels = [*row.answer_ids, *row.end_ids]
    ids = torch.tensor([[*row.prompt_ids, *labels]])
    output = model(input_ids=ids, output_hidden_states=True, use_cache=False)
    start = len(row.prompt_ids)
    rows = output.logits[0, start - 1 : -1].double().log_softmax(-1)
    gold = rows[torch.arange(len(labels)), torch.tensor(labels)]
    return Figures(gold, rows, output.hidden_states[layer + 1][0, start:].double())


def token_mean(rows: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(rows)).mean()


def nll(rows: Sequence[Figures]) -> Tensor:
    return token_mean([-row.log_p for row in rows])


def log_sigmoid(value: Tensor) -> Tensor:
    return -torch.log(1.0 + torch.exp(-value))


def grad_ascent(step: Step) -> Tensor:
    return -nll(step.forget)


def grad_diff(step: Step, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    return alpha * nll(step.retain) - gamma * nll(step.forget)


def grad_diff_kl(step: Step, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    pairs = zip(step.retain, step.retain_ref, strict=True)
    kl = [
        torch.nn.functional.kl_div(row.rows, ref.rows, log_target=True, reduction="none").sum(-1) for row, ref in pairs
    ]
    return alpha * token_mean(kl) - gamma * nll(step.forget)


def npo(step: Step, beta: float = 0.1, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    pairs = zip(step.forget, step.forget_ref, strict=True)
    ratios = torch.stack([row.log_p.sum() - ref.log_p.sum() for row, ref in pairs])
    forget = (2 / beta) * torch.log1p(torch.exp(beta * ratios)).mean()
    return gamma * forget + alpha * nll(step.retain)


def simnpo(step: Step, beta: float = 4.5, delta: float = 0.0, gamma: float = 0.125, alpha: float = 1.0) -> Tensor:
    means = torch.stack([-row.log_p.mean() for row in step.forget])
    return gamma * (-(2 / beta) * log_sigmoid(beta * (means - delta)).mean()) + alpha * nll(step.retain)


def dpo(step: Step, beta: float = 0.1, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    def ratio(rows: Sequence[Figures], refs: Sequence[Figures]) -> Tensor:
        return torch.stack([row.log_p.sum() - ref.log_p.sum() for row, ref in zip(rows, refs, strict=True)])

    margin = ratio(step.other, step.other_ref) - ratio(step.forget, step.forget_ref)
    return gamma * (-(2 / beta) * log_sigmoid(beta * margin).mean()) + alpha * nll(step.retain)


def idk_nll(step: Step, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    return gamma * nll(step.other) + alpha * nll(step.retain)


def rmu(step: Step, steering: float = 2.0, alpha: float = 1.0, direction_seed: int = 0) -> Tensor:
    width = step.forget[0].hidden.shape[-1]
    direction = torch.randn(width, generator=torch.Generator().manual_seed(direction_seed)).double()
    target = steering * direction / direction.norm()
    forget = [((row.hidden - target) ** 2).mean(-1) for row in step.forget]
    pairs = zip(step.retain, step.retain_ref, strict=True)
    retain = token_mean([((row.hidden - ref.hidden) ** 2).mean(-1) for row, ref in pairs])
    return token_mean(forget) + alpha * retain


def undial(step: Step, beta: float = 10.0, gamma: float = 1.0) -> Tensor:
    losses = []
    for row, ref, labels in zip(step.forget, step.forget_ref, step.labels, strict=True):
        logits = ref.rows.clone()
        logits[torch.arange(len(labels)), torch.tensor(labels)] -= beta
        losses.append(-(logits.softmax(-1) * row.rows).sum(-1))
    return gamma * token_mean(losses)


def wga(step: Step, beta: float = 1.0, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    weighted = [-(row.log_p.detach().exp() ** beta * -row.log_p) for row in step.forget]
    return gamma * token_mean(weighted) + alpha * nll(step.retain)


def adapop(step: Step, gamma: float = 1.0, start_alpha: float = 0.5) -> Tensor:
    losses = []
    for row, rank in zip(step.forget, step.popularity_rank, strict=True):
        exponent = 2.0 ** (1 - rank) * 0.05**rank
        losses.append(-(row.log_p.detach().exp() ** exponent * -row.log_p))
    return gamma * token_mean(losses) + start_alpha * nll(step.retain)


def satimp(step: Step, beta1: float = 5.0, beta2: float = 1.0, gamma: float = 1.0, alpha: float = 0.1) -> Tensor:
    probabilities = [row.log_p.detach().exp() for row in step.forget]
    weighted = [p**beta1 * (1 - p) ** beta2 * row.log_p for p, row in zip(probabilities, step.forget, strict=True)]
    return gamma * token_mean(weighted) + alpha * nll(step.retain)


def ceu(step: Step, gamma: float = 1.0, skip: int = 1) -> Tensor:
    losses = []
    for row, labels, size in zip(step.forget, step.labels, step.answer_sizes, strict=True):
        target = row.rows.detach().clone()
        target[torch.arange(len(labels)), torch.tensor(labels)] = -math.inf
        loss = torch.nn.functional.cross_entropy(row.rows, target.softmax(-1), reduction="none")
        counted = torch.arange(len(labels)) >= min(skip, size - 1)
        losses.append(torch.where(counted, loss, 0.0))
    return gamma * token_mean(losses)


def pdu(step: Step, gamma: float = 1.0, start_alpha: float = 100.0) -> Tensor:
    margins = [row.rows.max(-1).values - row.rows.mean(-1) for row in step.forget]
    return gamma * token_mean([margin**2 for margin in margins]) + start_alpha * nll(step.retain)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    middle = ((first + second) / 2).log()

    def half(p: Tensor) -> Tensor:
        return (p * (p.clamp_min(1e-300).log() - middle)).sum(-1) / 2  # 0 log 0 = 0, with a gradient

    return half(first) + half(second)


def jensun(step: Step, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    forget = []
    for row, labels, size in zip(step.forget, step.labels, step.answer_sizes, strict=True):
        refusal = [step.refusal_ids[t % len(step.refusal_ids)] for t in range(size)]
        point = torch.zeros_like(row.rows)
        point[torch.arange(len(labels)), torch.tensor([*refusal, *labels[size:]])] = 1.0
        forget.append(jensen_shannon(row.rows.exp(), point))
    pairs = zip(step.retain, step.retain_ref, strict=True)
    retain = token_mean([jensen_shannon(row.rows.exp(), ref.rows.exp()) for row, ref in pairs])
    return gamma * token_mean(forget) + alpha * retain


def noise_distil(step: Step, beta: float = 10.0, gamma: float = 1.0, alpha: float = 1.0) -> Tensor:
    def divergences(teachers: Sequence[Tensor], rows: Sequence[Figures]) -> Tensor:
        pairs = zip(teachers, rows, strict=True)
        return token_mean([(t.exp() * (t - row.rows)).sum(-1) for t, row in pairs])

    lowered = [ref.rows.clone() for ref in step.forget_ref]
    for teacher, labels in zip(lowered, step.labels, strict=True):
        teacher[torch.arange(len(labels)), torch.tensor(labels)] -= beta
    forget = divergences([teacher.log_softmax(-1) for teacher in lowered], step.forget)
    return gamma * forget + alpha * divergences([ref.rows for ref in step.retain_ref], step.retain)


def gru_gradient(forget: Tensor, retain: Tensor) -> Tensor:
    if forget.dot(retain) >= 0:
        return forget
    unit: Tensor = retain / retain.norm()
    return forget - forget.dot(unit) * unit


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "GradAscent": grad_ascent,
    "GradDiff": grad_diff,
    "GradDiffKL": grad_diff_kl,
    "NPO": npo,
    "SimNPO": simnpo,
    "DPO": dpo,
    "IdkDPO": dpo,
    "IdkNLL": idk_nll,
    "RMU": rmu,
    "UNDIAL": undial,
    "WGA": wga,
    "AdaPop": adapop,
    "JensUn": jensun,
    "SatImp": satimp,
    "CEU": ceu,
    "PDU": pdu,
    "GRU": grad_ascent,
    "TaskVector": lambda step: nll(step.forget),
    "NoiseDistil": noise_distil,
}
GRADIENTS: dict[str, tuple[tuple[Callable[[Step], Tensor], ...], Callable[..., Tensor]]] = {
    "GRU": ((grad_ascent, lambda step: nll(step.retain)), gru_gradient),
}
"""For methods that combine gradients: the losses, and one gradient [P] of those of each."""

LN2 = math.log(2.0)
