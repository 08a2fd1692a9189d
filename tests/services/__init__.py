"""Real servers on loopback for the tests, and what happens where one cannot be had."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

REQUIRED = "DUAL_DATA_REQUIRE_SERVICES"


def require(condition: object, reason: str) -> None:
    """Skip the test with `reason` unless `condition` holds; where services are required (CI), fail instead."""
    if condition:
        return
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1, but {reason}")
    pytest.skip(reason)


def require_spark() -> None:
    """Skip or fail as `require` does, unless Spark can be started here."""
    require(importlib.util.find_spec("pyspark"), "PySpark is not installed (pip install 'dual-data[spark]')")
    require(shutil.which("java"), "Java is not installed (Debian package default-jre-headless)")
