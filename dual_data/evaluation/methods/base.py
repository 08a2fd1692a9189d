"""What a method is: a loss over the labels of a batch, and the inputs that the loss needs.

Shapes: K cells, trained together; R rows and M labels of a cell in a micro-batch, padded (`Rows`); V the vocabulary.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from dual_data.errors import UsageError
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.packing import Rows

Returned = TypeVar("Returned")


class LabelOutputs:
    """Outputs of one model at the labels of one kind of rows; all in float32, computed when first read."""

    def __init__(
        self,
        targets: Tensor,
        *,
        logits: Callable[[], Tensor] | None = None,
        gold: Tensor | None = None,
        hidden: Tensor | None = None,
        undeclared: str = "",
    ) -> None:
        """`undeclared` says what Method lacks where it does not ask for outputs of these rows: none can be read."""
        self._targets, self._logits, self._gold, self._hidden = targets, logits, gold, hidden
        self._undeclared = undeclared

    @cached_property
    def logits(self) -> Tensor:
        """[K, M, V]"""
        if self._logits is None:
            raise self._absent("at_layer=True ends the forward pass at the layer: read `hidden`, or do without it")
        return self._logits()

    @cached_property
    def log_softmax(self) -> Tensor:
        """[K, M, V] log-probabilities over the vocabulary."""
        return self.logits.log_softmax(-1)

    @cached_property
    def log_p(self) -> Tensor:
        """[K, M] log-probability of each label."""
        return self.log_p_of(self._targets) if self._gold is None else self._gold

    @property
    def nll(self) -> Tensor:
        """[K, M] -log p of each label."""
        return -self.log_p

    @property
    def hidden(self) -> Tensor:
        """[K, M, H] output of the method's layer."""
        if self._hidden is None:
            raise self._absent("give Method at_layer=True, and the loss the layer as an option: `*, layer: int = 7`")
        return self._hidden

    def _absent(self, remedy: str) -> ValueError:
        """The error where the method reads what it did not ask for."""
        return ValueError(f"the method did not ask for these outputs: {self._undeclared or remedy}")

    def log_p_of(self, tokens: Tensor) -> Tensor:
        """[K, M] log-probability of `tokens` at the same positions."""
        cells, labels = (torch.arange(size, device=tokens.device) for size in tokens.shape)
        # Not `gather`: its deterministic gradient copies from the host in torch before 2.9, and no graph records that.
        return self.logits[cells[:, None], labels, tokens] - self.logits.logsumexp(-1)


class Batch(NamedTuple):
    """The rows of a micro-batch by kind, and the controller's state."""

    forget: Rows
    retain: Rows
    """The forget rows again for a method without retain rows."""
    refusal: Rows
    """The questions of `forget`, row by row, with the answer to prefer; for other methods the forget rows again."""
    state: Mapping[str, Tensor]
    """[K] by name."""


class Outputs(NamedTuple):
    """Outputs of one model for a batch, by kind of rows; those of a kind that Method does not name cannot be read."""

    forget: LabelOutputs
    retain: LabelOutputs
    refusal: LabelOutputs


class Loss(NamedTuple):
    """One loss per cell [K]; their sum is differentiated, since cells share only the base. `parts` is logged."""

    value: Tensor
    parts: dict[str, Tensor]
    terms: dict[str, Tensor] | None = None
    """By name, the losses [K] of a method with a `gradient`: each is differentiated by itself, and `value` only logged.
    """

    @property
    def differentiated(self) -> Mapping[str, Tensor]:
        """The terms by name, or the value under none."""
        return self.terms or {"": self.value}


class Facts(NamedTuple):
    """What a method can derive constants from: labels and popularity of one cell's forget rows."""

    labels: Sequence[Sequence[int]]
    """Labels of each forget row, including the end of the turn where it is trained."""
    answer_tokens: Sequence[int]
    """Number of labels of each forget row without the end."""
    popularity: Sequence[float | None]
    encode: Callable[[str], list[int]]
    """Token ids of a text, without special tokens."""
    items: Sequence[Item] = ()
    """Each forget row as read, with its id, question, answer, subject and relation."""


Constants = dict[str, list[list[float]]]
"""By name, one list per forget row with one number per label."""


