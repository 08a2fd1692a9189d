"""What a method is: a loss over the labels of a batch, and what has to be at hand for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.rows.packing import Rows

Result = TypeVar("Result")


class Answers:
    """What one model says at the labels of one kind of rows; all figures in float32."""

    def __init__(
        self,
        targets: Tensor,
        *,
        logits: Callable[[], Tensor] | None = None,
        gold: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> None:
        self._targets, self._make, self._gold = targets, logits, gold
        self._logits: Tensor | None = None
        self._log_softmax: Tensor | None = None
        self._hidden = hidden

    @property
    def logits(self) -> Tensor:
        """[K, M, V]"""
        if self._logits is None:
            assert self._make is not None, "this method did not say that it needs logits"
            self._logits = self._make()
        return self._logits

    @property
    def log_softmax(self) -> Tensor:
        """[K, M, V] log-probabilities of the whole vocabulary."""
        if self._log_softmax is None:
            self._log_softmax = self.logits.log_softmax(-1)
        return self._log_softmax

    @property
    def log_p(self) -> Tensor:
        """[K, M] log-probability of each label."""
        if self._gold is None:
            self._gold = self.log_p_of(self._targets)
        return self._gold

    @property
    def nll(self) -> Tensor:
        """[K, M] -log p of each label."""
        return -self.log_p

    @property
    def hidden(self) -> Tensor:
        """[K, M, H] output of the method's layer, float32."""
        assert self._hidden is not None, "this method did not name a layer"
        return self._hidden

    def log_p_of(self, tokens: Tensor) -> Tensor:
        """[K, M] log-probability of other tokens at the same places."""
        cells, places = (torch.arange(size, device=tokens.device) for size in tokens.shape)
        # Not `gather`: its gradient in a fixed order copies from the host in torch before 2.9, which no graph records.
        return self.logits[cells[:, None], places, tokens] - self.logits.logsumexp(-1)


class Batch(NamedTuple):
    """The rows of a micro-batch by kind, and what a controller has set."""

    forget: Rows
    retain: Rows
    """Of a method without retain rows: the forget rows again."""
    refusal: Rows
    """The same questions as `forget`, row by row, with the other answer; else the forget rows again."""
    state: Mapping[str, Tensor]
    """[K] by name."""


class Outputs(NamedTuple):
    """What one model says to a batch, by kind of rows."""

    forget: Answers
    retain: Answers
    refusal: Answers


class Loss(NamedTuple):
    """One loss a cell [K], whose sum is differentiated: cells share nothing but the base. `parts` is logged."""

    value: Tensor
    parts: dict[str, Tensor]


class Facts(NamedTuple):
    """What a method may derive constants from, for one cell: token ids and figures of the forget rows."""

    labels: Sequence[Sequence[int]]
    """Labels of each forget row, the end of the turn among them where it is trained."""
    answer_tokens: Sequence[int]
    """Labels of each forget row without the end."""
    popularity: Sequence[float | None]
    encode: Callable[[str], list[int]]
    """Token ids of a text, without special tokens."""


Constants = dict[str, list[list[float]]]


class Controller(Protocol):
    """Changes the state of a run between its epochs."""

    def start(self) -> dict[str, float]:
        """State before the first step."""

    def after_epoch(self, parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """State for one cell's next epoch, from its logged parts step by step in the epoch that ended."""


class Method(NamedTuple):
    """A method: its loss and what the loss reads. See CONTRIBUTING for adding one."""

    name: str
    loss: Callable[..., Loss]
    source: str
    """Paper, and whose constants the defaults are."""
    kinds: tuple[str, ...] = ("forget", "retain")
    """Rows in a batch: forget, retain, refusal."""
    reference: frozenset[str] = frozenset()
    """Kinds whose reference log-probabilities of the labels are read: computed once."""
    reference_rows: frozenset[str] = frozenset()
    """Kinds whose whole reference distributions are read: hidden states are computed once, the head each step."""
    other_answer: str = ""
    """Where the refusal rows come from: refusals (a fixed list) or swapped (another row's answer)."""
    at_layer: bool = False
    """Whether the loss reads a hidden layer (option `layer`) and the forward pass stops there."""
    constants: Callable[..., Constants] | None = None
    """Makes constants of the forget rows from `Facts` and those options that it names."""
    controller: Callable[..., Controller] | None = None
    """Makes the controller of one cell from those options that it names."""
    notes: Callable[..., dict[str, float]] | None = None
    """Figures about the rows that belong in the result, from `Facts` and those options that it names."""

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the method with its default."""
        found: dict[str, Any] = {}
        for function in (self.loss, self.constants, self.controller, self.notes):
            if function is not None:
                for name, parameter in inspect.signature(function).parameters.items():
                    if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
                        found[name] = parameter.default
        return found

    def options(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with `chosen` over them. Raises UsageError for an option that the method does not have."""
        known = self.defaults
        for name, value in chosen.items():
            if name not in known:
                raise UsageError(f"{self.name} has no option {name!r}; it has {', '.join(sorted(known)) or 'none'}")
            if not isinstance(value, type(known[name])) and not (
                isinstance(value, int) and isinstance(known[name], float)
            ):
                raise UsageError(f"{self.name}.{name}: {value!r} is no {type(known[name]).__name__}")
        # A whole number for a fraction is the same setting.
        return {**known, **{name: type(known[name])(value) for name, value in chosen.items()}}

    @staticmethod
    def bind(function: Callable[..., Result], options: Mapping[str, Any]) -> Callable[..., Result]:
        """The function with those of the options that it names."""
        names = inspect.signature(function).parameters
        return partial(function, **{name: value for name, value in options.items() if name in names})


def soft_margin(values: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(beta * values), elementwise and without overflow."""
    return -(2.0 / beta) * torch.nn.functional.logsigmoid(beta * values)


def divergence(reference: Tensor, policy: Tensor) -> Tensor:
    """KL(reference || policy) [K, M] of log-probabilities [K, M, V]."""
    return (reference.exp() * (reference - policy)).sum(-1)
