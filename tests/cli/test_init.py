"""A new project: what `init` writes, and where it refuses to."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dual_data.config import About, load_profile
from dual_data.project.new import init
from tests.cli.command import ROOT, copy_project, dual_data, forget_pipeline
from tests.faults.disk import no_file_beyond


def test_init_needs_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("kept")
    outcome = dual_data("init", tmp_path / "full")
    assert outcome.code == 2
    assert "not an empty folder" in outcome.err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]


def test_init_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for target in (tmp_path / "file" / "x", tmp_path / "file" / "x" / "y"):
        outcome = dual_data("init", target)
        assert outcome.code == 2
        assert f"{target}: cannot be made, because {tmp_path / 'file'} is a file" in outcome.err
    assert (tmp_path / "file").read_text() == "kept"


def test_init_makes_a_project_that_checks(tmp_path: Path) -> None:
    forget_pipeline()
    assert dual_data("init", tmp_path / "mine").code == 0
    assert f"\n  cd '{tmp_path}/my own'\n" in dual_data("init", tmp_path / "my own").out
    assert dual_data("check", "--project", tmp_path / "mine").code == 0
    assert {"/artifacts/", "/dumps/"} < set((tmp_path / "mine" / ".gitignore").read_text().splitlines())
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        ".gitignore", "README.md", "artifacts", "pipeline", "prompts",
    ]  # fmt: skip
    readme = (tmp_path / "mine" / "README.md").read_text()
    assert readme.startswith("# mine\n")
    commands = re.findall("^dual-data (.*?) *(?:#|$)", readme, re.MULTILINE)
    assert len(commands) == 5
    for words in commands[:2]:
        outcome = dual_data(*words.split(), "--project", tmp_path / "mine")
        assert outcome.code == 0, outcome.err
    forget_pipeline()


def test_a_new_project_is_committed_first_as_it_says(tmp_path: Path) -> None:
    steps = dual_data("init", tmp_path / "mine").out.splitlines()
    commit = next(step.partition("#")[0].strip() for step in steps if step.startswith("  git init"))
    assert steps.index(f"  cd {tmp_path / 'mine'}") < next(n for n, step in enumerate(steps) if "git init" in step)
    assert f"\n{commit}" in (tmp_path / "mine" / "README.md").read_text()
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    subprocess.run(["sh", "-ec", commit], cwd=tmp_path / "mine", env={**os.environ, **git}, check=True)
    (tmp_path / "mine" / "artifacts" / "built").touch()
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=tmp_path / "mine", capture_output=True, check=True).stdout == b""


def test_changes_that_a_new_project_copies_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copy_project(tmp_path / "source")
    for module in ("dual_data.config", "dual_data.project.new"):
        monkeypatch.setattr(f"{module}.shipped_project", lambda: source)
    git = ["git", "-C", str(source), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *words], check=True)
    assert dual_data("init", tmp_path / "first").err == ""
    (source / "pipeline" / "mine.toml").write_text("")
    note = f"note: {source}, of which it is a copy, has changes that are not committed\n"
    assert dual_data("init", tmp_path / "second").err == note


def test_the_profile_for_own_facts_in_the_readme_of_a_new_project_builds(tmp_path: Path) -> None:
    forget_pipeline()
    root = tmp_path / "mine"
    init(root)
    readme = (root / "README.md").read_text()
    table, profile = (
        re.findall(f"^```{kind}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL) for kind in ("csv", "toml")
    )
    (root / "tables").mkdir()
    (root / "tables" / "places_country.csv").write_text(table[0])
    (root / "pipeline" / "mine.toml").write_text(profile[0])
    outcome = dual_data("build", "--project", root, "--profile", "mine", "--offline")
    assert outcome.code == 0, outcome.err
    assert "questions: 1 rows, 0 rejected\n" in outcome.err
    forget_pipeline()


def test_init_makes_a_project_of_another_title(tmp_path: Path) -> None:
    init(tmp_path / 'my "towns"')
    for name in ("dual", "embedded"):
        path = tmp_path / 'my "towns"' / "pipeline" / f"{name}.toml"
        assert load_profile(path).about == About(title='my "towns"')
        assert load_profile(path).stages == load_profile(ROOT / "pipeline" / f"{name}.toml").stages


@pytest.mark.parametrize("name", [b"\xff", b"\x7f", b"two\nlines"])
def test_init_in_a_folder_whose_name_no_file_could_hold(tmp_path: Path, name: bytes) -> None:
    target = tmp_path / os.fsdecode(name)
    init(target)
    assert load_profile(target / "pipeline" / "dual.toml").about.title in ("\ufffd", "two lines")


def test_init_here_and_from_what_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copy_project(tmp_path / "source")
    for path in source.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    target = tmp_path / "here"
    target.mkdir()
    monkeypatch.chdir(target)
    init(Path(), source)
    assert Path.cwd() == target
    assert Path("pipeline/dual.toml").is_file()
    assert all(path.stat().st_mode & stat.S_IWUSR for path in target.rglob("*"))
    for path in source.rglob("*"):
        path.chmod(0o755)


def test_init_on_a_full_disk_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    program = "from dual_data.cli import main; main()"
    words = [*no_file_beyond(2000), sys.executable, "-Bc", program, "init", str(tmp_path / "mine")]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == f"error: {tmp_path / 'mine'}: cannot be made (File too large); nothing was left behind\n"
    assert list(tmp_path.iterdir()) == []
