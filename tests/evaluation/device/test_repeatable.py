"""Deterministic training on a GPU and steps that cannot be recorded, tested without a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch

from dual_data.evaluation.device.memory import is_out_of_memory
from dual_data.evaluation.device.repeatable import is_refused, prepare, repeatable
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import Loss, Method
from dual_data.evaluation.training import training_run
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.optimiser import AdamW
from dual_data.evaluation.training.train import train
from dual_data.evaluation.training.training_run import Trace
from tests.evaluation.emulated_graphs import emulate
from tests.evaluation.training.oracle import Problem, problem

GPU = torch.device("cuda")
HOW = Optimisation(epochs=3, batch=4, micro_batch=2)


def modes() -> tuple[bool, ...]:
    memory: Any = torch.utils.deterministic
    on, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return on, warns, memory.fill_uninitialized_memory


def test_the_modes_of_torch_hold_inside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:2")
    before = modes()
    inside: list[object] = []

    def fail() -> None:
        with repeatable(GPU):
            inside.extend([modes(), os.environ["CUBLAS_WORKSPACE_CONFIG"]])
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert inside == [(True, False, False), ":4096:8"]
    assert modes() == before
    for context in (repeatable(torch.device("cpu")), repeatable(GPU, wanted=False)):
        with context:
            assert modes() == before
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    prepare()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(_: torch.device, *, wanted: bool) -> AbstractContextManager[None]:
        return repeatable(GPU, wanted=wanted)

    monkeypatch.setattr(training_run, "repeatable", always)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")


def trained(
    method: Method = METHODS["NPO"], setup: Problem | None = None, **options: Any
) -> tuple[Trace, torch.Tensor]:
    setup = setup or problem()
    trace = train(setup.loaded, setup.adapters, method, setup.data, [1e-3], HOW, **options)[0]
    return trace, setup.adapters.master.clone()


@pytest.mark.usefixtures("as_on_a_gpu")
def test_forward_and_backward_are_in_one_order_and_the_optimiser_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[bool]] = {"forward": set(), "backward": set(), "step": set()}

    def note(where: str) -> None:
        seen[where].add(torch.are_deterministic_algorithms_enabled())

    setup = problem()
    layer: Any = setup.loaded.model.base_model.layers[1]  # type: ignore[index]
    layer.register_forward_hook(lambda *_: note("forward"))
    layer.register_full_backward_hook(lambda *_: note("backward"))
    stepped = AdamW.step

    def step(optimiser: AdamW, keep: torch.Tensor | None = None) -> None:
        note("step")
        stepped(optimiser, keep)

    monkeypatch.setattr(AdamW, "step", step)
    trace, _ = trained(setup=setup)
    assert trace.notes == {}
    # The reference's passes are forward only, and deterministic anyway.
    assert seen == {"forward": {True, False}, "backward": {True}, "step": {False}}


@pytest.mark.usefixtures("as_on_a_gpu")
def test_an_operation_without_an_order_is_computed_all_the_same_and_noted() -> None:
    method = METHODS["NPO"]
    modes_seen: list[bool] = []

    def refusing(*arguments: Any, beta: float = 0.1, gamma: float = 1.0, alpha: float = 1.0) -> Any:
        loss = method.loss(*arguments, beta=beta, gamma=gamma, alpha=alpha)
        modes_seen.append(torch.are_deterministic_algorithms_enabled())
        if modes_seen[-1]:
            loss.value.sum().backward()  # type: ignore[no-untyped-call] # half done
            raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ...")
        return loss

    expected, weights = trained()
    actual, again = trained(method._replace(loss=refusing))
    assert modes_seen[:2] == [True, False]
    assert True not in modes_seen[1:]
    reason = "training was not repeatable: cumsum_cuda_kernel does not have a deterministic implementation, but you set"
    # Equal up to rounding, because heads are grouped where training need not be deterministic.
    assert actual._replace(losses=[], parts={}, norms=[]) == expected._replace(
        losses=[], parts={}, norms=[], fallbacks=(f"{reason} ...",)
    )
    assert actual.losses == pytest.approx(expected.losses, rel=1e-5)
    assert torch.allclose(weights, again, atol=1e-4)
    assert not is_refused(RuntimeError("CUDA error: out of memory"))


class _Refusing(torch.autograd.Function):
    """The same numbers, with a gradient that has no order."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but you set ...")
        return gradient


@pytest.mark.usefixtures("as_on_a_gpu")
def test_where_the_gradient_of_one_term_has_no_order_those_of_the_others_are_not_taken_twice() -> None:
    method = METHODS["GRU"]

    def refusing(*arguments: Any) -> Loss:
        loss = method.loss(*arguments)
        assert loss.terms is not None
        return loss._replace(terms={**loss.terms, "retain": _Refusing.apply(loss.terms["retain"])})  # type: ignore[no-untyped-call]

    expected, weights = trained(method)
    actual, again = trained(method._replace(loss=refusing))
    assert [fallback.partition(":")[0] for fallback in actual.fallbacks] == ["training was not repeatable"]
    assert actual.norms == pytest.approx(expected.norms, rel=1e-5)
    assert torch.allclose(weights, again, atol=1e-4)


class _Stream:
    created = waits = 0

    def __init__(self, *_: Any) -> None:
        _Stream.created += 1

    def wait_stream(self, _: Any) -> None:
        _Stream.waits += 1


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[RuntimeError]:
    """Recording fails as on a GPU: with the last error of the list, then once more. Each try appends to the list."""
    errors: list[RuntimeError] = []

    @contextmanager
    def graph(*_: Any, **__: Any) -> Iterator[None]:
        first = errors[-1]
        errors.append(first)
        try:
            raise first
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")
        yield

    emulate(monkeypatch)
    current = _Stream()
    _Stream.created = _Stream.waits = 0
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: current)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    return errors


def test_steps_that_cannot_be_recorded_are_taken_as_they_are(tries: list[RuntimeError]) -> None:
    expected, weights = trained()
    tries.append(RuntimeError("operation not permitted when stream is capturing\nSearch for `cudaError...'"))
    setup = problem()
    trace, again = trained(setup=setup, graphs=True)
    fallbacks = ("training was not recorded: RuntimeError: operation not permitted when stream is capturing",)
    assert trace == expected._replace(fallbacks=fallbacks)
    assert torch.equal(weights, again)
    assert len(tries) == 2
    trace, _ = trained(setup=setup, graphs=True)
    assert trace.fallbacks == fallbacks
    assert len(tries) == 2  # known by now
    assert _Stream.created == 1  # each stream keeps memory of its own


def test_memory_that_runs_out_in_a_recording_is_known_as_such(tries: list[RuntimeError]) -> None:
    tries.append(torch.OutOfMemoryError("made up"))
    setup = problem()
    with pytest.raises(RuntimeError, match="during capture") as raised:
        trained(setup=setup, graphs=True)
    assert is_out_of_memory(raised.value)
    assert _Stream.waits == 2 * 4  # also in the step that failed: the next try waits for this one
    tries.append(RuntimeError("operation not permitted when stream is capturing"))
    trained(setup=setup, graphs=True)
    assert len(tries) == 4  # a try for each
