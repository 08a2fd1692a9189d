"""Files and folders are there whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from dual_data.errors import ProjectBusy
from dual_data.system.files import whole_folder, write_parquet, write_text, write_whole


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


def test_a_lack_of_temporary_folders_is_not_told_as_one_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(OSError, match="No usable temporary directory found"), whole_folder(tmp_path / "x"):
        tempfile.gettempdir()


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


MOMENTS = ("while it is filled", "before it has its name")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("replace", [False, True])
def test_the_next_writer_clears_what_a_killed_one_left(tmp_path: Path, moment: str, replace: bool) -> None:
    target = tmp_path / "model"
    if replace:
        fill(target, "first")
    code = """
import os, signal, sys
from pathlib import Path
from dual_data.errors import ProjectBusy
from dual_data.system.files import whole_folder
target, moment, replace = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
move = Path.rename
def killed(path, to):
    if to == target:
        os.kill(os.getpid(), signal.SIGKILL)
    return move(path, to)
Path.rename = killed
with whole_folder(target, replace=replace) as partial:
    (partial / "a").write_text("half")
    partial.with_name("cache").mkdir()
    if moment == "while it is filled":
        os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, str(target), moment, str(replace)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with pytest.raises(RuntimeError, match="killed"):
        fill(target, "failed", replace=replace, failing=True)
    assert [path.name for path in tmp_path.iterdir()] == (["model"] if replace else [])
    assert not replace or (target / "a").read_text() == "first"
    fill(target, "second", replace=replace)
    assert (target / "a").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("moment", "kept"), [("out of the way", "first"), ("into its place", "first"), ("in its place", "second")]
)
def test_an_interrupt_while_a_folder_is_replaced_leaves_one_of_the_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, kept: str
) -> None:
    target = tmp_path / "model"
    fill(target, "first")
    move = Path.rename

    def interrupted(path: Path, to: Path) -> Path:
        if moment == "into its place" and to == target and path.name == "tree":
            raise KeyboardInterrupt
        moved = move(path, to)
        if path == target if moment == "out of the way" else path.name == "tree":
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(target, "second", replace=True)
    assert (target / "a").read_text() == kept
    assert list(tmp_path.iterdir()) == [target]


def test_one_process_at_a_time_writes_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with whole_folder(target) as partial:
        (partial / "a").write_text("first")
        with pytest.raises(ProjectBusy, match=r"\.model\.partial: another process that writes model is running here"):
            fill(target, "second")
        fill(tmp_path / "beside", "another")
    assert (target / "a").read_text() == "first"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "model"]


def test_what_is_found_beside_a_folder_and_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "thesis.tex").write_text("years of work")
    fill(tmp_path / "model", "first")
    assert [path.name for path in (tmp_path / ".model.partial").iterdir()] == ["thesis.tex"]


def test_folders_in_a_folder_get_their_place_with_it(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a").write_text("first")
    assert (tmp_path / "model" / "deep" / "a").read_text() == "first"


def test_a_write_that_fails_names_the_file(tmp_path: Path) -> None:
    """Also where the library that writes names none, or the temporary one is meant."""
    table = pl.DataFrame({"n": range(10_000)})

    def with_pyarrow(path: Path) -> None:
        pq.write_table(table.to_arrow(), path, compression="none")

    def write_folder(path: Path) -> None:
        with whole_folder(path) as partial:
            (partial / "a").write_text("text" * 1000)

    writers: list[Callable[[Path], None]] = [
        lambda path: write_text(path, "text" * 1000),
        lambda path: write_whole(path, with_pyarrow),
        lambda path: write_parquet(table, path),
        write_folder,
    ]
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for number, write in enumerate(writers):
        path = tmp_path / str(number)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                write(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert caught.value.filename == str(path)
        assert number == 2 or caught.value.strerror == "File too large", "polars has words of its own"
    signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_cannot_begin_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # the name of the temporary file is longer, and too long
    with pytest.raises(OSError, match="File name too long") as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)


def test_a_write_that_fails_by_another_file_names_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "x", lambda temporary: temporary.write_bytes((tmp_path / "lacking").read_bytes()))
    assert caught.value.filename == str(tmp_path / "lacking")
