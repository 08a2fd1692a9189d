"""Devices are checked by name and by what torch sees, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dual_data.errors import UsageError
from dual_data.evaluation.device import repeatable
from dual_data.evaluation.device.devices import cells_at_once, device_named, devices_named, rows_at_once, settle
from tests.cli.command import dual_data, own_project


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list with one number: how many GPUs torch sees."""
    seen = [0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen[0] > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen[0])
    return seen


def test_a_gpu_must_be_there_to_be_used(gpus: list[int]) -> None:
    assert devices_named(None) == devices_named("cpu") == ["cpu"]
    assert devices_named("cpu, cpu") == ["cpu", "cpu"]
    with pytest.raises(UsageError, match=r"cuda: the installed torch .*: use --device cpu"):
        devices_named("cuda")
    assert devices_named("cuda", used=False) == ["cuda"]
    gpus[0] = 2
    assert devices_named(None) == ["cuda"]
    assert devices_named("cuda:0,cuda:1") == ["cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match="cuda:2: there are 2 GPUs, numbered from 0 to 1"):
        devices_named("cuda:0,cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:01", "cuda:١", "cpu,"])
def test_a_name_that_is_no_device_is_refused_whether_used_or_not(name: str) -> None:
    with pytest.raises(UsageError, match="is not a device: write cpu, cuda, or one GPU"):
        devices_named(name, used=False)


def test_attacks_take_one_device() -> None:
    assert device_named("cpu") == "cpu"
    with pytest.raises(UsageError, match="this command uses one device"):
        device_named("cpu,cpu")


def test_a_gpu_takes_many_cells_of_a_small_model_at_once_and_one_of_a_large() -> None:
    sizes = (3_000_000, 135_000_000, 360_000_000, 1_240_000_000, 8_030_000_000)
    assert [cells_at_once("cuda:1", size) for size in sizes] == [8, 8, 3, 1, 1]
    assert [cells_at_once("cpu", size) for size in sizes] == [1] * 5
    assert [rows_at_once("cuda", size) for size in sizes] == [4096, 4096, 3072, 1024, 1024]
    assert [rows_at_once("cpu", size) for size in sizes] == [64] * 5


@pytest.fixture
def without_data(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Options that name a grid of the grid file whose data are not built."""
    with own_project(tmp_path / "mine") as root:
        options = ("--project", str(root), "--grid", "smoke")
        refused = dual_data("eval", "run", *options)
        assert (refused.code, "artifacts/embedded" in refused.err) == (2, True)
        yield options


@pytest.mark.parametrize("command", ["run", "attack"])
@pytest.mark.parametrize("device", ["gpu", "cuda"])
def test_the_commands_refuse_before_they_look_at_any_data(
    command: str, device: str, gpus: list[int], without_data: tuple[str, ...]
) -> None:
    result = dual_data("eval", command, *without_data, "--device", device)
    assert result.code == 2
    assert "--device: " in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("devices", ["cpu", "cpu,cuda:0", "cuda:0,cuda:0", "cuda:0,cuda:1,cuda:0"])
def test_one_device_has_nobody_to_share_a_model_with(
    devices: str, gpus: list[int], without_data: tuple[str, ...]
) -> None:
    gpus[0] = 2
    result = dual_data("eval", "run", *without_data, "--device", devices, "--shard")
    assert result.code == 2
    assert result.err.splitlines() == [
        "error: --shard: name the devices that share the model, as in --device cuda:0,cuda:1: several of one kind, "
        "each GPU once"
    ]


def test_a_gpu_becomes_the_current_one_and_does_without_plans_for_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", calls.append)
    monkeypatch.setattr(repeatable, "prepare", lambda: calls.append("prepare"))
    settle("cpu")
    assert calls == []
    settle("cuda")  # whichever is the current one
    assert calls == [False, "prepare"]
    settle("cuda:1")
    assert calls[2:] == [torch.device("cuda:1"), False, "prepare"]
