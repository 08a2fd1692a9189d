"""Real servers on loopback for the tests, and what happens where one cannot be had."""

from __future__ import annotations

import os

import pytest

REQUIRED = "DUAL_DATA_REQUIRE_SERVICES"


def require(condition: object, reason: str) -> None:
    """Skip the test with `reason` unless `condition` holds; where services are required (CI), fail instead."""
    if condition:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {reason}")
    pytest.skip(reason)
