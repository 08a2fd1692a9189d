"""What methods do besides a loss: combine the gradients of its terms."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.base import inner
from dual_data.evaluation.methods.gru import rectified
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from tests.evaluation.training.oracle import problem

CELLS = 200


def _made(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    """A gradient of two buffers for each cell."""
    random = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(CELLS, width, generator=random) for width in (4, 3)]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_rectified_gradient_never_opposes_that_of_the_retain_loss(scale: float) -> None:
    forget, retain = _made(0), _made(1, scale)
    gradient = rectified({"forget": forget, "retain": retain})
    opposed = inner(forget, retain)[:, 0] < 0
    assert 50 < int(opposed.sum()) < 150
    cosine = inner(gradient, retain) / (inner(gradient, gradient) * inner(retain, retain)).sqrt()
    assert float(cosine.min()) > -1e-5
    assert float(cosine[opposed].abs().max()) < 1e-5
    for before, after in zip(forget, gradient, strict=True):
        assert torch.equal(after[~opposed], before[~opposed])
    # No gradient that does not oppose it is nearer: what was taken away lies along the retain gradient.
    removed = [before - after for before, after in zip(forget, gradient, strict=True)]
    along = inner(removed, retain)[opposed] / (inner(removed, removed) * inner(retain, retain))[opposed].sqrt()
    assert along.min() == pytest.approx(-1.0, abs=1e-4)
    assert along.max() == pytest.approx(-1.0, abs=1e-4)


def test_where_nothing_is_to_be_kept_the_gradient_is_that_of_ascent() -> None:
    forget = _made(0)
    gradient = rectified({"forget": forget, "retain": [torch.zeros_like(buffer) for buffer in forget]})
    assert all(torch.equal(*pair) for pair in zip(gradient, forget, strict=True))


def test_where_the_losses_do_not_conflict_gru_is_gradient_ascent() -> None:
    setup, other = problem(fresh=True), problem(fresh=True)
    agreeing = METHODS["GRU"]._replace(gradient=lambda terms: terms["forget"])
    how = Optimisation(epochs=3, batch=4, micro_batch=3)
    (trace,) = train(setup.loaded, setup.adapters, agreeing, setup.data, [1e-2], how)
    assert trace.losses == pytest.approx(other.train("GradAscent", how, 1e-2)[0].losses, rel=1e-5)
    assert torch.allclose(setup.adapters.master, other.adapters.master, atol=1e-5)


def test_gru_forgets_and_keeps_more_than_gradient_ascent() -> None:
    how, kept = Optimisation(epochs=8, batch=7, diverged_nll=0.0), {}
    for name in ("GradAscent", "GRU"):
        setup = problem(fresh=True)
        parts = setup.train(name, how, 3e-3)[0].parts
        assert all(before < after for before, after in pairwise(parts["forget_nll"])), name
        # The loss on the rows to keep, by a run without steps.
        kept[name] = setup.train("GradDiff", Optimisation(epochs=1, batch=7))[0].parts["retain_nll"][0]
    start = problem(fresh=True).train("GradDiff", Optimisation(epochs=1, batch=7))[0].parts["retain_nll"][0]
    assert start < kept["GradAscent"]
    assert kept["GRU"] < kept["GradAscent"]
