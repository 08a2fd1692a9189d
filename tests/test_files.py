"""Files and folders are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dual_data.files import whole_folder, write_text, write_whole


@pytest.mark.parametrize("lasting", [False, True])
def test_a_write_that_fails_leaves_nothing(tmp_path: Path, lasting: bool) -> None:
    write_text(tmp_path / "x", "old", lasting=lasting)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "x", fail, lasting=lasting)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_who_may_read_a_file_is_decided_by_the_users_mask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == mode


def fill(folder: Path, text: str, *, replace: bool = False, failing: bool = False) -> None:
    with whole_folder(folder, replace=replace) as partial:
        (partial / "a").write_text(text)
        assert not folder.exists() or (folder / "a").read_text() != text
        if failing:
            raise RuntimeError("killed")


@pytest.mark.parametrize(("replace", "kept"), [(False, "first"), (True, "second")])
def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path, replace: bool, kept: str) -> None:
    target = tmp_path / "model"
    with pytest.raises(RuntimeError, match="killed"):
        fill(target, "half", failing=True)
    assert list(tmp_path.iterdir()) == []
    fill(target, "first")
    fill(target, "second", replace=replace)
    assert (target / "a").read_text() == kept
    with pytest.raises(RuntimeError, match="killed"):
        fill(target, "half", replace=replace, failing=True)
    assert (target / "a").read_text() == kept
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_is_replaced_and_the_folder_that_it_leads_to_stays(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "first")
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    fill(tmp_path / "model", "second", replace=True)
    assert (tmp_path / "model" / "a").read_text() == "second"
    assert (tmp_path / "elsewhere" / "a").read_text() == "first"
