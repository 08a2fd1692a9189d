"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

# Tests run side by side, and threads of one that wait for each other would keep the cores from the others. Torch reads
# this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing is fetched. The hub's client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.services.browser import Page

# How long an example takes says more about a busy machine than about the code.
settings.register_profile("dual-data", deadline=None)
settings.load_profile("dual-data")


@pytest.fixture(autouse=True)
def _no_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say themselves who operates them, and never reach beyond this machine."""
    monkeypatch.delenv("DUAL_DATA_CONTACT", raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The world behind Oxigraph, which nobody can write to."""
    from tests.services.oxigraph import oxigraph
    from tests.wiki.world import world

    with oxigraph(world().turtle()) as url:
        yield url


@pytest.fixture(scope="module")
def running() -> Iterator[Page]:
    """A real browser."""
    from tests.services.browser import browser

    with browser() as page:
        yield page
