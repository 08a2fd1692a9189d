"""The project that most tests of faulty files change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import own_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository's project, with all its relations."""
    with own_project(tmp_path / "project") as root:
        yield root
