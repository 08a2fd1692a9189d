"""Cells trained together, micro-batches, and how a cell ends."""

from __future__ import annotations

import math
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.methods.adapop import DualAscent
from dual_data.evaluation.methods.base import Batch, Loss, Outputs
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.training import training_run
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.schedule import plan
from dual_data.evaluation.training.train import train
from tests.evaluation.methods.formulas import FORMULAS
from tests.evaluation.training.oracle import LAYER, SPEC, Oracle, Problem, peft_twin, problem


@pytest.mark.parametrize("method", METHODS)
def test_three_cells_together_equal_three_alone(method: str) -> None:
    lrs, seeds = (1e-3, 3e-3, 1e-2), (0, 1, 0)
    optimisation = Optimisation(epochs=3, batch=3, micro_batch=2)
    together = problem(seeds=seeds, fresh=True)
    traces = together.train(method, optimisation, *lrs)
    for k, (lr, seed) in enumerate(zip(lrs, seeds, strict=True)):
        alone = problem(seeds=(seed,), fresh=True)
        trace = alone.train(method, optimisation, lr)[0]
        assert traces[k].losses == pytest.approx(trace.losses, rel=1e-4, abs=1e-5)
        assert traces[k].norms == pytest.approx(trace.norms, rel=1e-4)
        difference = (together.adapters.master[k] - alone.adapters.master[0]).abs().max()
        assert float(difference) < 1e-4


def test_ten_steps_equal_peft_with_torch_adamw_and_clipping() -> None:
    setup = problem()
    twin = peft_twin(setup, "llama")
    oracle = Oracle(setup, twin)
    optimisation = Optimisation(epochs=5, batch=4)
    trace = setup.train("NPO", optimisation, 1e-3)[0]
    assert trace.steps == 10
    parameters = [p for p in twin.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0)
    labels = {"forget": [1] * 7, "retain": [1] * 5}
    losses = []
    for epoch in plan(labels, optimisation, 0):
        for step in epoch:
            loss = FORMULAS["NPO"](oracle.step(step[0].rows["forget"], step[0].rows["retain"]))
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            adam.step()
            losses.append(loss.item())
    assert trace.losses == pytest.approx(losses, rel=1e-4)
    peft_model: Any = twin
    layer = peft_model.base_model.model.get_submodule("model.layers.1.self_attn.q_proj")
    ours = setup.adapters.weights()["model.layers.1.self_attn.q_proj"]
    assert torch.allclose(ours[0].double(), layer.lora_A["default"].weight, atol=1e-4)
    assert torch.allclose(ours[1].double(), layer.lora_B["default"].weight, atol=1e-4)


@pytest.mark.parametrize("method", ["GradDiff", "NPO", "GRU", "TaskVector", "NoiseDistil"])
def test_the_size_of_forward_passes_and_the_layout_change_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for micro_batch, plain, per_bin in ((0, None, 32), (1, None, 32), (3, None, 32), (0, True, 32), (0, None, 2)):
        monkeypatch.setattr(training_run, "rows_per_bin", Mock(return_value=per_bin))
        setup = problem(fresh=True)
        optimisation = Optimisation(epochs=2, batch=5, micro_batch=micro_batch)
        trace = train(setup.loaded, setup.adapters, METHODS[method], setup.data, [3e-3], optimisation, plain=plain)[0]
        runs.append((trace.losses, setup.adapters.master.clone()))
    for losses, weights in runs[1:]:
        assert losses == pytest.approx(runs[0][0], rel=1e-5, abs=1e-5)
        # As one vector: Adam turns even a gradient of mere rounding errors into a step of full size.
        assert (weights - runs[0][1]).norm() <= 1e-5 * runs[0][1].norm()


def test_training_is_the_same_to_the_bit_when_repeated_and_untouched_by_the_global_generator() -> None:
    weights = []
    for _ in range(2):
        torch.rand(3)
        setup = problem(fresh=True)
        setup.train("GradDiff", Optimisation(epochs=2, batch=3), 1e-3)
        weights.append(setup.adapters.master.clone())
    assert torch.equal(*weights)


