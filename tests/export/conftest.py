"""The invented release that is exported."""

from __future__ import annotations

import pytest

from dual_data.release.tree import write_release
from dual_data.released import Place, Release
from tests.release.made import invented_build


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Place]:
    """A release and its place, which tests must not change."""
    folder = tmp_path_factory.mktemp("export") / "release"
    return write_release(invented_build(tmp_path_factory.mktemp("export-project")), folder, name="dual"), Place(
        folder=folder
    )
