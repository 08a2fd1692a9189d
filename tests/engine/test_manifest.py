"""The state of the project's repository in the manifest."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dual_data.engine.manifest import git_state


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=made up", "-c", "user.email=made@up.invalid", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_state_that_git_cannot_tell_is_not_clean(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None, "there is no commit yet"
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "all")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "dirty": False}
    (tmp_path / ".git" / "index").write_bytes(b"damaged")
    assert git_state(tmp_path) == {"commit": commit, "dirty": True}