class Controller(Protocol):
    """Changes the state of a run between its epochs."""

    def start(self) -> dict[str, float]:
        """State before the first step."""

    def after_epoch(self, parts: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """State for one cell's next epoch, from its logged parts at each step of the last epoch."""


_WITH_OPTIONS = ("loss", "gradient", "noise", "factor", "constants", "controller", "notes")
"""The functions of a method whose keyword-only parameters are its options."""
_NOT_NEGATIVE = ("alpha", "beta", "gamma")
"""Options that no preset may make negative, unless their default is: weights of losses, and exponents and the like.

A negative weight teaches the facts to forget, or unlearns those to keep.
"""


class Method(NamedTuple):
    """A method: its loss and what the loss reads. CONTRIBUTING.md says how to add one."""

    name: str
    loss: Callable[..., Loss]
    source: str
    """The paper, and where the default constants are from."""
    kinds: tuple[str, ...] = ("forget", "retain")
    """Kinds of rows in a batch: forget, retain, refusal."""
    reference: frozenset[str] = frozenset()
    """Kinds of rows for which outputs of the reference are read. Log-probabilities of the labels and hidden states are
    computed once; logits, if the loss reads them, at each step.
    """
    other_answer: str = ""
    """Source of the refusal rows: refusals (a fixed list) or swapped (another row's answer)."""
    at_layer: bool = False
    """Whether the loss reads a hidden layer (option `layer`), at which the forward pass stops."""
    gradient: Callable[..., Sequence[Tensor]] | None = None
    """Makes one gradient of those of the loss's `terms` and the options that are its parameters.

    It gets, by term, one tensor [K, n] in float32 for each buffer of weights, the gradient of the whole step, which it
    may overwrite, and returns as many, of which the optimiser clips and takes each cell's. A cell's may depend on its
    own rows k alone; `inner` is the product over all buffers.
    """
    noise: Callable[..., tuple[float, float]] | None = None
    """Makes two numbers, keep and spread, of the options that are its parameters.

    Before the first step, weights become keep * weights + spread * X. X is drawn from the cell's seed, for matrices as
    by Xavier's uniform initialisation; for other weights it is 0. With adapters, the base is kept whole and gets noise
    of that size, but of the adapter's rank.
    """
    factor: Callable[..., float] | None = None
    """Makes a number of the options that are its parameters, by which the change that training made to the weights is
    multiplied at its end; with adapters, the change is their product.
    """
    constants: Callable[..., Constants | dict[str, list[float]]] | None = None
    """Makes constants of the forget rows from `Facts` and the options that are its parameters: by name, one number per
    row, or one list per row with one number per label. The loss reads both as `batch.forget.constants[name]`, [K, M];
    `row_sum` of it, divided by `lengths()`, is the number of each row, [K, R].
    """
    controller: Callable[..., Controller] | None = None
    """Makes the controller of one cell from the options that are its parameters."""
    notes: Callable[..., dict[str, float]] | None = None
    """Makes figures about the rows for the result, from `Facts` and the options that are its parameters."""
    check: Callable[..., None] | None = None
    """Raises ValueError, with the option's name first, for values of the options that are its parameters."""
    not_negative: tuple[str, ...] = ()
    """Options that no preset may make negative, besides alpha, beta and gamma."""
    code: str = ""
    """Hash of the code of the method's file; set when the method becomes known by name."""

    def expect_valid(self) -> None:
        """Raise ValueError, with the field's name first, for a value that is not known or contradicts another field."""
        if unknown := set(self.kinds).difference(Outputs._fields):
            raise ValueError(f"kinds: {min(unknown)!r} is not a kind; known here: {', '.join(Outputs._fields)}")
        if "forget" not in self.kinds:
            raise ValueError("kinds: lacks 'forget'")
        if unknown := set(self.reference).difference(self.kinds):
            raise ValueError(f"reference: {min(unknown)!r} is not among the method's kinds: {', '.join(self.kinds)}")
        known = ("refusals", "swapped") if "refusal" in self.kinds else ("",)
        if self.other_answer not in known:
            have = "have" if "refusal" in self.kinds else "have no"
            choices = " or ".join(map(repr, known))
            raise ValueError(
                f"other_answer: is {self.other_answer!r}; for kinds that {have} 'refusal', it is {choices}"
            )
        self._expect_valid_options()
        if self.at_layer and type(self.defaults.get("layer")) is not int:
            raise ValueError("at_layer: the loss must have the layer as an option, such as `*, layer: int = 7`")

    def _expect_valid_options(self) -> None:
        known = self.defaults
        first: dict[str, tuple[str, Any]] = {}
        for field, name, parameter in self._parameters():
            kind, default = parameter.kind, parameter.default
            if kind is parameter.POSITIONAL_OR_KEYWORD and default is not parameter.empty:
                raise ValueError(
                    f"{field}: {name!r} has a default, but is no option, as it is not behind a `*`: write `*, {name}`"
                )
            if kind is not parameter.KEYWORD_ONLY:
                continue
            if name not in known:
                raise ValueError(
                    f"{field}: {name!r} is no option, as it has no default: write one, such as `{name}: float = 1.0`"
                )
            if default is parameter.empty:
                continue
            other, earlier = first.setdefault(name, (field, default))
            if (type(earlier), earlier) != (type(default), default):
                raise ValueError(
                    f"{field}: the option {name!r} is {default!r} by default, but {earlier!r} in {other}: give it one "
                    "default"
                )

    @property
    def defaults(self) -> dict[str, Any]:
        """Every option of the method with its default."""
        return {
            name: parameter.default
            for _, name, parameter in self._parameters()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        }

    def _parameters(self) -> Iterator[tuple[str, str, inspect.Parameter]]:
        """The parameters of every function of the method, each with the function's field and its name."""
        for field in _WITH_OPTIONS:
            if (function := getattr(self, field)) is not None:
                yield from ((field, name, one) for name, one in inspect.signature(function).parameters.items())

    def options(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with `chosen` over them. Raises UsageError for one that the method does not have or take."""
        known = self.defaults
        for name, value in chosen.items():
            if name not in known:
                raise UsageError(f"{self.name}.{name}: unknown key; known here: {', '.join(sorted(known)) or 'none'}")
            kind = type(known[name])
            if type(value) is not kind and (type(value), kind) != (int, float):  # a bool is an int to isinstance
                raise UsageError(f"{self.name}.{name}: {value!r} is not a valid {kind.__name__}")
            if kind is float and not abs(value) <= sys.float_info.max:  # also false of NaN, and of an int too large
                raise UsageError(f"{self.name}.{name}: {value} is not a finite number")
        # An int given for a float is the same setting.
        options = {**known, **{name: type(known[name])(value) for name, value in chosen.items()}}
        if self.check is not None:
            try:
                self.bind(self.check, options)()
            except ValueError as error:
                raise UsageError(f"{self.name}.{error}") from None
            except Exception as error:  # a mistake in the check
                message = f"{self.name}: the check of its options fails: {type(error).__name__}: {error}"
                raise UsageError(message) from error
        for name in (*_NOT_NEGATIVE, *self.not_negative):
            if isinstance(default := known.get(name), int | float) and options[name] < 0 <= default:
                raise UsageError(f"{self.name}.{name}: {options[name]:g} is negative")
        if self.at_layer and options["layer"] < 0:
            raise UsageError(f"{self.name}.layer: {options['layer']} is not a layer; layers are counted from 0")
        return options

    def bound(self, options: Mapping[str, Any]) -> Method:
        """The method with these options in its functions."""
        bound: dict[str, Any] = {
            field: self.bind(function, options)
            for field in _WITH_OPTIONS
            if (function := getattr(self, field)) is not None
        }
        return self._replace(**bound)

    @staticmethod
    def bind(function: Callable[..., Returned], options: Mapping[str, Any]) -> Callable[..., Returned]:
        """The function with those options that are its parameters."""
        names = inspect.signature(function).parameters
        return partial(function, **{name: value for name, value in options.items() if name in names})


def positive_beta(*, beta: float) -> None:
    """Raise ValueError unless beta > 0, as `soft_margin` needs it: a negative one would teach the forget rows."""
    if beta <= 0:
        raise ValueError(f"beta: {beta:g} is not greater than 0")


def soft_margin(values: Tensor, beta: float) -> Tensor:
    """-(2 / beta) log sigmoid(beta * values), elementwise and without overflow."""
    return -(2.0 / beta) * torch.nn.functional.logsigmoid(beta * values)


def inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """[K, 1] inner product of two gradients of each cell, over all buffers [K, n]."""
    return torch.stack([(a * b).sum(1, keepdim=True) for a, b in zip(one, other, strict=True)]).sum(0)


def divergence(reference: Tensor, policy: Tensor) -> Tensor:
    """KL(reference || policy) [K, M] of log-probabilities [K, M, V]."""
    return (reference.exp() * (reference - policy)).sum(-1)