def test_a_cell_that_is_not_finite_ends_with_its_reason_and_leaves_the_others_alone() -> None:
    setup = problem(seeds=(0, 0), fresh=True)
    alone = problem(fresh=True)
    optimisation = Optimisation(epochs=3, batch=7)
    expected = alone.train("GradAscent", optimisation, 1e-3)[0].losses
    setup.adapters.master[0, : setup.adapters.slots[0].a_size] = math.inf
    setup.adapters.publish()
    traces = setup.train("GradAscent", optimisation, 1e-3, 1e-3)
    assert traces[0].stopped == "loss or gradient not finite at step 1"
    assert traces[0].steps == 0
    assert traces[1].stopped == ""
    assert traces[1].losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_ends_its_cell_alone_though_the_gradient_is_finite(wrong: float) -> None:
    method = METHODS["GradAscent"]

    def loss(batch: Batch, policy: Outputs, reference: Outputs) -> Loss:
        loss = method.loss(batch, policy, reference)
        return loss._replace(value=loss.value + torch.tensor([wrong, 0.0]))

    setup, alone = problem(seeds=(0, 0), fresh=True), problem(fresh=True)
    before = setup.adapters.master[0].clone()
    optimisation = Optimisation(epochs=3, batch=7, micro_batch=3)
    broken = method._replace(loss=loss)
    ended, other = train(setup.loaded, setup.adapters, broken, setup.data, [1e-3, 1e-3], optimisation)
    assert (ended.stopped, ended.steps) == ("loss or gradient not finite at step 1", 0)
    assert torch.equal(setup.adapters.master[0], before)
    assert other.losses == pytest.approx(alone.train("GradAscent", optimisation, 1e-3)[0].losses, rel=1e-5)


def test_a_cell_stops_for_good_when_its_forget_loss_passes_the_limit() -> None:
    setup = problem(seeds=(0, 0), fresh=True)
    probe = problem(fresh=True).train("GradAscent", Optimisation(epochs=1, batch=7))[0].parts["forget_nll"][0]
    optimisation = Optimisation(epochs=8, batch=7, stop_forget_nll=probe + 0.2)
    fast, slow = setup.train("GradAscent", optimisation, 1e-2, 1e-7)
    assert fast.stopped.startswith("forget loss above")
    assert 0 < fast.steps < 8
    assert slow.stopped == ""
    assert slow.steps == 8


def test_tokens_are_those_of_the_steps_that_were_run() -> None:
    setup, optimisation = problem(fresh=True), Optimisation(epochs=5, batch=4, micro_batch=3)
    whole = setup.train("GradAscent", optimisation.model_copy(update={"stop_forget_nll": 0.0}))[0]
    ended = setup.train("GradAscent", optimisation.model_copy(update={"stop_forget_nll": 0.01}))[0]
    assert (whole.steps, ended.steps) == (10, 0)
    assert ended.tokens == whole.tokens / 5  # training ends with the epoch in which the last cell was stopped


def loud(setup: Problem) -> Problem:
    """The same with a head that is confident of every output and always wrong."""
    head: Any = setup.loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    head.weight.data.mul_(50.0)
    return setup


def guessing(setup: Problem) -> float:
    return math.log(setup.loaded.model.config.get_text_config().vocab_size)


def test_a_cell_whose_retain_rows_are_lost_has_diverged_and_leaves_the_others_alone() -> None:
    setup, alone = problem(seeds=(0, 0), fresh=True), problem(fresh=True)
    probe = problem(fresh=True).train("GradDiff", Optimisation(epochs=1, batch=7))[0].parts["retain_nll"][0]
    limit = (probe + 0.2) / guessing(setup)
    # Gradient ascent only, so that the retain rows are lost too.
    optimisation = Optimisation(epochs=8, batch=7, diverged_nll=limit)
    fast, slow = setup.train("GradDiff", optimisation, 1e-2, 1e-7, alpha=0.0)
    assert fast.stopped == (
        f"diverged: retain loss above {probe + 0.2:.3g}, {limit:g} times what guessing gives, at step {fast.steps + 1}"
    )
    assert 0 < fast.steps < 8
    assert len(fast.losses) == len(fast.parts["retain_nll"]) == fast.steps
    assert max(fast.parts["retain_nll"]) <= probe + 0.2
    expected = alone.train("GradDiff", Optimisation(epochs=8, batch=7), 1e-7, alpha=0.0)[0]
    assert (slow.stopped, slow.steps) == ("", 8)
    assert slow.losses == pytest.approx(expected.losses, rel=1e-5)


