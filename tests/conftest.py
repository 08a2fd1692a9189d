"""Settings and fixtures for all tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

# Tests run in parallel, and spinning threads of one would take the cores from the others. Results name their number of
# threads. Torch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"
# Nothing is downloaded. The Hub's client reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.services.browser import Page

# Servers are on loopback, and repositories are made by tests: no proxy, no signing, and not the repository whose hook
# runs the tests.
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CONFIG_PARAMETERS")
for _name in [name for name in os.environ if name.lower().endswith("_proxy") or name in _OF_A_HOOK]:
    del os.environ[_name]
os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "commit.gpgsign", "GIT_CONFIG_VALUE_0": "false"}

# A shell lets its background jobs ignore Ctrl-C, and the programs that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the time of an example depends more on how busy the machine is than on the code.
settings.register_profile("dual-data", deadline=None)
settings.load_profile("dual-data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests take long, so that none of them runs alone at the end."""
    long = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "spark", "real_model")))}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Spare garbage collections what lives to the end: collected tests and imported modules, most of all objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests set the contact themselves, and never use services outside this machine."""
    monkeypatch.delenv("DUAL_DATA_CONTACT", raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The world in a read-only Oxigraph server."""
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
