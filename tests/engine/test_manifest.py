"""The state of the project's repository in the manifest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

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


def test_a_name_that_is_not_utf_8_is_a_new_file(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "all")
    git(tmp_path, "config", "core.quotePath", "false")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / os.fsdecode(b"\xe9.md")).touch()
    state = git_state(tmp_path)
    assert state is not None
    assert state["dirty"]


@pytest.mark.parametrize("below", ["", "benchmarks/mine"])
@pytest.mark.parametrize(
    ("file", "dirty"),
    [
        ("dumps/enwiki-20261101-page.sql.gz", False),
        ("figures/popularity.svg", False),
        ("tasks/dual_metrics.py", False),
        ("pipeline/relations/P36.toml", True),
        ("pipeline/methods/mine.py", True),
        ("prompts/judge.txt", True),
        ("dual_data/engine/new.py", True),
        ("README.md", True),  # committed, and changed
    ],
)
def test_new_files_count_only_where_a_build_reads_them(tmp_path: Path, below: str, file: str, dirty: bool) -> None:
    project = tmp_path / below
    project.mkdir(parents=True, exist_ok=True)
    (project / "README.md").write_text("as committed")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "all")
    path = project / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("new")
    state = git_state(project)
    assert state is not None
    assert state["dirty"] == dirty
    (project / ".gitignore").write_text(f"/{file}\n")
    state = git_state(project)
    assert state is not None
    assert state["dirty"] == (file == "README.md"), "ignored files count nowhere"