def test_a_forget_loss_far_above_guessing_is_no_divergence_and_a_retain_loss_is() -> None:
    optimisation = Optimisation(epochs=3, batch=7)
    setup = loud(problem(fresh=True))
    ascent = setup.train("GradAscent", optimisation)[0]
    assert ascent.parts["forget_nll"][0] > 10 * guessing(setup)
    assert (ascent.stopped, ascent.steps) == ("", 3)
    difference = setup.train("GradDiff", optimisation)[0]
    assert difference.stopped.startswith("diverged: retain loss above ")
    assert difference.stopped.endswith(", 2 times what guessing gives, at step 1")
    assert setup.train("GradDiff", optimisation.model_copy(update={"diverged_nll": 0.0}))[0].stopped == ""


def test_a_method_that_stops_before_all_that_is_trained_is_refused() -> None:
    setup = problem(fresh=True)
    setup.adapters.remove()
    on_head = Adapters(setup.loaded.model, LoraSpec(rank=4, alpha=8.0, targets=("lm_head",)))
    with pytest.raises(UsageError, match="RMU stops at layer 0, counted from 0, and nothing is trained up to it"):
        train(setup.loaded, on_head, METHODS["RMU"], setup.data, [1.0], Optimisation(), options={"layer": 0})


def test_a_gradient_that_explodes_is_divergence_also_of_a_method_without_likelihoods() -> None:
    setup = problem(fresh=True)
    optimisation = Optimisation(epochs=8, batch=4)
    trace = setup.train("RMU", optimisation, 1.0, layer=LAYER)[0]
    assert trace.stopped == f"diverged: gradient norm above 1e+06 at step {trace.steps + 1}"
    assert max(trace.norms) <= 1e6
    again = problem(fresh=True)
    unlimited = optimisation.model_copy(update={"diverged_norm": 0.0})
    trace = again.train("RMU", unlimited, 1.0, layer=LAYER)[0]
    assert (trace.stopped, trace.steps) == ("", 16)
    assert max(trace.norms) > 1e6


def test_float16_which_loses_small_gradients_is_not_trained_in() -> None:
    small = problem()._replace(loaded=tiny(dtype=torch.float16))
    with pytest.raises(UsageError, match=r"training in float16 loses small gradients.* use bfloat16 or float32"):
        small.train("NPO", Optimisation())


def test_a_controller_is_told_of_the_steps_of_the_last_epoch_alone() -> None:
    told: list[dict[str, list[float]]] = []

    class Listening(DualAscent):
        def after_epoch(self, parts: Any) -> dict[str, float]:
            told.append({name: list(values) for name, values in parts.items()})
            return super().after_epoch(parts)

    setup = problem(fresh=True)
    trace = train(
        setup.loaded,
        setup.adapters,
        METHODS["AdaPop"]._replace(controller=Listening),
        setup.data,
        [3e-2],
        Optimisation(epochs=3, batch=3, micro_batch=2),
        options={"tolerance": 0.0},
    )[0]
    # Seven rows in batches of three are three steps an epoch; after the last epoch nothing is left to steer.
    for name in ("retain_nll", "retain_before", "alpha"):
        values = trace.parts[name]
        assert [parts[name] for parts in told] == [values[:3], values[3:6]], name
    assert trace.parts["alpha"][:3] == [0.5] * 3  # of each step, not of its micro-batches


def test_in_a_narrow_type_too_the_size_of_forward_passes_changes_little() -> None:
    runs = []
    for micro_batch in (0, 2):
        rows, loaded = problem(), tiny("llama", dtype=torch.bfloat16)
        adapters = Adapters(loaded.model, SPEC)
        before = adapters.master.clone()
        trace = train(
            loaded,
            adapters,
            METHODS["GradDiff"],
            rows.data,
            [1e-3],
            Optimisation(epochs=2, batch=7, micro_batch=micro_batch),
        )[0]
        runs.append((trace, adapters.master - before))
    (whole, change), (parts, other) = runs
    assert parts.norms == pytest.approx(whole.norms, rel=0.05)
    assert (other - change).norm() < 0.3 * change.norm()
