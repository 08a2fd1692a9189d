"""The release folder replaces an earlier one completely or not at all, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dual_data.errors import InputError, UsageError
from dual_data.release.build import Build
from dual_data.release.listed import listed_by
from dual_data.release.tree import write_release
from dual_data.release.verify import verify
from dual_data.released import Place, locate, read_release
from tests.release.made import Released


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_earlier_release_is_replaced_and_other_folders_are_not(build: Build, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    write_release(build, target, name="again")
    assert read_release(Place(folder=target)).name == "again"
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"other: exists and is not a release \(thesis\.tex\); choose another folder"):
        write_release(build, foreign, name="made")
    with pytest.raises(UsageError, match=r"thesis\.tex: exists and is not a release; choose another folder"):
        write_release(build, foreign / "thesis.tex", name="made")
    assert (foreign / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"], "nothing is left lying about"


def test_nothing_is_released_into_another_release(build: Build, released: Released, tmp_path: Path) -> None:
    target = shutil.copytree(released[1], tmp_path / "out")
    for inside in (target / "new", target / "facts" / "new"):
        with pytest.raises(UsageError, match=r"new: lies in the release .*out, where nothing else may be"):
            write_release(build, inside, name="made")
    assert verify(locate(target))[1] == []


def test_what_lacks_a_key_of_every_manifest_is_not_that_of_a_release() -> None:
    manifest: dict[str, Any] = {"format": 1, "content": "", "configs": {}}
    assert listed_by(json.dumps(manifest).encode()) == frozenset({"manifest.json"})
    for lacking in manifest:
        assert listed_by(json.dumps({key: manifest[key] for key in manifest if key != lacking}).encode()) is None
    for other in (b"[]", b"3", b"null", b"{", None):
        assert listed_by(other) is None


EXTENSION = {"manifest_version": 3, "name": "tabs", "version": "1.0", "files": {"popup.html": ""}}


@pytest.mark.parametrize("kind", ["stage", "extension"])
def test_a_folder_with_a_manifest_of_something_else_stays(build: Build, tmp_path: Path, kind: str) -> None:
    target = tmp_path / kind
    if kind == "stage":
        shutil.copytree(build.folder / "facts", target)
    else:
        target.mkdir()
        (target / "popup.html").write_text("years of work")
        (target / "manifest.json").write_text(json.dumps(EXTENSION))
    before = contents(target)
    with pytest.raises(
        UsageError, match=rf"{kind}: exists and is not a release \(.*manifest\.json.*\); choose another"
    ):
        write_release(build, target, name="made")
    assert contents(target) == before


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (["my_notes.md"], r"my_notes\.md"),
        (["facts/own.parquet", "croissant.json.bak"], r"croissant\.json\.bak, facts/own\.parquet"),
        ([".git/HEAD", ".gitignore"], r"\.git/HEAD, \.gitignore"),
        (["c", "b", "a"], "a, b, c"),
        (["e", "d", "c", "b", "a"], "a, b, c and 2 more"),
    ],
)
def test_earlier_release_with_files_of_somebody_stays(
    build: Build, released: Released, tmp_path: Path, own: list[str], names: str
) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    for path in own:
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_text("years of work")
    before = contents(target)
    with pytest.raises(UsageError, match=rf"out: holds files that no release wrote \({names}\), .*\. Move them out"):
        write_release(build, target, name="made")
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_earlier_release_with_a_link_of_somebody_stays(build: Build, released: Released, tmp_path: Path) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    (target / "mine").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UsageError, match=r"\(mine\)"):
        write_release(build, target, name="made")
    assert (target / "mine").is_symlink()


@pytest.mark.parametrize("version", [1, 99])
def test_damaged_release_of_any_version_is_replaced(
    build: Build, released: Released, tmp_path: Path, version: int
) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    manifest = json.loads((target / "manifest.json").read_text())
    del manifest["absent"], manifest["files"]["README.md"], manifest["files"]["croissant.json"]
    (target / "manifest.json").write_text(json.dumps({**manifest, "format": version, "newer": [1, {}]}))
    (target / "README.md").write_text("changed")
    (target / "facts/train.parquet").write_bytes(b"cut off")
    (target / "links/train.parquet").unlink()
    release = write_release(build, target, name="made")
    assert verify(locate(target)) == (release, [])


def test_a_link_stays_and_the_folder_behind_it_is_replaced(build: Build, tmp_path: Path) -> None:
    (tmp_path / "behind").mkdir()
    (tmp_path / "link").symlink_to("behind")
    write_release(build, tmp_path / "link", name="made")
    assert (tmp_path / "link").is_symlink()
    assert verify(locate(tmp_path / "behind"))[1] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["behind", "link"]


@pytest.mark.parametrize("target", [".", ".."])
def test_the_working_directory_is_not_replaced(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "empty" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "in")
    with pytest.raises(
        UsageError, match="holds the working directory, so it cannot be replaced; choose another folder"
    ):
        write_release(build, Path(target), name="made")


def test_a_folder_that_is_not_utf_8_is_refused_before_anything_is_written(build: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds bytes that are not in this system's encoding"):
        write_release(build, tmp_path / os.fsdecode(b"D\xf6ner"), name="made")
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_is_not_replaced(build: Build) -> None:
    with pytest.raises(UsageError, match="is a mount point, so it cannot be replaced"):
        write_release(build, Path("/dev"), name="made")


def test_failure_leaves_the_earlier_release(build: Build, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    before = (target / "manifest.json").read_bytes()

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_release(build, target, name="other", say=stop)
    assert (target / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
