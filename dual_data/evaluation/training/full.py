"""Full fine-tuning: every weight of the base is trained, then restored from a copy on the host.

It needs the memory that LoRA saves: besides the weights, their gradients and two float32 moments and, for narrower
weights, a master copy and sums of gradients in float32. That is 20 bytes per parameter for bfloat16, 16 for float32.
Only one cell is trained at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dual_data.errors import DualDataError
from dual_data.evaluation.device.draws import uniform, xavier
from dual_data.evaluation.models.decoder import head
from dual_data.evaluation.training.optimiser import Buffer


def bytes_per_parameter(dtype: torch.dtype) -> int:
    """Memory of trained weights, also of adapters, with gradients, master copy, sums of gradients and moments."""
    width = torch.finfo(dtype).bits // 8
    return 2 * width + (0 if dtype == torch.float32 else 8) + 8


class FullWeights:
    """All weights of a model as one cell. `remove` restores the initial weights bit for bit."""

    count = 1

    def __init__(self, model: PreTrainedModel, *, seed: int = 0, keep_head: bool = False) -> None:
        """`seed` is of noise; `keep_head` keeps a copy of the head on the device, for methods that read outputs of the
        reference.
        """
        self.model, self._seed = model, seed
        self._named = {name: p for name, p in model.named_parameters() if p.dtype.is_floating_point}
        self._parameters = list(self._named.values())
        pin = self._parameters[0].is_cuda
        self._saved = [torch.empty(p.shape, dtype=p.dtype, pin_memory=pin).copy_(p.detach()) for p in self._parameters]
        # The whole module, not the weight alone: some heads have a bias, which is trained as well.
        output: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self._head = deepcopy(output) if keep_head else None
        self._buffers = []
        self._trained = False
        try:
            for parameter in self._parameters:
                parameter.requires_grad_(True)
                parameter.grad = torch.zeros_like(parameter)
                master = parameter.detach() if parameter.dtype == torch.float32 else parameter.detach().float()
                self._buffers.append(Buffer(master.view(1, -1), parameter.grad.view(1, -1)))
        except BaseException:  # such as out of memory: the next cell gets the model unchanged
            self._untrack()
            raise

    @property
    def buffers(self) -> Sequence[Buffer]:
        """One per parameter."""
        return self._buffers

    def publish(self) -> None:
        """Round the master weights into the model."""
        self._trained = True
        for parameter, buffer in zip(self._parameters, self._buffers, strict=True):
            if parameter.dtype != torch.float32:
                parameter.data.copy_(buffer.master.view_as(parameter))

    def perturb(self, keep: float, spread: float) -> None:
        """Weights = keep weights + spread noise; that of one parameter at a time is on the host and on the device."""
        for (name, parameter), buffer in zip(self._named.items(), self._buffers, strict=True):
            buffer.master.mul_(keep)
            if parameter.dim() > 1:
                values = uniform(f"noise|{self._seed}|{name}", *buffer.master.shape).to(buffer.master.device)
                buffer.master.add_(values, alpha=spread * xavier(*parameter.shape[-2:]))
        self.publish()

    def multiply_change(self, factor: float) -> None:
        """Weights = start + factor (weights - start), in float32."""
        for saved, buffer in zip(self._saved, self._buffers, strict=True):
            start = saved.to(buffer.master.device).float().view(1, -1)
            buffer.master.copy_(start.lerp(buffer.master, factor))
        self.publish()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The reference, which exists only before the first step."""
        if self._trained:
            raise DualDataError("full fine-tuning has changed the reference: compute its figures before the first step")
        yield

    def reference_head(self, hidden: Tensor) -> Tensor:
        """Logits of the head before training."""
        if self._head is None:
            raise DualDataError("the reference's head was not kept: construct with keep_head")
        return head(self.model, hidden, output=self._head)

    def reset(self) -> None:
        """Restore the weights, to train again."""
        self._restore()
        for parameter, buffer in zip(self._parameters, self._buffers, strict=True):
            # From the device: the host would first convert its copy, and send twice the bytes.
            buffer.master.copy_(parameter.detach().view(1, -1))
            buffer.gradient.zero_()

    def remove(self) -> None:
        """Restore the weights and remove the gradients; the base is as before."""
        self._restore()
        self._untrack()

    def _restore(self) -> None:
        for parameter, saved in zip(self._parameters, self._saved, strict=True):
            parameter.data.copy_(saved)
        self._trained = False

    def _untrack(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
            parameter.requires_grad_(False)
