"""Local models behind the call log."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.errors import Offline
from dual_data.sources.chat.local import open_local


def test_offline_no_model_is_opened_that_never_was(tmp_path: Path) -> None:
    def opening(spec: str) -> None:
        raise AssertionError(f"{spec} is opened, for which it may be downloaded")

    with Calls(tmp_path / "calls.sqlite", offline=True) as calls, pytest.raises(Offline, match="HuggingFaceTB/SmolLM2"):
        open_local(opening, "HuggingFaceTB/SmolLM2-135M-Instruct", calls, 8)  # type: ignore[arg-type]
