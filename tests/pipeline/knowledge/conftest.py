"""Tools of a project whose models tell capitals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dual_data.engine.stage import Tools
from tests.pipeline import capitals
from tests.pipeline.knowledge.probed import letters


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    kit = capitals.tools(capitals.project(tmp_path), open_embedding=lambda: letters)
    yield kit
    kit.calls.close()
