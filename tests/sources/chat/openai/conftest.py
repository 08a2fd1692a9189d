"""A real llama.cpp server, a clock that does not wait, and a log of calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dual_data.calls.fetching import Calls
from dual_data.config import Pace
from tests.clock import FakeClock
from tests.services.llama import Llama, llama


@pytest.fixture
def real() -> Llama:
    return llama()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def calls(tmp_path: Path, clock: FakeClock) -> Iterator[Calls]:
    with Calls(tmp_path / "calls.sqlite", {"judge": Pace(concurrency=2, attempts=6)}, clock=clock) as log:
        yield log
