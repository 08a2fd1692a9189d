"""What every test gets."""

from __future__ import annotations

import os

# Tests run side by side, and threads of one that wait for each other would keep the cores from the others. Torch reads
# this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing is fetched. The hub's client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

# How long an example takes says more about a busy machine than about the code.
settings.register_profile("dual-data", deadline=None)
settings.load_profile("dual-data")


@pytest.fixture(autouse=True)
def _no_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves who operates them, and never reach beyond this machine."""
    monkeypatch.delenv("DUAL_DATA_CONTACT", raising=False)
