"""The trial of a method on made-up outputs."""

from __future__ import annotations

import torch

from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.trial import try_method
from tests.evaluation.training.oracle import problem


def test_every_method_passes_its_trial_which_draws_no_number_of_a_run() -> None:
    state = torch.get_rng_state()
    given = problem()
    for method in METHODS.values():
        for train_end in (True, False):
            cell = given.cell()
            cell = cell._replace(forget=cell.forget[:1], refusal=cell.refusal[:1], items=cell.items[1:2])
            for data in (given.cell(), cell):
                tokenizer = given.loaded.tokenizer
                try_method(method, {}, data, tokenizer, Optimisation(normalise="sequence"), train_end=train_end)
    assert torch.equal(torch.get_rng_state(), state)
