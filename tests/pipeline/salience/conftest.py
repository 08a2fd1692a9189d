"""Tools of a project whose facts are capitals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dual_data.engine.stage import Tools
from tests.pipeline import capitals


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    kit = capitals.tools(capitals.project(tmp_path))
    yield kit
    kit.calls.close()
