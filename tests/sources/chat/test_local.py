"""Local models behind the call log."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.errors import Offline
from dual_data.sources.chat.local import open_local, recall_local
from dual_data.sources.chat.protocol import Chat


def test_offline_no_model_is_opened_that_never_was(tmp_path: Path) -> None:
    def opening(spec: str) -> None:
        raise AssertionError(f"{spec} is opened, for which it may be downloaded")

    with Calls(tmp_path / "calls.sqlite", offline=True) as calls, pytest.raises(Offline, match="HuggingFaceTB/SmolLM2"):
        open_local(opening, "HuggingFaceTB/SmolLM2-135M-Instruct", calls, 8)  # type: ignore[arg-type]


def test_a_plan_for_a_model_that_was_never_opened_has_all_calls_to_make(tmp_path: Path) -> None:
    with Calls(tmp_path / "calls.sqlite") as calls:
        model = recall_local("/models/probe", "probe", calls, None)
        assert model.source == "local:probe"
        planned = model.plan_labels([Chat("", "Q")], ["1", "2"])
        assert planned == ("local:probe", 1, 0, 0, "the model was not loaded yet")
