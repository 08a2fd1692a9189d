"""Low-rank adapters, many at once on one frozen base (LoRA: Hu et al. 2021, arXiv 2106.09685).

    y = x W + (alpha / rank) (x A_k) B_k        for a row x of cell k

K cells share one base: the rows of a batch are grouped by cell, and every adapted layer adds one batched product. The
adapters are forward hooks on the base, so the base's own modules and weights stay as they were loaded: with
`disabled()` it is the reference model bit for bit. Fresh adapters have B = 0.

All weights are in one buffer of shape [K, P], as are their gradients. So zeroing, norms, clipping and AdamW take a few
kernels whatever the number of layers. The master copy is float32; where the base computes in a narrower type, the
layers read a copy in that type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from dual_data.errors import InputError
from dual_data.evaluation.device.draws import uniform, xavier
from dual_data.evaluation.device.sharding import held, rows_held
from dual_data.evaluation.models.decoder import head, linear_layers
from dual_data.evaluation.results import ADAPTER_FILES
from dual_data.evaluation.training.optimisation import LoraSpec
from dual_data.evaluation.training.optimiser import Buffer
from dual_data.system.files import whole_folder

CONFIG, WEIGHTS = ADAPTER_FILES


class _Slot(NamedTuple):
    """Position of one layer's A [K, rank, in] and B [K, out, rank] in the buffer."""

    name: str
    linear: nn.Linear
    start: int
    a_size: int
    b_size: int


