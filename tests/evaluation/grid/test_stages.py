"""Training stages: trained once, stored by content, undone bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dual_data.errors import DualDataError, InputError
from dual_data.evaluation.grid import stages
from dual_data.evaluation.grid.stages import applied, prepare, stage_key
from dual_data.evaluation.measuring.local_model import LocalModel
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.rows.encoding import PROFILES, TrainingRows, encode
from dual_data.evaluation.settings import StageSettings
from dual_data.evaluation.training.lora import Adapters
from dual_data.evaluation.training.optimisation import LoraSpec, Optimisation
from dual_data.evaluation.training.train import train
from dual_data.sources.chat.protocol import Chat, Sampling
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import SPEC

CHAT = PROFILES["chat"]
STAGE = StageSettings(train=("forget",), epochs=80, batch=3, lr=2e-2, lora=LoraSpec(rank=8, alpha=16))


def test_a_stage_learns_its_rows_once_and_leaves_no_trace(tmp_path: Path) -> None:
    loaded = tiny()
    rows = cities(3)
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    prepared = prepare(loaded, STAGE, rows, seed=0, profile=CHAT, folder=tmp_path)
    weights = prepared.folder / "adapter_model.safetensors"
    written = weights.stat().st_mtime_ns
    assert prepared.notes == ()
    assert prepared.seconds > 0
    # What the training took is also known where the stage was already trained.
    assert prepare(loaded, STAGE, rows, seed=0, profile=CHAT, folder=tmp_path) == prepared
    assert weights.stat().st_mtime_ns == written
    for apply in ("merge", "stack"):
        with applied(loaded, prepared._replace(apply=apply)):
            chats = [Chat(CHAT.system, row.question) for row in rows]
            answers = LocalModel(loaded).generate(chats, Sampling(8))
            assert [texts[0] for texts in answers] == [row.answer for row in rows]
        assert all(torch.equal(before[name], tensor) for name, tensor in loaded.model.state_dict().items())
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "adapter_config.json", "../{}.json"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_stage_that_is_not_whole_is_trained_again(tmp_path: Path, lost: str, cut: bool) -> None:
    loaded, stage, rows = tiny(), STAGE.model_copy(update={"epochs": 1}), cities(3)
    prepared = prepare(loaded, stage, rows, seed=0, profile=CHAT, folder=tmp_path)
    weights = prepared.folder / "adapter_model.safetensors"
    before = weights.read_bytes()
    path = prepared.folder / lost.format(prepared.folder.name)
    path.write_bytes(path.read_bytes()[:-20]) if cut else path.unlink()
    again = prepare(loaded, stage, rows, seed=0, profile=CHAT, folder=tmp_path)
    assert again.folder == prepared.folder
    assert weights.read_bytes() == before
    with applied(loaded, again):
        pass


def test_unlearning_on_a_stacked_stage_equals_unlearning_on_a_merged_one(tmp_path: Path) -> None:
    loaded = tiny()
    rows = cities(5)
    stage = STAGE.model_copy(update={"epochs": 3})
    prepared = prepare(loaded, stage, rows, seed=0, profile=CHAT, folder=tmp_path)
    encoded = encode(loaded.tokenizer, rows, CHAT)
    losses = []
    for apply in ("merge", "stack"):
        with applied(loaded, prepared._replace(apply=apply)):
            adapters = Adapters(loaded.model, SPEC)
            data = TrainingRows(encoded[:3], encoded[3:], seed=0)
            losses.append(train(loaded, adapters, METHODS["NPO"], data, [1e-3], Optimisation(epochs=3))[0].losses)
            adapters.remove()
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_stage_that_cannot_be_put_on_leaves_the_base_alone(tmp_path: Path) -> None:
    loaded = tiny()
    rows = cities(3)
    prepared = prepare(loaded, STAGE.model_copy(update={"epochs": 1}), rows, seed=0, profile=CHAT, folder=tmp_path)
    (prepared.folder / "adapter_model.safetensors").write_bytes(b"")
    ids = torch.tensor([[5, 6, 7]])
    before = loaded.model(ids).logits
    for apply in ("merge", "stack"):
        with (
            pytest.raises(InputError, match=r"safetensors: not readable: .*header"),
            applied(loaded, prepared._replace(apply=apply)),
        ):
            pass
        assert torch.equal(loaded.model(ids).logits, before)
        assert not any(module._forward_hooks for module in loaded.model.modules())


def test_a_base_that_cannot_be_copied_keeps_no_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = tiny()
    prepared = prepare(loaded, STAGE.model_copy(update={"epochs": 1}), cities(3), seed=0, profile=CHAT, folder=tmp_path)

    def cramped(_: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(stages, "held", cramped)
    with pytest.raises(MemoryError), applied(loaded, prepared):
        pass
    assert not any(module._forward_hooks for module in loaded.model.modules())


def test_the_address_of_a_stage_follows_what_it_learns_and_from_what() -> None:
    rows, info = cities(), tiny().info

    def key(**changed: Any) -> str:
        arguments: dict[str, Any] = {"info": info, "stage": STAGE, "rows": rows, "seed": 0, "profile": CHAT} | changed
        return stage_key(**arguments)

    different = {
        key(),
        key(stage=STAGE.model_copy(update={"lr": 1e-3})),
        key(rows=rows[1:]),
        key(seed=1),
        key(info=info._replace(template="{{ messages }}")),
        key(profile=PROFILES["dual-raw"]),
    }
    assert len(different) == 6
    assert key(stage=STAGE.model_copy(update={"micro_batch": 2, "apply": "stack"})) == key()
    parted = STAGE.model_copy(update={"normalise": "micro_batch"})
    assert key(stage=parted.model_copy(update={"micro_batch": 2})) != key(stage=parted)


def test_a_stage_that_diverges_is_no_stage(tmp_path: Path) -> None:
    for changed, reason in (
        ({"lr": 1e30}, "not finite"),
        # Random weights have a higher loss than guessing.
        ({"diverged_nll": 1.0}, "diverged: loss above 5.99, 1 times what guessing gives, at step 1"),
    ):
        wild = STAGE.model_copy(update={"epochs": 4, **changed})
        with pytest.raises(DualDataError, match=f"{reason}.*; lower its learning rate"):
            prepare(tiny(), wild, cities(3), seed=0, profile=CHAT, folder=tmp_path)
    assert not list(tmp_path.glob("*/adapter_config.json"))


@pytest.mark.parametrize("change", [{"weights": "other"}, {"dtype": "bfloat16"}])
def test_a_stage_of_another_model_is_another(change: dict[str, Any]) -> None:
    info = tiny().info
    assert len({stage_key(one, STAGE, cities(), 0, PROFILES["chat"]) for one in (info, info._replace(**change))}) == 2
