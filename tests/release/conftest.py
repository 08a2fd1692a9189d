"""An invented build and its release for all tests of the folder, and a loopback Hub for huggingface_hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from dual_data.config import load_profile
from dual_data.release.build import Build
from dual_data.release.tree import write_release
from tests.release.made import ROOT, Released, invented_build
from tests.services.hub import Hub, hub


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A clean, complete build of the invented world."""
    return invented_build(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def released(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Its release and the folder, which tests must not change."""
    folder = tmp_path_factory.mktemp("release") / "tree"
    return write_release(build, folder, name="made", about=load_profile(ROOT / "pipeline" / "dual.toml").about), folder


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback; the client goes online, caches in a new folder, has no saved login and does not use Xet."""
    for name, value in (("HF_HUB_OFFLINE", False), ("HF_HUB_DISABLE_XET", True)):
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with hub() as served:
        yield served
    huggingface_hub.close_session()