class Adapters:
    """`count` adapters of one shape on the linear layers of `model`; cell k owns row k of every buffer.

    They freeze the parameters of the base. The rows of every batch must be grouped by cell, so with K active cells the
    first dimension of a layer's input is a multiple of K.
    """

    def __init__(self, model: PreTrainedModel, spec: LoraSpec, *, seeds: Sequence[int] = (0,)) -> None:
        self.model, self.spec, self.seeds = model, spec, tuple(seeds)
        self.enabled = True
        self._active = slice(0, len(self.seeds))
        layers = _targets(model, spec.targets)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.slots: list[_Slot] = []
        start = 0
        for name, linear in layers:
            a_size, b_size = spec.rank * linear.in_features, spec.rank * linear.out_features
            self.slots.append(_Slot(name, linear, start, a_size, b_size))
            start += a_size + b_size
        weight = layers[0][1].weight
        count = len(self.seeds)
        self.master = torch.zeros(count, start, dtype=torch.float32, device=weight.device)
        dtype = weight.dtype if weight.dtype.is_floating_point else torch.bfloat16
        shared = dtype == torch.float32
        self.live = self.master if shared else torch.zeros(count, start, dtype=dtype, device=weight.device)
        self.gradient = torch.zeros_like(self.live)
        self._pairs = [self._make_pair(slot) for slot in self.slots]
        self.reset()
        self._handles = [self._attach(slot, *pair) for slot, pair in zip(self.slots, self._pairs, strict=True)]

    @classmethod
    def read(cls, model: PreTrainedModel, folder: Path) -> Adapters:
        """The adapter in a folder, put on a model. Raises InputError as `read_adapter`."""
        spec, tensors = read_adapter(folder)
        adapters = cls(model, spec)
        a_and_b = {slot.name: _keys(slot.name) for slot in adapters.slots}
        adapters.load_weights(0, {name: (tensors[a], tensors[b]) for name, (a, b) in a_and_b.items()})
        return adapters

    @property
    def count(self) -> int:
        """Number of adapters."""
        return len(self.seeds)

    @property
    def active(self) -> int:
        """Number of adapters among which the rows of a batch are divided now."""
        return self._active.stop - self._active.start

    @property
    def first(self) -> int:
        """The adapter that the first rows of a batch belong to now."""
        return self._active.start

    @property
    def buffers(self) -> Sequence[Buffer]:
        """Weights and gradients of all adapters."""
        return [Buffer(self.master, self.gradient)]

    def reference_head(self, hidden: Tensor) -> Tensor:
        """Logits of the base's head."""
        with self.disabled():
            return head(self.model, hidden)

    def reset(self) -> None:
        """Initialise: A uniform in +-1/sqrt(in) as in peft (Kaiming with a = sqrt 5), B zero.

        Every adapter has its own seed and every layer its own generator, so an adapter depends neither on the adapters
        trained beside it nor on the order of the layers.
        """
        weights = torch.zeros(self.master.shape)
        for slot in self.slots:
            bound = 1.0 / math.sqrt(slot.linear.in_features)
            for k, seed in enumerate(self.seeds):
                values = uniform(f"lora|{seed}|{slot.name}", slot.a_size) * bound
                weights[k, slot.start : slot.start + slot.a_size] = values
        self.master.copy_(weights)  # at once: to a GPU every copy waits
        self.publish()
        self.gradient.zero_()

    def publish(self) -> None:
        """Copy the master weights to where the layers read them."""
        if self.live is not self.master:
            self.live.copy_(self.master)

    def perturb(self, keep: float, spread: float) -> None:
        """Add noise to B, such that its product with a fresh A has the standard deviation of that for all weights.

        `keep` has no effect: the base, which is not trained, stays whole.
        """
        weights = torch.zeros(self.master.shape)
        for slot in self.slots:
            width, size = slot.linear.in_features, xavier(slot.linear.in_features, slot.linear.out_features)
            # Each number of a product sums `rank` numbers of B times one of A, whose variance is 1 / (3 width).
            bound = spread * size * math.sqrt(3.0 * width / self.spec.rank) / self.spec.scaling
            for k, seed in enumerate(self.seeds):
                self._views(weights[k], slot)[1].copy_(
                    uniform(f"noise|{seed}|{slot.name}", slot.linear.out_features, self.spec.rank) * bound
                )
        self.master.add_(weights.to(self.master.device))
        self.publish()

    def multiply_change(self, factor: float) -> None:
        """Multiply B, and so the products B A, by which adapters that begin with B = 0 have changed the model."""
        for slot in self.slots:
            self._views(self.master, slot)[1].mul_(factor)
        self.publish()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base alone, bit for bit: the reference model of every method."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    @contextmanager
    def only(self, k: int) -> Iterator[None]:
        """Use only adapter `k`: every row of a batch belongs to it."""
        before, self._active = self._active, slice(k, k + 1)
        try:
            yield
        finally:
            self._active = before

    def weights(self, k: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
        """A [rank, in] and B [out, rank] of adapter `k`, by layer name; views of the master buffer."""
        return {slot.name: self._views(self.master[k], slot) for slot in self.slots}

    def load_weights(self, k: int, weights: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Set the weights of adapter `k`."""
        for slot in self.slots:
            for view, value in zip(self._views(self.master[k], slot), weights[slot.name], strict=True):
                view.copy_(value.to(view))
        self.publish()

    def merge(self) -> None:
        """Add the first adapter to the base's weights in place and remove the adapters.

        The sum is computed in float32 and rounded once to the base's type. An adapted head that is tied to the
        embedding is untied first, since the embedding was not adapted.
        """
        for slot in self.slots:
            a, b = self._views(self.master[0], slot)
            weight = slot.linear.weight
            if any(weight is module.weight for module in self.model.modules() if isinstance(module, nn.Embedding)):
                slot.linear.weight = weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
                self.model.config.tie_word_embeddings = False
            # The whole product, also where few rows are held: some processors round those rows alone otherwise.
            product = (b.float() @ a.float())[rows_held(weight)]
            own = held(weight.data)
            own.copy_(own.float() + self.spec.scaling * product)
        self.remove()

    def freeze(self) -> None:
        """Stop training these adapters: they become part of the base for other adapters."""
        for parameter in (parameter for pair in self._pairs for parameter in pair):
            parameter.requires_grad_(False)

    def remove(self) -> None:
        """Remove the adapters; the base is as before."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def save(self, folder: Path, k: int = 0, *, base: str = "") -> None:
        """Write adapter `k` in peft's format, a JSON and a safetensors file, completely or not at all.

        Raises OSError, also where safetensors finds the disk full.
        """
        from safetensors.torch import save_file

        tensors = {
            key: matrix.contiguous().cpu()
            for name, pair in self.weights(k).items()
            for key, matrix in zip(_keys(name), pair, strict=True)
        }
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "inference_mode": True,
            "r": self.spec.rank,
            "lora_alpha": self.spec.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": False,
            "target_modules": sorted(self.spec.targets),
        }
        try:
            with whole_folder(folder, replace=True) as partial:
                save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
                (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        except SafetensorError as error:  # what a full disk is to safetensors
            raise OSError(f"{folder}: cannot be written: {error}") from None

    def _views(self, row: Tensor, slot: _Slot) -> tuple[Tensor, Tensor]:
        middle = slot.start + slot.a_size
        a = row[..., slot.start : middle]
        b = row[..., middle : middle + slot.b_size]
        outer = row.shape[:-1]
        return (
            a.view(*outer, self.spec.rank, slot.linear.in_features),
            b.view(*outer, slot.linear.out_features, self.spec.rank),
        )

    def _make_pair(self, slot: _Slot) -> tuple[nn.Parameter, nn.Parameter]:
        values, gradients = self._views(self.live, slot), self._views(self.gradient, slot)
        pair = (nn.Parameter(values[0]), nn.Parameter(values[1]))
        for parameter, gradient in zip(pair, gradients, strict=True):
            parameter.grad = gradient
        return pair

    def _attach(self, slot: _Slot, a: nn.Parameter, b: nn.Parameter) -> RemovableHandle:
        scaling = self.spec.scaling

        def add(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not self.enabled:
                return output
            x, active = args[0], self._active
            # Slicing, even of all adapters, would cost a full-size gradient buffer in the backward pass.
            down, up = (a, b) if self.active == self.count else (a[active], b[active])
            rows = x.reshape(self.active, -1, x.shape[-1]).to(a.dtype)
            projected = torch.bmm(rows, down.transpose(1, 2))
            # Product, factor and sum in one kernel, which rounds the sum once. With gradients it is out of place and
            # copies `base` first, since a backward pass may need `base` unchanged.
            base = output.reshape(self.active, -1, output.shape[-1]).to(a.dtype)
            add_product = torch.baddbmm if torch.is_grad_enabled() else Tensor.baddbmm_
            adapted: Tensor = add_product(base, projected, up.transpose(1, 2), alpha=scaling)
            return adapted.view(output.shape).to(output.dtype)

        return slot.linear.register_forward_hook(add)


def read_adapter(folder: Path) -> tuple[LoraSpec, dict[str, Tensor]]:
    """Shape and tensors of an adapter that `Adapters.save` wrote. Raises InputError for a damaged or missing file."""
    from safetensors.torch import load_file

    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        spec = LoraSpec(rank=config["r"], alpha=config["lora_alpha"], targets=tuple(sorted(config["target_modules"])))
        path = folder / WEIGHTS
        return spec, load_file(path)
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise InputError(f"{path}: not readable: {error}") from error


def is_whole(folder: Path) -> bool:
    """Whether `folder` has an adapter that can be read."""
    try:
        read_adapter(folder)
    except InputError:
        return False
    return True


def _keys(layer: str) -> tuple[str, str]:
    """Names of the matrices A and B of a layer in a file, as in peft."""
    return f"base_model.model.{layer}.lora_A.weight", f"base_model.model.{layer}.lora_B.weight"


def expect_targets(targets: Sequence[str], known: Collection[str], architecture: str) -> None:
    """Raise InputError for targets that are not among the linear layers of a model, by the last part of their names."""
    if missing := set(targets).difference(known):
        raise InputError(
            f"{architecture} has no linear layer called {', '.join(sorted(missing))}: "
            f"name some of {', '.join(sorted(known))} as targets of the adapter, "
            "lora = { targets = [...] } in the preset or the training stage"
        )


def _targets(model: nn.Module, suffixes: Sequence[str]) -> list[tuple[str, nn.Linear]]:
    linears = linear_layers(model)
    expect_targets(suffixes, {name.rpartition(".")[2] for name in linears}, type(model).__name__)
    return [(name, linear) for name, linear in linears.items() if name.rpartition(".")[2] in suffixes]
