"""On a separate device, which accepts no tensor of the host, everything gives the results of the host.

This shows what a CPU cannot: tensors created on the wrong device, and steps that wait for the device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

from dual_data.evaluation.measuring.decoding import CHECK_EVERY
from dual_data.evaluation.methods import METHODS
from tests.evaluation.on_separate_device import NEW_TOKENS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
        reason=f"torch {torch.__version__} knows no device that is written in Python",
    ),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [sys.executable, "-W", "error", "-m", "tests.evaluation.on_separate_device"]
    process = subprocess.run(
        [*command, str(tmp_path_factory.mktemp("rows"))],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HF_DEACTIVATE_ASYNC_LOAD": "1"},  # other threads know nothing of the device
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    parsed: dict[str, Any] = json.loads(process.stdout)
    return parsed


@pytest.mark.parametrize("method", METHODS)
def test_training_there_is_training_here(results: dict[str, Any], method: str) -> None:
    here, there = results["steps"][method]["here"], results["steps"][method]["there"]
    assert [len(losses) for losses in here] == [4, 4]
    assert there == [pytest.approx(losses, abs=1e-4) for losses in here]


@pytest.mark.parametrize("method", METHODS)
def test_the_host_waits_as_often_for_seven_steps_as_for_two(results: dict[str, Any], method: str) -> None:
    waits = results["steps"][method]["waits"]
    assert waits[0] == waits[1]
    assert sum(waits[0].values()) > 0, "at the end of an epoch it does"


def test_a_grid_and_its_attacks_find_there_what_they_find_here(results: dict[str, Any]) -> None:
    here, there = results["grid"]["here"], results["grid"]["there"]
    assert here[0] == {"tally": {"done": 5, "stopped": 0, "failed": 0, "elsewhere": 0}, "failed": []}
    assert [sorted(entry) for entry in here[1:]] == 5 * [["items", "panel", "scores"]] + 4 * [["attack"]]
    assert list(_differences(here, there)) == []


def test_decoding_waits_once_for_several_tokens(results: dict[str, Any]) -> None:
    checks = -(-(NEW_TOKENS - 1) // CHECK_EVERY) + 1
    assert 0 < results["decoding"]["_local_scalar_dense"] <= checks
    assert results["rows"] > checks


def test_what_a_gpu_refuses_is_refused(results: dict[str, Any]) -> None:
    assert results["refused"] == "add: expected all tensors to be on the same device"


def _differences(here: Any, there: Any, path: str = "") -> Any:
    """Differences beyond rounding: (path, here, there)."""
    if isinstance(here, dict) and here.keys() == there.keys():
        for name in here:
            yield from _differences(here[name], there[name], f"{path}/{name}")
    elif isinstance(here, list) and len(here) == len(there):
        for number, (here_item, there_item) in enumerate(zip(here, there, strict=True)):
            yield from _differences(here_item, there_item, f"{path}/{number}")
    elif there != (pytest.approx(here, rel=1e-4, abs=1e-4, nan_ok=True) if isinstance(here, float) else here):
        yield path, here, there
