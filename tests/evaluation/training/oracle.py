"""A small unlearning problem on a random model, for tests of training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import Encoded, TrainingRows, encode
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.optimiser import Buffer
from dual_data.evaluation.training.train import train
from dual_data.evaluation.training.training_run import Trace
from tests.evaluation.methods.formulas import Figures, Step, row_figures
from tests.evaluation.questions import cities

SPEC = LoraSpec(rank=4, alpha=8.0)
LAYER = 0
"""The layer that RMU steers; not the last one, whose output transformers returns normalised."""
OPTIONS: dict[str, dict[str, Any]] = {"RMU": {"layer": LAYER}}
"""Options that methods need for so small a model."""


class Watched(Adapters):
    """Adapters that remember the gradient of every step."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.gradients: list[torch.Tensor] = []
        """[K, P] of each step, before clipping."""
        self._read_gradient: torch.Tensor | None = None
        super().__init__(*arguments, **options)

    @property
    def buffers(self) -> Sequence[Buffer]:
        self._read_gradient = self.gradient.clone()
        return super().buffers

    def publish(self) -> None:
        # The optimiser reads the buffers, steps, zeroes the gradients and publishes, in this order.
        if self._read_gradient is not None:
            self.gradients.append(self._read_gradient)
            self._read_gradient = None
        super().publish()


class Problem(NamedTuple):
    """Rows to forget and retain, and a model with trained-like adapters unless they are fresh."""

    loaded: Loaded
    adapters: Watched
    forget: list[Encoded]
    retain: list[Encoded]
    other: list[Encoded]

    @property
    def data(self) -> TrainingRows:
        items = [item._replace(popularity=float(i % 5)) for i, item in enumerate(cities())]
        return TrainingRows(self.forget, self.retain, 0, self.other, items)

    def train(
        self, method: str, optimisation: Optimisation, *lrs: float, plain: bool | None = None, **options: Any
    ) -> list[Trace]:
        """Without learning rates, the weights are as before: also where a method changes them by itself."""
        self.adapters.gradients.clear()
        before = self.adapters.master.clone()
        traces = train(
            self.loaded,
            self.adapters,
            METHODS[method],
            self.data,
            lrs or [0.0],
            optimisation,
            options=options,
            plain=plain,
        )
        if not lrs:
            self.adapters.master.copy_(before)
        return traces


def problem(architecture: str = "llama", *, seeds: Sequence[int] = (0,), fresh: bool = False) -> Problem:
    """A problem of seven rows to forget and five to retain."""
    loaded = tiny(architecture)
    items = cities()
    forget = encode(loaded.tokenizer, items, "chat")
    retain = encode(
        loaded.tokenizer, [item._replace(question=f"Say where {item.subject} is.") for item in items[:5]], "chat"
    )
    other = encode(loaded.tokenizer, [item._replace(answer="I do not know that.") for item in items], "chat")
    adapters = Watched(loaded.model, SPEC, seeds=seeds)
    if not fresh:
        disturb(adapters)
    return Problem(loaded, adapters, forget, retain, other)


def disturb(adapters: Adapters) -> None:
    """Give every adapter a B that is not zero, so that policy and reference differ."""
    generator = torch.Generator().manual_seed(1)
    for k in range(adapters.count):
        weights = {
            name: (a, 0.05 * torch.randn(b.shape, generator=generator)) for name, (a, b) in adapters.weights(k).items()
        }
        adapters.load_weights(k, weights)


def peft_twin(setup: Problem, architecture: str) -> PeftModel:
    """The same model and adapter in peft, in float64: independent of the adapters under test."""
    base: Any = tiny(architecture).model.double()
    config = LoraConfig(r=SPEC.rank, lora_alpha=int(SPEC.alpha), target_modules=list(SPEC.targets), lora_dropout=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers has renamed
        twin: Any = get_peft_model(base, config)
    for name, (a, b) in setup.adapters.weights().items():
        layer = twin.base_model.model.get_submodule(name)
        layer.lora_A["default"].weight.data = a.double().clone()
        layer.lora_B["default"].weight.data = b.double().clone()
    assert isinstance(twin, PeftModel)
    return twin


def twin_gradient(setup: Problem, twin: PeftModel) -> torch.Tensor:
    """[P] gradient of the twin's adapter, laid out as the adapters under test lay out theirs."""
    gradients = []
    base: Any = twin.base_model.model
    for slot in setup.adapters.slots:
        layer = base.get_submodule(slot.name)
        for weight in (layer.lora_A["default"].weight, layer.lora_B["default"].weight):
            gradients.append((torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten())
    return torch.cat(gradients)


class Oracle:
    """Figures of single rows under the peft twin and its base."""

    def __init__(self, setup: Problem, twin: PeftModel) -> None:
        self.setup, self.twin = setup, twin
        refusal = setup.loaded.tokenizer("No idea", add_special_tokens=False)["input_ids"]
        self.refusal_ids = list(refusal)
        values = [float(i % 5) for i in range(len(setup.forget))]
        last = len(values) - 1
        tied_ranks = [[rank for rank, other in enumerate(sorted(values)) if other == value] for value in values]
        self.ranks = [sum(tied) / len(tied) / last for tied in tied_ranks]

    def step(self, forget: Sequence[int], retain: Sequence[int]) -> Step:
        setup = self.setup
        with torch.no_grad(), self.twin.disable_adapter():
            forget_ref, retain_ref, other_ref = (
                self.rows([rows[index] for index in indices])
                for rows, indices in ((setup.forget, forget), (setup.retain, retain), (setup.other, forget))
            )
        forget_rows = [setup.forget[index] for index in forget]
        return Step(
            self.rows(forget_rows),
            self.rows([setup.retain[index] for index in retain]),
            self.rows([setup.other[index] for index in forget]),
            forget_ref,
            retain_ref,
            other_ref,
            labels=[[*row.answer_ids, *row.end_ids] for row in forget_rows],
            answer_sizes=[len(row.answer_ids) for row in forget_rows],
            popularity_rank=[self.ranks[index] for index in forget],
            refusal_ids=self.refusal_ids,
        )

    def rows(self, rows: Sequence[Encoded]) -> list[Figures]:
        return [row_figures(self.twin, row, LAYER) for row in rows]
