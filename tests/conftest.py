"""What every test gets."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves who operates them, and never reach beyond this machine."""
    monkeypatch.delenv("DUAL_DATA_CONTACT", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
