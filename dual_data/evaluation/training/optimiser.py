"""AdamW and gradient clipping for many cells at once, elementwise over their buffers.

    m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
    w <- w - lr wd w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

(Loshchilov and Hutter 2019, arXiv 1711.05101), where g is clipped to a norm per cell. Learning rates are a tensor, one
per cell, so a sweep of them is one batch. Nothing here waits for the device: a cell whose gradient is not finite or too
large, or that its loss stops, keeps its weights, and the host learns of it later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Buffer(NamedTuple):
    """Weights of K cells and their gradients, both [K, n]."""

    master: Tensor
    """float32"""
    gradient: Tensor
    """In the type in which the model computes."""


class Trainable(Protocol):
    """What is trained: stacked adapters on a base, or all weights of the base."""

    @property
    def count(self) -> int:
        """Number of cells."""

    @property
    def buffers(self) -> Sequence[Buffer]:
        """Weights and gradients; autograd adds to the tensors of the gradients."""

    def publish(self) -> None:
        """Copy the master weights to where the model reads them."""

    def perturb(self, keep: float, spread: float) -> None:
        """Add noise to the weights, as `Method.noise` says, from the seed of each cell alone, and publish."""

    def multiply_change(self, factor: float) -> None:
        """Multiply by `factor` what the model's weights have changed by since they were new or reset, and publish."""

    def disabled(self) -> AbstractContextManager[None]:
        """Inside, the model is the reference."""

    def reference_head(self, hidden: Tensor) -> Tensor:
        """Logits of the reference's head, also after training has begun."""


_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class AdamW:
    """One optimiser for all cells of a run; every tensor is on the device at a fixed address."""

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
        """`lrs` has one rate per cell; `factors`, the schedule, one factor per step, by which all rates are multiplied.

        A cell whose gradient norm exceeds `most_norm` stops for good; with 0, only one whose norm is not finite.
        """
        self._most_norm = most_norm or torch.finfo(torch.float32).max
        self._trainable, self._clip, self._decay = trainable, clip, weight_decay
        device = trainable.buffers[0].master.device
        self._lrs = torch.tensor(lrs, dtype=torch.float32, device=device)
        self._factors = torch.tensor(factors, dtype=torch.float32, device=device)
        self._moments = [(torch.zeros_like(b.master), torch.zeros_like(b.master)) for b in trainable.buffers]
        # Gradients narrower than float32 are summed in float32 over the micro-batches of a step.
        self._sums = [
            None if b.gradient.dtype == torch.float32 else torch.zeros_like(b.master) for b in trainable.buffers
        ]
        self._terms: dict[str, list[Tensor]] = {}
        """By term of a loss whose terms are differentiated apart, the sums for each buffer in float32."""
        self.alive = torch.ones(trainable.count, dtype=torch.bool, device=device)
        self.step_number = torch.zeros(1, dtype=torch.long, device=device)
        self.norms = torch.zeros(len(factors), trainable.count, device=device)
        """Norm of each cell's gradient before clipping, [steps, K]."""

    def accumulate(self, term: str = "") -> None:
        """Add the gradient of a micro-batch, or of one term of its loss, to the sums."""
        if term and term not in self._terms:
            self._terms[term] = [torch.zeros_like(buffer.master) for buffer in self._trainable.buffers]
        sums = self._terms[term] if term else self._sums
        for buffer, total in zip(self._trainable.buffers, sums, strict=True):
            if total is not None:
                total.add_(buffer.gradient)
                buffer.gradient.zero_()

    def combine(self, function: Callable[[Mapping[str, Sequence[Tensor]]], Sequence[Tensor]]) -> None:
        """Make the gradient that a step takes from those of the terms."""
        combined = function(self._terms)
        for buffer, total, gradient in zip(self._trainable.buffers, self._sums, combined, strict=True):
            (buffer.gradient if total is None else total).copy_(gradient)
        for total in chain.from_iterable(self._terms.values()):
            total.zero_()

    def discard(self) -> None:
        """Forget the gradients of the first micro-batch, which was not computed to its end."""
        self._terms.clear()
        for buffer in self._trainable.buffers:
            buffer.gradient.zero_()

    def step(self, keep: Tensor | None = None) -> None:
        """Update the cells that are alive and for which `keep` [K], where given, is true; others stop for good."""
        pairs = zip(self._trainable.buffers, self._sums, strict=True)
        gradients = [buffer.gradient if total is None else total for buffer, total in pairs]
        norm = torch.stack([torch.linalg.vector_norm(g, dim=1) for g in gradients]).norm(dim=0)
        self.norms.index_copy_(0, self.step_number, norm[None])
        within_limit = norm <= self._most_norm  # never true of NaN
        self.alive.logical_and_(within_limit if keep is None else within_limit & keep)
        stopped = ~self.alive[:, None]
        scale = (self._clip / (norm + 1e-6)).clamp(max=1.0)[:, None] if self._clip else torch.ones_like(norm)[:, None]
        lr = (self._lrs * self._factors.index_select(0, self.step_number))[:, None].masked_fill(stopped, 0.0)
        self.step_number.add_(1)
        b1, b2 = _BETAS
        time = self.step_number.float()
        correction1, correction2 = 1.0 - b1**time, (1.0 - b2**time).sqrt()
        # In place as far as possible: each new tensor has the size of a buffer.
        for buffer, (mean, square), g in zip(self._trainable.buffers, self._moments, gradients, strict=True):
            g.mul_(scale).masked_fill_(stopped, 0.0)  # not `* 0`, which leaves NaN
            mean.mul_(b1).add_(g, alpha=1.0 - b1)
            square.mul_(b2).addcmul_(g, g, value=1.0 - b2)
            if self._decay:
                buffer.master.mul_(1.0 - lr * self._decay)
            denominator = square.sqrt().div_(correction2).add_(_EPSILON)
            buffer.master.sub_(mean.mul(lr / correction1).div_(denominator))
            g.zero_()
        self._trainable.publish()
