"""Exports overwrite nothing but earlier exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dual_data.errors import InputError, UsageError
from dual_data.export.folder import write_export
from dual_data.released import Place, Release

Exported = tuple[Release, Place]


def test_files_of_an_earlier_export_are_replaced_or_removed(exported: Exported, tmp_path: Path) -> None:
    write_export("kind", {"a/x.yaml": "1", "b.yaml": "2"}, tmp_path, *exported)
    (tmp_path / "mine.yaml").write_text("mine")
    write_export("kind", {"a/x.yaml": "3"}, tmp_path, *exported)
    assert (tmp_path / "a/x.yaml").read_text() == "3"
    assert not (tmp_path / "b.yaml").exists()
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert json.loads((tmp_path / "dual-data-kind.json").read_text())["content"] == exported[0].content


def test_exports_of_different_kinds_share_a_folder(exported: Exported, tmp_path: Path) -> None:
    write_export("one", {"a/x.yaml": "1", "b.yaml": "2"}, tmp_path, *exported)
    write_export("other", {"a/x.json": "3"}, tmp_path, *exported)
    write_export("one", {"b.yaml": "4"}, tmp_path, *exported)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "a/x.json", "b.yaml", "dual-data-one.json", "dual-data-other.json",
    ]  # fmt: skip


def test_a_file_of_somebody_else_is_never_overwritten(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("mine")
    with pytest.raises(UsageError, match="was not written by an earlier export"):
        write_export("kind", {"a.yaml": "1", "b.yaml": "2"}, tmp_path, *exported)
    assert (tmp_path / "b.yaml").read_text() == "mine"
    assert not (tmp_path / "a.yaml").exists()


def test_an_export_that_was_cut_off_can_be_repeated(exported: Exported, tmp_path: Path) -> None:
    write_export("kind", {"old.yaml": "1"}, tmp_path, *exported)
    files = {"a.yaml": "1", "b/x.yaml": "2"}
    for name in ("new", "."):
        target = tmp_path / name
        target.mkdir(exist_ok=True)
        (target / "b").write_text("in the way of the folder b")
        with pytest.raises(OSError, match="b"):
            write_export("kind", files, target, *exported)
        assert (target / "a.yaml").exists(), "it was cut off after its first file"
        listing = json.loads((target / "dual-data-kind.json").read_text())
        assert not {"release", "version", "content"} & listing.keys(), "its files may be of two releases"
        (target / "b").unlink()
        write_export("kind", files, target, *exported)
        listing = json.loads((target / "dual-data-kind.json").read_text())
        assert (listing["files"], listing["content"]) == (sorted(files), exported[0].content)
    assert not (tmp_path / "old.yaml").exists()


def test_a_list_that_names_files_elsewhere_removes_nothing_there(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    target = tmp_path / "out"
    target.mkdir()
    (target / "dual-data-kind.json").write_text(
        json.dumps({"name": "dual", "title": "dual", "files": ["../precious", "gone.yaml"]})
    )
    write_export("kind", {"a.yaml": "1"}, target, *exported)
    assert (tmp_path / "precious").exists()


def test_the_export_of_another_dataset_is_kept(exported: Exported, tmp_path: Path) -> None:
    release, place = exported
    mine = release.model_copy(update={"name": "mine"})
    for about in (release.about, release.about.model_copy(update={"title": "Capitals"})):
        target = tmp_path / (about.title or "untitled")
        write_export("kind", {"a.yaml": "1", "b.yaml": "1"}, target, release.model_copy(update={"about": about}), place)
        for other in (mine, release.model_copy(update={"about": about.model_copy(update={"title": "Rivers"})})):
            before = {path: path.read_text() for path in target.iterdir()}
            called = "dual (Capitals)" if about.title else "dual"
            with pytest.raises(UsageError) as refused:
                write_export("kind", {"a.yaml": "2"}, target, other, place)
            assert str(refused.value) == (
                f"{target}: holds the export of {called}, whose files that of "
                f"{'mine' if other is mine else 'dual (Rivers)'} would remove; choose another folder"
            )
            assert {path: path.read_text() for path in target.iterdir()} == before
    later = release.model_copy(update={"content": "0" * 64, "version": "2.0.0"})
    write_export("kind", {"a.yaml": "3"}, tmp_path / "untitled", later, place)
    assert not (tmp_path / "untitled" / "b.yaml").exists()


@pytest.mark.parametrize(
    "listing",
    [
        "[",
        "[]",
        "{}",
        '{"files": []}',
        '{"name": "dual", "title": "dual", "files": 5}',
        '{"name": "dual", "title": "dual", "files": [1]}',
        '{"name": "dual", "title": "dual", "files": ["a\\u0000"]}',
    ],
)
def test_a_list_that_cannot_be_read_stops(exported: Exported, tmp_path: Path, listing: str) -> None:
    (tmp_path / "dual-data-kind.json").write_text(listing)
    with pytest.raises(InputError, match="is not the list of an earlier export"):
        write_export("kind", {"a.yaml": "1"}, tmp_path, *exported)


def test_nothing_is_written_into_the_release(exported: Exported) -> None:
    release, place = exported
    assert place.folder is not None
    before = sorted(place.folder.rglob("*"))
    for target in (place.folder, place.folder / "tofu"):
        with pytest.raises(UsageError, match="is the release or inside it"):
            write_export("kind", {"a.yaml": "1"}, target, release, place)
    assert sorted(place.folder.rglob("*")) == before
