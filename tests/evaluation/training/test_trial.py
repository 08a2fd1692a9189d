"""The trial of a method on made-up outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.trial import try_method
from tests.evaluation.training.oracle import problem


def test_every_method_passes_its_trial_which_draws_no_number_of_a_run() -> None:
    state = torch.get_rng_state()
    given = problem()
    endless = given.data._replace(forget=[row._replace(end_ids=()) for row in given.data.forget])
    for method in METHODS.values():
        for whole in (given.data, endless):
            one = whole._replace(forget=whole.forget[:1], refusal=whole.refusal[:1], items=whole.items[1:2])
            for data in (whole, one):
                try_method(method, {}, data, given.loaded.tokenizer, Optimisation(normalise="sequence"))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"forget_kl": 0.1}, {}, "RMU stops at a layer and has no output distributions, so forget_kl cannot be set"),
        ({"stop_forget_nll": 5.0}, {}, "RMU computes no forget loss to stop at, so stop_forget_nll cannot be set"),
        ({}, {"layer": -1}, "RMU.layer: -1 is not a layer; layers are counted from 0"),
    ],
)
def test_settings_with_which_a_method_cannot_be_trained_fail_in_its_trial(
    settings: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    given, optimisation = problem(), Optimisation(**settings)
    with pytest.raises(UsageError, match=f"^{message}$"):
        try_method(METHODS["RMU"], options, given.data, given.loaded.tokenizer, optimisation)
    with pytest.raises(UsageError, match=f"^{message}$"):
        given.train("RMU", optimisation, **options)
    try_method(METHODS["NPO"], {}, given.data, given.loaded.tokenizer, Optimisation(**settings))
