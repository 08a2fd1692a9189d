"""What a model can be called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from dual_data.evaluation.models.names import SHORT_NAMES, SMOLLM2, TINY, name_fault
from dual_data.evaluation.models.tiny import ARCHITECTURES


def test_short_names_are_those_that_are_loaded() -> None:
    assert (SMOLLM2, *(TINY + architecture for architecture in ARCHITECTURES)) == SHORT_NAMES


def test_names_that_can_be_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").touch()
    for spec in (*SHORT_NAMES, "owner/name", str(tmp_path), str(tmp_path / "model.gguf")):
        assert name_fault(spec) == ""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert name_fault("gpt2").startswith("'gpt2': no such model. Write smollm2, tiny-llama, ")
    snapshot = tmp_path / "models--gpt2" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (tmp_path / "models--gpt2" / "refs").mkdir()
    (tmp_path / "models--gpt2" / "refs" / "main").write_text("c0ffee")
    assert name_fault("gpt2") == ""


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("smolm2", "; did you mean 'smollm2'?"),
        ("tiny-lama", "; did you mean 'tiny-llama'?"),
        ("./nowhere", "."),
        ("/no/where", "."),
        ("~no-such-user/where", "."),
    ],
)
def test_names_that_cannot_be_models(spec: str, hint: str) -> None:
    assert name_fault(spec).startswith(f"{spec!r}: no such model{hint} Write ")


def test_a_name_is_judged_without_torch() -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from dual_data.evaluation.models.names import name_fault\n"
        "assert name_fault('smolm2') and not name_fault('smollm2')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
