"""Pushing the invented release to the loopback Hub."""

from __future__ import annotations

from typing import Any

import pytest

from dual_data.release.hub import Pushed, push
from tests.release.made import Released
from tests.services.hub import TOKEN, Hub

NAME = "made-up/dual"
FOREIGN = {"data/precious.parquet": b"years of work", "images/fig.png": b"a figure"}
"""Files that no release wrote."""
PUSHES = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""Mark of tests that push: the client passes files to its HTTP library in a deprecated way."""


def publish(hub: Hub, released: Released, tag: str = "v1.0.0", **options: Any) -> Pushed:
    """Push the release as `NAME`."""
    release, folder = released
    return push(release, folder, NAME, tag, endpoint=hub.public, token=TOKEN, **options)
