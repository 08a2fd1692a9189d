"""Every deviation of a release from its manifest is found."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.errors import InputError
from dual_data.release.build import Build
from dual_data.release.tree import write_release
from dual_data.release.verify import verify
from dual_data.released import Place, locate
from tests.release.made import Released

EDITED = "manifest.json: was changed: its seal does not follow from what it states"


def test_verify_recomputes_every_hash(released: Released, tmp_path: Path) -> None:
    release, target = released[0], shutil.copytree(released[1], tmp_path / "out")
    assert verify(locate(target)) == (release, [])
    frame = pl.read_parquet(target / "links/train.parquet")
    frame.reverse().write_parquet(target / "links/train.parquet")
    assert verify(Place(folder=target))[1] == ["links/train.parquet: its bytes were changed"], "the rows are the same"
    # Some writers store text as bytes, which have no content hash.
    frame.cast({"qid": pl.Binary}).write_parquet(target / "links/train.parquet")
    findings = ["links/train.parquet: its bytes were changed", "links/train.parquet: its rows were changed"]
    assert verify(Place(folder=target))[1] == findings
    frame.head(3).write_parquet(target / "links/train.parquet")
    (target / "knowledge/train.parquet").unlink()
    (target / "facts/train.parquet").write_bytes(b"PAR1 and nothing else")
    (target / "croissant.json").write_text("{}")
    (target / "README.md").unlink()
    (target / "facts/more.parquet").write_bytes(b"")
    findings = verify(Place(folder=target))[1]
    assert "links/train.parquet: its rows were changed" in findings
    assert f"links/train.parquet: 3 rows, not {frame.height}" in findings
    assert "knowledge/train.parquet: is missing" in findings
    assert any(line.startswith("facts/train.parquet: cannot be read") for line in findings)
    assert "croissant.json: was changed" in findings
    assert "README.md: is missing" in findings
    assert "facts/more.parquet: is not in manifest.json" in findings
    assert len(findings) == 9, findings


def test_what_the_hub_and_its_client_add_to_a_copy_is_no_deviation(released: Released, tmp_path: Path) -> None:
    release, target = released[0], shutil.copytree(released[1], tmp_path / "out")
    for path in (".gitattributes", ".gitignore", ".cache/huggingface/x.lock", ".git/HEAD"):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text("")
    assert verify(locate(target)) == (release, [])
    (target / "facts" / ".gitignore").write_text("")
    assert verify(locate(target))[1] == ["facts/.gitignore: is not in manifest.json"]


def test_tables_that_changed_places_are_found(released: Released, tmp_path: Path) -> None:
    target = shutil.copytree(released[1], tmp_path / "out")
    first, second = (target / "matched" / f"town_forget_{side}_5.parquet" for side in ("rare", "popular"))
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert verify(locate(target))[1] == [
        f"matched/{path.name}: its {what} were changed" for path in (first, second) for what in ("bytes", "rows")
    ]


def test_a_git_clone_is_what_was_released(released: Released, tmp_path: Path) -> None:
    release, folder = released
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(folder, origin)
    for words in (
        ["-C", origin, "init", "-q"],
        ["-C", origin, "add", "-A"],
        ["-C", origin, "-c", "user.name=made up", "-c", "user.email=made@up.invalid", "commit", "-q", "-m", "all"],
        ["clone", "-q", origin, clone],
    ):
        subprocess.run(["git", *map(str, words)], check=True, capture_output=True)
    assert verify(locate(clone)) == (release, [])
    (clone / "facts" / ".git").write_text("no part of a clone")
    assert verify(locate(clone))[1] == ["facts/.git: is not in manifest.json"]


def test_edited_manifest_is_found(released: Released, tmp_path: Path) -> None:
    release, target = released[0], shutil.copytree(released[1], tmp_path / "out")
    text = (target / "manifest.json").read_text().replace(release.configs["links"]["train"].content, "0" * 64)
    (target / "manifest.json").write_text(text)
    findings = verify(Place(folder=target))[1]
    assert findings == [
        EDITED,
        "links/train.parquet: its rows were changed",
        "manifest.json: its content hash does not follow from its tables",
    ]


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest["state"].update(snapshot=not manifest["state"]["snapshot"]),
        lambda manifest: manifest["state"].update(commit="0" * 40),
        lambda manifest: manifest["about"].update(title="Another"),
        lambda manifest: manifest["stages"]["splits"]["basis"]["params"].update(seed=1),
        lambda manifest: manifest.update(version="9.0.0"),
    ],
)
def test_what_a_manifest_states_of_the_build_cannot_be_edited(
    released: Released, tmp_path: Path, edit: Callable[[dict[str, Any]], None]
) -> None:
    target = shutil.copytree(released[1], tmp_path / "out")
    manifest = json.loads((target / "manifest.json").read_text())
    edit(manifest)
    (target / "manifest.json").write_text(json.dumps(manifest))
    assert verify(Place(folder=target))[1] == [EDITED]


def test_a_stage_of_another_build_is_found(released: Released, tmp_path: Path) -> None:
    target = shutil.copytree(released[1], tmp_path / "out")
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["stages"]["facts"]["outcome"]["data"]["content"] = "0" * 64
    (target / "manifest.json").write_text(json.dumps(manifest))
    assert verify(Place(folder=target))[1] == [
        EDITED,
        "facts/train.parquet: is not what its stage made: it is from another build",
    ]


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [("outcome", {}, "outcome: Value error, lacks the table data"), ("basis", "edited", "basis: Input should be")],
)
def test_a_stage_that_is_no_manifest_is_refused(
    build: Build, tmp_path: Path, key: str, value: object, fault: str
) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["stages"]["facts"][key] = value
    (target / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=rf"manifest.json is not that of a release \(1 fault; .*stages.facts.{fault}"):
        verify(Place(folder=target))
