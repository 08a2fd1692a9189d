"""AdamW and gradient clipping for many cells at once, elementwise over their buffers.

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
    w <- w - lr wd w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

(Loshchilov and Hutter 2019, arXiv 1711.05101), g clipped to a norm *per cell*. Learning rates are a tensor, one a cell,
so a sweep of them is one batch. Nothing here waits for the device: a cell whose gradient is not finite or too large, or
that another limit has stopped, keeps the weights it had, and the host learns of it later.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Buffer(NamedTuple):
    """Weights of K cells and their gradients, both [K, n]."""

    master: Tensor
    """float32"""
    gradient: Tensor
    """In the type the model computes in."""


class Trainable(Protocol):
    """What is trained on a base: stacked adapters, or all of its weights."""

    @property
    def count(self) -> int:
        """How many cells."""

    @property
    def buffers(self) -> Sequence[Buffer]:
        """Weights and gradients; gradients are the tensors that autograd adds to."""

    def publish(self) -> None:
        """Make the model see the master weights."""

    def disabled(self) -> AbstractContextManager[None]:
        """The reference model."""

    def reference_head(self, hidden: Tensor) -> Tensor:
        """Logits of the reference's head, also after training has begun."""


_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class AdamW:
    """One optimiser for all cells of a run; every tensor is on the device and has a fixed address."""

    def __init__(
        self,
        trainable: Trainable,
        lrs: Sequence[float],
        factors: Sequence[float],
        *,
        clip: float,
        most_norm: float,
        weight_decay: float,
    ) -> None:
        """`lrs` one a cell, `factors` one a step: the schedule, by which each cell's rate is multiplied.

        A cell whose gradient has a norm above `most_norm` stops for good; 0 for one that is not finite alone.
        """
        self._most = most_norm or torch.finfo(torch.float32).max
        self._trainable, self._clip, self._decay = trainable, clip, weight_decay
        device = trainable.buffers[0].master.device
        self._lrs = torch.tensor(lrs, dtype=torch.float32, device=device)
        self._factors = torch.tensor(factors, dtype=torch.float32, device=device)
        self._moments = [(torch.zeros_like(b.master), torch.zeros_like(b.master)) for b in trainable.buffers]
        # Gradients narrower than float32 are summed in float32 over the micro-batches of a step.
        self._sums = [
            None if b.gradient.dtype == torch.float32 else torch.zeros_like(b.master) for b in trainable.buffers
        ]
        self.alive = torch.ones(trainable.count, dtype=torch.bool, device=device)
        self.step_number = torch.zeros(1, dtype=torch.long, device=device)
        self.norms = torch.zeros(len(factors), trainable.count, device=device)
        """Norm of each cell's gradient before clipping, [steps, K]."""

    def accumulate(self) -> None:
        """Take in the gradient of a micro-batch."""
        for buffer, total in zip(self._trainable.buffers, self._sums, strict=True):
            if total is not None:
                total.add_(buffer.gradient)
                buffer.gradient.zero_()

    def step(self, keep: Tensor | None = None) -> None:
        """Update the cells that are alive and, where given, those that `keep` [K] is true for; others stop for good."""
        pairs = zip(self._trainable.buffers, self._sums, strict=True)
        gradients = [buffer.gradient if total is None else total for buffer, total in pairs]
        norm = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in gradients]).norm(dim=0)
        self.norms.index_copy_(0, self.step_number, norm[None])
        within = norm <= self._most  # never true of NaN
        self.alive.logical_and_(within if keep is None else within & keep)
        alive = self.alive[:, None]
        scale = (self._clip / (norm + 1e-6)).clamp(max=1.0)[:, None] if self._clip else torch.ones_like(norm)[:, None]
        lr = (self._lrs * self._factors.index_select(0, self.step_number))[:, None].where(alive, 0.0)
        self.step_number.add_(1)
        b1, b2 = _BETAS
        time = self.step_number.float()
        left1, left2 = 1.0 - b1**time, (1.0 - b2**time).sqrt()
        for buffer, (mean, square), gradient in zip(self._trainable.buffers, self._moments, gradients, strict=True):
            g = (gradient * scale).where(alive, 0.0)
            mean.mul_(b1).add_(g, alpha=1.0 - b1)
            square.mul_(b2).addcmul_(g, g, value=1.0 - b2)
            if self._decay:
                buffer.master.mul_(1.0 - lr * self._decay)
            buffer.master.sub_(lr / left1 * mean / (square.sqrt() / left2 + _EPSILON))
            gradient.zero_()
        self._trainable.publish()
