"""A step can be recorded as a CUDA graph: it makes nothing from the host's data and reads nothing back.

What a GPU refuses while it records, or waits for, shows as one of a few operations, on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dual_data.errors import UsageError
from dual_data.evaluation.data import encode
from dual_data.evaluation.generate import Slots
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.order import Optimisation
from dual_data.evaluation.request import request_of
from dual_data.evaluation.stream import Engine
from dual_data.evaluation.tiny import tiny
from dual_data.evaluation.train import Run
from tests.evaluation.questions import cities
from tests.evaluation.training import problem

READS = {"_local_scalar_dense", "item", "equal", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero"}
"""The host waits for a number, or for how large a result is."""
WRITES = {"lift_fresh", "randn", "rand", "randint", "randperm", "normal_", "uniform_", "bernoulli_"}
"""Data of the host, or of a generator, whose place a replay would not find again."""


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket).removeprefix("aten.")
        masks = args[1] if name in ("index", "index_put", "index_put_") else ()
        if any(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool for mask in masks):
            name = "nonzero"  # what a choice by truth values is to a GPU
        self.names.add(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def recordable() -> Iterator[None]:
    """Fail where something inside could not be recorded."""
    with _Seen() as seen:
        yield
    assert not seen.names & (READS | WRITES)


@pytest.mark.parametrize(
    ("method", "forget_kl"), [*((method, 0.0) for method in METHODS), ("GradAscent", 0.1), ("NPO", 0.1)]
)
def test_a_training_step_can_be_recorded(method: str, forget_kl: float) -> None:
    given = problem(seeds=(0, 1))
    run = Run(
        given.loaded,
        given.adapters,
        METHODS[method],
        [given.cell(1e-3), given.cell(1e-4)],
        optimisation=Optimisation(epochs=4, batch=5, forget_kl=forget_kl),
        options={"layer": 0} if METHODS[method].at_layer else {},
        train_end=True,
        plain=None,
    )
    run.step()  # the first steps are not recorded: they may set up what later ones use
    with recordable():
        run.step()


def test_a_method_that_stops_at_a_layer_takes_no_kl_over_tokens() -> None:
    given = problem()
    with pytest.raises(UsageError, match="RMU stops at a layer"):
        given.train("RMU", Optimisation(forget_kl=0.02), layer=0)


def test_a_decoding_step_can_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny("llama")
    requests = [request_of(row) for row in encode(loaded.tokenizer, cities(), "chat")]
    steps: list[int] = []

    def step(slots: Slots, body: Any) -> None:
        with recordable():
            plain(slots, body)
        steps.append(1)

    plain = Slots.step
    monkeypatch.setattr(Slots, "step", step)
    Engine(loaded, rows=4, max_new_tokens=10, graphs=False).run(requests)
    assert len(steps) > 8


@pytest.mark.parametrize("what", ["read", "write", "choose"])
def test_what_cannot_be_recorded_is_noticed(what: str) -> None:
    values = torch.arange(4.0)

    def spoil() -> None:
        with recordable():
            if what == "read":
                values.sum().item()
            elif what == "write":
                torch.tensor([1.0, 2.0])
            else:
                values[values > 1]

    with pytest.raises(AssertionError):
        spoil()
