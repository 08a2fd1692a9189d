"""Losses and gradients against the trainers of open-unlearning themselves, if a checkout is available.

Three methods are left out, since they differ on purpose, as their docstrings say: PDU and RMU, and UNDIAL, whose loss
is there a mean over all tokens, those of questions and padding too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dual_data.evaluation.training.optimisation import Optimisation
from tests.evaluation.methods.test_methods import steps_of
from tests.evaluation.open_unlearning import padded, their_packages
from tests.evaluation.training.oracle import peft_twin, problem, twin_gradient
from tests.reference import needs_open_unlearning

pytestmark = needs_open_unlearning
_THEIR_NAMES = {"skip": "ignore_first_n_answer_tokens"}


class _Trainer:
    """In place of the trainer of transformers, on which theirs build: their losses need only the model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.accelerator = SimpleNamespace(device="cpu", prepare_model=lambda reference, **_: reference)
        self.is_deepspeed_enabled = False


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of the package of trainers."""
    stubs = {"trainer.unlearn.base": {"UnlearnTrainer": _Trainer}}
    with their_packages(monkeypatch, ["trainer", "trainer.unlearn"], stubs):
        yield "trainer.unlearn"


_WEIGHTS = {"gamma": 0.7, "alpha": 1.3}


@pytest.mark.parametrize(
    ("name", "module", "options"),
    [
        ("GradAscent", "grad_ascent", {}),
        ("GradDiff", "grad_diff", _WEIGHTS),
        ("NPO", "npo", {"beta": 0.5, **_WEIGHTS}),
        ("SimNPO", "simnpo", {"beta": 2.5, "delta": 6.0, **_WEIGHTS}),
        ("DPO", "dpo", {"beta": 0.5, **_WEIGHTS}),
        ("WGA", "wga", {"beta": 0.2, **_WEIGHTS}),
        ("SatImp", "satimp", {"beta1": 0.3, "beta2": 1.7, **_WEIGHTS}),
        # With labels that are skipped, theirs is a mean over the others alone.
        ("CEU", "ceu", {"skip": 0}),
    ],
)
def test_the_first_step_equals_theirs(trainers: str, name: str, module: str, options: dict[str, Any]) -> None:
    setup = problem()
    twin = peft_twin(setup, "llama")
    optimisation = Optimisation(epochs=1, batch=len(setup.forget))
    trace = setup.train(name, optimisation, **options)[0]
    ((forget, retain),) = steps_of(setup, optimisation)
    forgotten = padded([setup.forget[index] for index in forget])
    preferred = padded([setup.other[index] for index in forget])
    batch = {
        "forget": {"original": forgotten, "alternate": preferred} if name == "DPO" else forgotten,
        "retain": padded([setup.retain[index] for index in retain]),
    }
    theirs = {_THEIR_NAMES.get(option, option): value for option, value in options.items()}
    trainer = getattr(importlib.import_module(f"{trainers}.{module}"), name)(model=twin, **theirs)
    trainer.ref_model = peft_twin(setup, "llama").unload()
    loss = trainer.compute_loss(twin, batch)
    loss.backward()
    assert trace.losses == pytest.approx([loss.item()], rel=1e-5)
    expected = twin_gradient(setup, twin)
    assert (setup.adapters.gradients[0][0] - expected).norm() <= 1e-4 * expected.norm()
