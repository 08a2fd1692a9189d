"""The order and weights of rows in training, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch

from dual_data.evaluation.device.draws import generator
from dual_data.evaluation.rows.packing import MicroBatch
from dual_data.evaluation.training.optimisation import Optimisation

Plan = list[list[list[MicroBatch]]]
"""[epoch][step][micro-batch]"""


def permutation(size: int, seed: int, epoch: int, kind: str) -> list[int]:
    """A random order of `size` rows that depends only on seed, epoch and kind."""
    order = torch.randperm(size, generator=generator(f"order|{seed}|{epoch}|{kind}"))
    return [int(index) for index in order]


def plan(labels: Mapping[str, Sequence[int]], optimisation: Optimisation, seed: int) -> Plan:
    """Rows and weights of every micro-batch; `labels` has the number of labels of each row, by kind.

    Each epoch sees every forget row once, in an order of its own. As many retain rows are drawn without replacement,
    starting over once all have been used. Rows of other kinds (refusal, everywhere) have the order of the forget rows.
    The last batch of an epoch may be smaller; its means are over the rows that it has.
    """
    size = len(labels["forget"])
    epochs: Plan = []
    for epoch in range(optimisation.epochs):
        forget = permutation(size, seed, epoch, "forget")
        retain = _cycle(len(labels["retain"]), size, seed, epoch) if "retain" in labels else []
        steps = []
        for start in range(0, size, optimisation.batch):
            end = min(start + optimisation.batch, size)
            step_rows = {kind: (retain if kind == "retain" else forget)[start:end] for kind in labels}
            steps.append(_split(step_rows, labels, optimisation))
        epochs.append(steps)
    return epochs


def _cycle(size: int, count: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = []
    while len(order) < count:
        order += permutation(size, seed, epoch, f"retain {len(order) // size}")
    return order[:count]


def _split(
    step_rows: Mapping[str, list[int]], labels: Mapping[str, Sequence[int]], optimisation: Optimisation
) -> list[MicroBatch]:
    count = len(step_rows["forget"])
    width = optimisation.micro_batch or count
    slices = [slice(start, start + width) for start in range(0, count, width)]
    totals = {kind: sum(labels[kind][index] for index in indices) for kind, indices in step_rows.items()}
    micro_batches = []
    for piece in slices:
        micro_rows = {kind: indices[piece] for kind, indices in step_rows.items()}
        weights = {}
        for kind, indices in micro_rows.items():
            label_count = sum(labels[kind][index] for index in indices)
            if optimisation.normalise == "batch":
                weights[kind] = [1.0 / totals[kind] for _ in indices]
            elif optimisation.normalise == "micro_batch":
                weights[kind] = [1.0 / (label_count * len(slices)) for _ in indices]
            else:
                weights[kind] = [1.0 / (count * labels[kind][index]) for index in indices]
        micro_batches.append(MicroBatch(micro_rows, weights, 1.0 / count))
    return micro_batches


def factors(optimisation: Optimisation, epoch_steps: Sequence[int]) -> list[float]:
    """Factor on the learning rate at each step: warm-up from 0, then the schedule down to 0."""
    total = sum(epoch_steps)
    # At least the last step has the learning rate, however few there are.
    warmup = min(round(optimisation.warmup_epochs * total / len(epoch_steps)), total - 1)
    after: dict[str, Callable[[float], float]] = {
        "constant": lambda _: 1.0,
        "linear": lambda progress: 1.0 - progress,
        "cosine": lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
    shape = after[optimisation.schedule]
    return [step / warmup if step < warmup else shape((step - warmup) / (total - warmup)) for step in range(total)]
