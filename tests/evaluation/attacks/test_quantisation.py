"""Simulated quantisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dual_data.evaluation.attacks.quantisation import ROUNDERS, quantised, round_to_nearest, round_to_normal_float
from dual_data.evaluation.attacks.targets import AttackOptions
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec
from tests.evaluation.training.oracle import SPEC, disturb

IDS = torch.tensor([[5, 6, 7]])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("inputs", [5, 128, 300])
def test_rounding_by_hand(bits: int, inputs: int) -> None:
    weight = torch.randn(3, inputs, generator=torch.Generator().manual_seed(0))
    rounded = round_to_nearest(weight, bits)
    levels = 2 ** (bits - 1) - 1
    for row in range(3):
        for start in range(0, inputs, 128):
            group = weight[row, start : start + 128].double().tolist()
            scale = max(map(abs, group)) / levels
            expected = [scale * round(value / scale) for value in group]
            assert rounded[row, start : start + 128].tolist() == pytest.approx(expected, abs=1e-6)
            assert len({round(value / scale) for value in rounded[row, start : start + 128].tolist()}) <= 2 * levels + 1


@pytest.mark.parametrize("inputs", [5, 64, 150])
def test_rounding_to_normal_float_by_hand(inputs: int) -> None:
    """The levels as QLoRA's authors make them: quantiles from 0.9677083 down to the middle, on each side of 0."""
    positive, negative = (
        torch.special.ndtri(torch.linspace(0.9677083, 0.5, count, dtype=torch.float64)[:-1]).numpy() for count in (9, 8)
    )
    levels = np.sort([*positive, 0.0, *-negative]) / positive.max()
    weight = torch.randn(3, inputs, generator=torch.Generator().manual_seed(0))
    rounded = round_to_normal_float(weight)
    for row in range(3):
        for start in range(0, inputs, 64):
            group = weight[row, start : start + 64].double().numpy()
            scale = np.abs(group).max()
            expected = scale * levels[np.abs(group[:, None] / scale - levels).argmin(1)]
            assert rounded[row, start : start + 64].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("rounder", ROUNDERS.values(), ids=list(ROUNDERS))
def test_zeros_stay_zeros_and_a_type_its_own(rounder: Callable[[torch.Tensor], torch.Tensor]) -> None:
    zeros = torch.zeros(2, 7, dtype=torch.bfloat16)
    assert torch.equal(rounder(zeros), zeros)
    assert rounder(zeros).dtype == torch.bfloat16


def test_the_formats_that_are_attacked_are_those_that_can_be_made() -> None:
    assert (
        AttackOptions().relevant_to("quantisation")
        == {"formats": list(ROUNDERS)}
        == {"formats": ["int8", "int4", "nf4"]}
    )


@pytest.mark.parametrize("architecture", ["llama", "qwen"])  # a tied head and a separate one
def test_weights_come_back_bit_for_bit(architecture: str) -> None:
    loaded = tiny(architecture)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0), seeds=(0, 1))
    for k in range(2):
        adapters.load_weights(k, {name: (a, torch.full_like(b, 0.1)) for name, (a, b) in adapters.weights(k).items()})
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    pointers = {name: parameter.data_ptr() for name, parameter in loaded.model.named_parameters()}
    with adapters.only(1):
        adapted = loaded.model(IDS).logits
    with adapters.disabled():
        base = loaded.model(IDS).logits
        with quantised(loaded, "int8"):
            rounded_base = loaded.model(IDS).logits
    with quantised(loaded, "int8", adapters, 1):
        rounded = loaded.model(IDS).logits
        for name, layer in loaded.model.named_modules():
            if name.endswith("q_proj"):
                a, b = adapters.weights(1)[name]
                merged = before[f"{name}.weight"] + adapters.spec.scaling * (b @ a)
                assert isinstance(layer, torch.nn.Linear)
                torch.testing.assert_close(layer.weight, round_to_nearest(merged, 8))
    assert (rounded - adapted).abs().max() < 0.2 * (base - adapted).abs().max()
    assert 0 < (rounded_base - base).abs().max() < 0.2 * base.abs().max()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {name: parameter.data_ptr() for name, parameter in loaded.model.named_parameters()} == pointers
    with pytest.raises(RuntimeError, match="inside"), quantised(loaded, "int4"):
        raise RuntimeError("inside")
    assert torch.equal(loaded.model.state_dict()["model.norm.weight"], before["model.norm.weight"])
    with adapters.disabled():
        assert torch.equal(loaded.model(IDS).logits, base)


@pytest.mark.parametrize("architecture", ["llama", "qwen"])
@pytest.mark.parametrize("target", ["v_proj", "lm_head"])
def test_an_adapter_that_changes_nothing_leaves_no_difference_to_its_control(architecture: str, target: str) -> None:
    loaded = tiny(architecture)
    adapters = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0, targets=("q_proj", target)))  # fresh: B = 0
    head = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    before, logits = head.weight.clone(), list[torch.Tensor]()
    for cell in (0, None):
        with quantised(loaded, "int4", adapters, cell):
            logits.append(loaded.model(IDS).logits)
            assert torch.equal(head.weight, before) is (target != "lm_head")
    assert torch.equal(*logits)


@pytest.mark.parametrize("targets", [("q_proj",), ("q_proj", "lm_head")])
def test_a_stage_that_stays_an_adapter_is_rounded_as_a_merged_one(targets: tuple[str, ...]) -> None:
    loaded = tiny("qwen")  # its head is tied
    stage = Adapters(loaded.model, LoraSpec(rank=4, alpha=8.0, targets=targets))
    disturb(stage)
    stage.freeze()
    adapters = Adapters(loaded.model, SPEC, seeds=(1,))
    disturb(adapters)
    stacked = []
    for cell in (0, None):
        with quantised(loaded, "int4", adapters, cell, stage):
            stacked.append(loaded.model(IDS).logits)
    unrounded = loaded.model(IDS).logits
    stage.merge()
    torch.testing.assert_close(loaded.model(IDS).logits, unrounded)
    for cell, logits in zip((0, None), stacked, strict=True):
        with quantised(loaded, "int4", adapters, cell):
            assert torch.equal(loaded.model(IDS).logits, logits)
