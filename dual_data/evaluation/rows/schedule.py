"""In which order rows are trained on, how they are weighted, and how the learning rate runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field

from dual_data.config import Strict
from dual_data.evaluation.rows.packing import Micro
from dual_data.ids import digest


class Optimisation(Strict):
    """How training goes; with a method and its options this is what a preset fixes."""

    epochs: int = Field(default=2, ge=1)
    batch: int = Field(default=32, ge=1)
    """Forget rows an optimiser step; a method with retain rows draws as many of them."""
    micro: int = Field(default=0, ge=0)
    """Forget rows a forward pass; 0 for the whole batch. The loss does not depend on it, unless normalise = micro."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, ge=0)
    """Largest norm of a cell's gradient; 0 for no clipping."""
    weight_decay: float = Field(default=0.0, ge=0)
    normalise: Literal["batch", "micro", "sequence"] = "batch"
    """What a mean over labels is: over all labels of the step, the mean of the micro-batches' means (as transformers
    had it before 4.46), or the mean over rows of each row's mean."""
    forget_kl: float = Field(default=0.0, ge=0)
    """Weight of KL(reference || model) over every position of the forget rows but padding, as `early` had it."""
    stop_forget_nll: float = Field(default=0.0, ge=0)
    """A cell stops when the mean forget loss of a step is above this; 0 for never."""
    diverged_nll: float = Field(default=2.0, ge=0)
    """A cell has diverged, and stops, when the mean loss of the rows that it keeps or learns is above this many times
    ln(vocabulary), what guessing gives; 0 for never. No forget loss is a sign of it: ascent is there to raise that one,
    and a model that it destroys is a result."""
    diverged_norm: float = Field(default=1e6, ge=0)
    """The same when the norm of a cell's gradient before clipping is above this; 0 for never."""

    def without_effect(self) -> set[str]:
        """Settings that change no number of a cell, as they are: no part of its identity."""
        # Micro-batches change a number only where they are what the loss is normalised over.
        return {"micro"} if self.normalise != "micro" else set()


Plan = list[list[list[Micro]]]
"""[epoch][step][micro-batch]"""


def permutation(size: int, seed: int, epoch: int, kind: str) -> list[int]:
    """A random order of `size` rows that depends on seed, epoch and kind alone."""
    generator = torch.Generator().manual_seed(int(digest(f"order|{seed}|{epoch}|{kind}", 15), 16))
    return [int(index) for index in torch.randperm(size, generator=generator)]


def plan(labels: Mapping[str, Sequence[int]], optimisation: Optimisation, seed: int) -> Plan:
    """Rows and weights of every micro-batch; `labels` has the number of labels of each row by kind.

    Each epoch sees every forget row once, in its own order. Retain rows are drawn without replacement, over again once
    all have been used, so that there are as many as forget rows. Refusal rows and those of the `everywhere` term are
    the forget rows'. The last batch of an epoch may be smaller; its means are over what it has.
    """
    size = len(labels["forget"])
    epochs: Plan = []
    for epoch in range(optimisation.epochs):
        forget = permutation(size, seed, epoch, "forget")
        retain = _cycle(len(labels["retain"]), size, seed, epoch) if "retain" in labels else []
        steps = []
        for start in range(0, size, optimisation.batch):
            end = min(start + optimisation.batch, size)
            drawn = {kind: (retain if kind == "retain" else forget)[start:end] for kind in labels}
            steps.append(_split(drawn, labels, optimisation))
        epochs.append(steps)
    return epochs


def _cycle(size: int, wanted: int, seed: int, epoch: int) -> list[int]:
    found: list[int] = []
    while len(found) < wanted:
        found += permutation(size, seed, epoch, f"retain {len(found) // size}")
    return found[:wanted]


def _split(drawn: Mapping[str, list[int]], labels: Mapping[str, Sequence[int]], how: Optimisation) -> list[Micro]:
    rows = len(drawn["forget"])
    width = how.micro or rows
    parts = [slice(start, start + width) for start in range(0, rows, width)]
    totals = {kind: sum(labels[kind][index] for index in indices) for kind, indices in drawn.items()}
    found = []
    for part in parts:
        chosen = {kind: indices[part] for kind, indices in drawn.items()}
        weights = {}
        for kind, indices in chosen.items():
            here = sum(labels[kind][index] for index in indices)
            if how.normalise == "batch":
                weights[kind] = [1.0 / totals[kind] for _ in indices]
            elif how.normalise == "micro":
                weights[kind] = [1.0 / (here * len(parts)) for _ in indices]
            else:
                weights[kind] = [1.0 / (rows * labels[kind][index]) for index in indices]
        shares = {kind: [1.0 / rows for _ in indices] for kind, indices in chosen.items()}
        found.append(Micro(chosen, weights, shares))
    return found


def factors(optimisation: Optimisation, epoch_steps: Sequence[int]) -> list[float]:
    """What the learning rate is multiplied by, one a step: warm-up from 0, then the schedule to 0."""
    total = sum(epoch_steps)
    warmup = round(optimisation.warmup_epochs * total / max(len(epoch_steps), 1))
    found = []
    for step in range(total):
        if step < warmup:
            found.append(step / warmup)
            continue
        done = (step - warmup) / max(total - warmup, 1)
        if optimisation.schedule == "constant":
            found.append(1.0)
        elif optimisation.schedule == "linear":
            found.append(1.0 - done)
        else:
            found.append(0.5 * (1.0 + math.cos(math.pi * done)))
    return found
