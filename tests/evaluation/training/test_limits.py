"""When a cell is stopped, and what is said of it."""

from __future__ import annotations

import math

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.training.limits import Limit, limits_of, why_stopped
from dual_data.evaluation.training.optimisation import Optimisation

FINE = torch.tensor([1.0, 1.0, 1.0, 1.0])
NAN = torch.tensor([1.0, 1.0, math.nan, math.nan])
OFF = Optimisation(stop_forget_nll=0.0, diverged_nll=0.0, diverged_norm=0.0)
RETAIN = Limit("retain_nll", 2.0, "retain loss above 2")


def test_each_part_of_the_loss_that_can_diverge_has_a_limit() -> None:
    bounded = OFF.model_copy(update={"diverged_nll": 2.0})
    (nll,) = limits_of(bounded, ["nll"], "M", 100)
    (retain,) = limits_of(bounded, ["retain_nll", "forget"], "M", 100)
    assert nll.most == retain.most == pytest.approx(2 * math.log(100))
    assert nll.why == "diverged: loss above 9.21, 2 times what guessing gives,"
    assert retain.why.startswith("diverged: retain loss above")
    assert limits_of(OFF, ["nll", "retain_nll", "forget_nll"], "M", 100) == []
    stop = OFF.model_copy(update={"stop_forget_nll": 3.0})
    assert limits_of(stop, ["forget_nll"], "M", 100) == [Limit("forget_nll", 3.0, "forget loss above 3")]
    with pytest.raises(UsageError, match="M computes no forget loss to stop at"):
        limits_of(stop, ["nll"], "M", 100)


def test_the_first_of_several_reasons_is_told() -> None:
    parts = {"retain_nll": torch.tensor([1.0, 2.0, 1.0, 3.0])}
    assert why_stopped(FINE, FINE, parts, [RETAIN], OFF) == ("retain loss above 2 at step 4", 3)
    assert why_stopped(NAN, FINE, parts, [RETAIN], OFF) == ("loss or gradient not finite at step 3", 2)
    assert why_stopped(FINE, NAN, parts, [RETAIN], OFF) == ("loss or gradient not finite at step 3", 2)
    norms, bounded = torch.tensor([1.0, 9.0, 1.0, 1.0]), OFF.model_copy(update={"diverged_norm": 5.0})
    assert why_stopped(NAN, norms, parts, [RETAIN], bounded) == ("diverged: gradient norm above 5 at step 2", 1)


def test_a_part_that_is_no_number_is_beyond_its_limit() -> None:
    parts = {"retain_nll": torch.tensor([1.0, math.nan, 1.0, 1.0])}
    assert why_stopped(FINE, FINE, parts, [RETAIN], OFF) == ("retain loss above 2 at step 2", 1)
