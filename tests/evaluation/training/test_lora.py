"""Adapters on one base: the bitwise equal reference, rows grouped by adapter, peft's format, merging."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from dual_data.errors import InputError
from dual_data.evaluation.models.tiny import ARCHITECTURES, tiny
from dual_data.evaluation.training.lora import Adapters, is_whole
from dual_data.evaluation.training.optimisation import ATTENTION, LoraSpec
from tests.evaluation.training.oracle import disturb
from tests.faults.disk import no_room

SPEC = LoraSpec(rank=4, alpha=8.0, targets=(*ATTENTION, "gate_proj", "up_proj", "down_proj"))
IDS = torch.arange(3, 30)[None]


def logits(model: Any, rows: int = 1) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model(input_ids=IDS.repeat(rows, 1)).logits
    return output


def from_peft(base: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft reads an attribute that transformers has renamed
        return PeftModel.from_pretrained(base, folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fresh_and_disabled_adapters_are_the_base_to_the_bit(architecture: str) -> None:
    model = tiny(architecture).model
    base = logits(model, 2)
    adapters = Adapters(model, SPEC, seeds=(0, 1))
    assert torch.equal(logits(model, 2), base)
    disturb(adapters)
    changed = logits(model, 2)
    assert not torch.allclose(changed, base, atol=1e-2)
    with adapters.disabled():
        assert torch.equal(logits(model, 2), base)
    assert torch.equal(logits(model, 2), changed)
    adapters.remove()
    assert torch.equal(logits(model, 2), base)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_belong_to_adapters_in_order_and_one_can_be_used_alone(architecture: str) -> None:
    model = tiny(architecture).model
    adapters = Adapters(model, SPEC, seeds=(0, 1, 2))
    disturb(adapters)
    together = logits(model, 3)
    for k in range(3):
        with adapters.only(k):
            assert torch.allclose(logits(model), together[k : k + 1], atol=1e-5)


def test_an_adapter_depends_on_its_seed_alone() -> None:
    model = tiny().model
    three = Adapters(model, SPEC, seeds=(4, 5, 4))
    weights = [three.weights(k) for k in range(3)]
    name = three.slots[0].name
    assert torch.equal(weights[0][name][0], weights[2][name][0])
    assert not torch.equal(weights[0][name][0], weights[1][name][0])
    same_shape = [slot.name for slot in three.slots if slot.a_size == three.slots[0].a_size]
    starts = {tuple(weights[0][name][0].flatten().tolist()) for name in same_shape}
    assert len(starts) == len(same_shape) > 1, "layers of one shape must not start alike"
    three.remove()
    alone = Adapters(model, SPEC, seeds=(5,))
    assert torch.equal(alone.weights()[name][0], weights[1][name][0])
    bound = 1 / 32**0.5
    matrix = alone.weights()[name][0]
    assert float(matrix.abs().max()) <= bound
    assert float(matrix.std()) == pytest.approx(bound / 3**0.5, rel=0.2)


def test_peft_reads_what_we_write_and_the_other_way_round(tmp_path: Path) -> None:
    loaded = tiny("qwen")
    adapters = Adapters(loaded.model, SPEC, seeds=(0, 1))
    disturb(adapters)
    adapters.save(tmp_path / "ours", 1, base="tiny")
    with adapters.only(1):
        expected = logits(loaded.model)
    assert torch.allclose(logits(from_peft(tiny("qwen").model, tmp_path / "ours")), expected, atol=1e-5)

    base: Any = tiny("qwen").model
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(SPEC.targets), init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs: Any = get_peft_model(base, config)
    theirs.save_pretrained(tmp_path / "theirs")
    adapters.remove()
    assert Adapters.read(loaded.model, tmp_path / "theirs").spec == SPEC.model_copy(
        update={"targets": tuple(sorted(SPEC.targets))}
    )
    assert torch.allclose(logits(loaded.model), logits(theirs), atol=1e-5)


def test_a_damaged_adapter_is_refused_and_so_is_one_for_layers_that_a_model_lacks(tmp_path: Path) -> None:
    model = tiny().model
    Adapters(model, SPEC).save(tmp_path / "a")
    path = tmp_path / "a" / "adapter_config.json"
    config = json.loads(path.read_text())
    lacking = {name: value for name, value in config.items() if name != "r"}
    changed: list[dict[str, Any]] = [{"r": "many"}, {"lora_alpha": 0}, {"target_modules": None}]
    for wrong in (*(config | change for change in changed), lacking, []):
        path.write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=rf"^{path}: not readable: "):
            Adapters.read(model, tmp_path / "a")
        assert not is_whole(tmp_path / "a")
    with pytest.raises(InputError, match=r"b/adapter_config.json: not readable: .*No such file"):
        Adapters.read(model, tmp_path / "b")
    with pytest.raises(InputError, match=r"no linear layer called c_attn: name some of .*q_proj.* as targets"):
        Adapters(model, LoraSpec(targets=("c_attn",)))


def test_what_a_killed_process_left_is_no_adapter_and_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapters = Adapters(tiny().model, SPEC)
    adapters.save(tmp_path / "a")
    saved = (tmp_path / "a" / "adapter_model.safetensors").read_bytes()
    disturb(adapters)

    def cut(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(saved[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", cut)
        with pytest.raises(KeyboardInterrupt):
            adapters.save(tmp_path / "a")
        with pytest.raises(KeyboardInterrupt):
            adapters.save(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == saved
    for name in ("a", "b"):  # by a process with the same id
        adapters.save(tmp_path / name)
        assert torch.equal(Adapters.read(tiny().model, tmp_path / name).master, adapters.master)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_adapter_for_which_the_disk_has_no_room_is_an_error_of_the_system(tmp_path: Path) -> None:
    adapters = Adapters(tiny().model, SPEC)
    with no_room(), pytest.raises(OSError, match=rf"^{tmp_path / 'a'}: cannot be written: .*File too large"):
        adapters.save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("architecture", ["llama", "qwen"])
def test_merging_equals_adapting_also_for_a_tied_head(architecture: str) -> None:
    model: Any = tiny(architecture).model
    adapters = Adapters(model, SPEC.model_copy(update={"targets": (*SPEC.targets, "lm_head")}))
    disturb(adapters)
    expected = logits(model)
    embedding = model.get_input_embeddings().weight.clone()
    adapters.merge()
    assert torch.allclose(logits(model), expected, atol=1e-4)
    assert torch.equal(model.get_input_embeddings().weight, embedding)


def test_a_narrow_base_keeps_float32_masters_and_reads_a_narrow_copy() -> None:
    model = tiny(dtype=torch.bfloat16).model
    adapters = Adapters(model, SPEC)
    assert adapters.master.dtype == torch.float32
    assert adapters.live.dtype == torch.bfloat16
    adapters.master.add_(1e-4)
    adapters.publish()
    assert torch.equal(adapters.live, adapters.master.bfloat16())
    assert logits(model).dtype == torch.bfloat16
    adapters.reset()
    assert torch.equal(adapters.live, adapters.master.bfloat16()), "the next cell would begin with this one's weights"
