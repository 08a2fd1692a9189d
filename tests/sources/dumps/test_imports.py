"""The import: every compression, once, going on where it was stopped, and never of a damaged file."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from dual_data.errors import DualDataError, InputError, ProjectBusy
from dual_data.sources.dumps import kept
from dual_data.sources.dumps.files import Piece, recognise
from dual_data.sources.dumps.imports import import_folder, imported
from dual_data.sources.dumps.manifests import ImportManifest, parts_of, write_manifest
from dual_data.system.progress import Progress
from tests.faults.disk import no_file_beyond
from tests.sources.dumps.mysqldump import dump
from tests.sources.dumps.wikis import DAY

ROWS = [(n, 0 if n % 3 else 4, f"Title_{n}".encode()) for n in range(5000)]
TEXT = dump("linktarget", ROWS, a_line=100)
NAME = f"testwiki-{DAY}-linktarget.sql"
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda text: pa.compress(text, codec="zstd", asbytes=True),
}


def run(folder: Path, part: int = 20_000) -> list[tuple[str, ImportManifest, bool]]:
    return [(dump.path.name, manifest, new) for dump, manifest, new in import_folder(folder, Progress(), part)]


def titles(folder: Path) -> list[str]:
    path, manifest = imported(folder)["linktarget"]
    return pl.read_parquet(parts_of(path, manifest, "linktarget"))["title"].to_list()


EXPECTED = [title.decode() for _, namespace, title in ROWS if namespace == 0]


@pytest.mark.parametrize("ending", PACK)
def test_every_compression_gives_the_same_parts(tmp_path: Path, ending: str) -> None:
    packed = PACK[ending](TEXT)
    (tmp_path / (NAME + ending)).write_bytes(packed)
    ((_, manifest, new),) = run(tmp_path)
    assert new
    assert manifest.sha256 == hashlib.sha256(packed).hexdigest()
    assert len(manifest.parts) > 3
    assert manifest.rows() == {"linktarget": len(EXPECTED)}
    assert manifest.counts()["rows"] == len(ROWS)
    assert titles(tmp_path) == EXPECTED


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst"])
def test_several_members_are_one_text(tmp_path: Path, ending: str) -> None:
    cuts = [0, 700, 70_000, len(TEXT)]
    packed = b"".join(PACK[ending](TEXT[start:end]) for start, end in pairwise(cuts))
    (tmp_path / (NAME + ending)).write_bytes(packed)
    run(tmp_path)
    assert titles(tmp_path) == EXPECTED


def test_a_second_import_does_nothing(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(TEXT))
    run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "imported").rglob("*")}
    ((_, manifest, new),) = run(tmp_path)
    assert not new
    assert manifest.sha256
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "imported").rglob("*")}
    (tmp_path / f"{NAME}.gz").unlink()
    assert run(tmp_path) == []
    assert titles(tmp_path) == EXPECTED, "the dump is not needed any more"


def test_a_stopped_import_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(TEXT))
    read = kept.pieces

    def stopping(blocks: Iterator[bytes], table: str, path: str, done: int, size: int) -> Iterator[Piece]:
        for number, piece in enumerate(read(blocks, table, path, done, size)):
            if number == 2:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr("dual_data.sources.dumps.kept.pieces", stopping)
    stops = 0
    while stops < 40:
        try:
            run(tmp_path, part=5_000)
            break
        except KeyboardInterrupt:
            stops += 1
            with pytest.raises(InputError, match=r"not complete|not imported yet"):
                imported(tmp_path)
    assert stops > 5
    assert titles(tmp_path) == EXPECTED
    _, manifest = imported(tmp_path)["linktarget"]
    assert manifest.sha256 == hashlib.sha256((tmp_path / f"{NAME}.gz").read_bytes()).hexdigest()
    assert manifest.counts()["rows"] == len(ROWS)


def test_a_changed_dump_is_imported_anew_and_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(TEXT)
    run(tmp_path, part=5_000)
    path.write_bytes(dump("linktarget", ROWS[:30]))
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="not complete, or not of this file"):
        imported(tmp_path)
    run(tmp_path)
    assert titles(tmp_path) == EXPECTED[:20]
    assert sorted(file.name for file in imported(tmp_path)["linktarget"][0].iterdir()) == [
        "linktarget-00000.parquet",
        "manifest.json",
    ]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst"])
def test_a_cut_or_damaged_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / (NAME + ending)
    packed = PACK[ending](TEXT)
    for damaged in (packed[: len(packed) // 2], packed[:40] + b"\xff" * 30 + packed[70:], b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or cut short"):
            run(tmp_path)
    path.write_bytes(packed)
    run(tmp_path)
    assert titles(tmp_path) == EXPECTED


def test_a_dump_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(InputError, match=rf"{NAME}: cannot be read \(Is a directory\)"):
        run(tmp_path)


def test_nowhere_to_write_is_said(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    (tmp_path / "imported").write_bytes(b"")
    with pytest.raises(DualDataError, match="cannot be written"):
        run(tmp_path)


COMMAND = (sys.executable, "-c", "from dual_data.cli import main; main()", "dumps", "import")


def test_a_disk_that_fills_up_is_said_and_what_is_complete_is_kept(tmp_path: Path) -> None:
    """No file may grow beyond 8 kB, which a part does."""
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(TEXT))
    command = (*no_file_beyond(8000), sys.executable, "-B", *COMMAND[1:], str(tmp_path))
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert f"{tmp_path / 'imported'}: cannot be written (" in process.stderr
    assert "make room or set the permissions" in process.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    with pytest.raises(InputError, match="not imported yet"):
        imported(tmp_path)
    run(tmp_path)
    assert titles(tmp_path) == EXPECTED


def test_of_two_imports_at_once_one_is_refused_and_readers_see_whole_parts(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    (tmp_path / f"testwiki-{DAY}-page.sql").write_bytes(b"")
    running = import_folder(tmp_path, Progress(), 20_000)
    next(running)
    with pytest.raises(ProjectBusy, match="another import is running here; wait for it to end, or stop it"):
        run(tmp_path)
    with pytest.raises(InputError, match=r"page.sql"):
        next(running)
    (tmp_path / f"testwiki-{DAY}-page.sql").unlink()
    assert [new for _, _, new in run(tmp_path)] == [False]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dual_data.sources.dumps.imports.locked", None)
        assert [new for _, _, new in run(tmp_path)] == [False], "where nothing is to be done nobody is in the way"


def test_imports_that_start_together_do_not_hurt_each_other(tmp_path: Path) -> None:
    rows = [(n, 0, f"Title_{n}".encode()) for n in range(300_000)]
    (tmp_path / NAME).write_bytes(dump("linktarget", rows))
    processes = [
        subprocess.Popen((*COMMAND, str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    while any(process.poll() is None for process in processes):
        for path in tmp_path.rglob("*.parquet"):
            pl.read_parquet(path)
        time.sleep(0.01)
    results = [(*process.communicate(), process.returncode) for process in processes]
    assert 0 in [code for _, _, code in results]
    for out, errors, code in results:
        assert code == 0 or (code == 1 and "another import is running here" in errors), out + errors
    assert len(titles(tmp_path)) == len(rows)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_bytes())
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "the hash of the dump": lambda data: data.update(sha256="0" * 64),
    "the rows of a part": lambda data: data["parts"][1]["rows"].update(linktarget=0),
    "the parts": lambda data: data["parts"].pop(),
    "the seal": lambda data: data.update(seal=""),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_edited_by_hand_is_found_out(tmp_path: Path, name: str) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    run(tmp_path)
    edit(imported(tmp_path)["linktarget"][0] / "manifest.json", EDITS[name])
    with pytest.raises(InputError, match=r"its manifest was edited; run: dual-data dumps import"):
        imported(tmp_path)
    assert [new for _, _, new in run(tmp_path)] == [True]
    assert titles(tmp_path) == EXPECTED


def test_a_stopped_import_whose_dump_is_gone_wants_it_again(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    run(tmp_path)
    folder, manifest = imported(tmp_path)["linktarget"]
    write_manifest(folder, manifest.model_copy(update={"sha256": None}))
    with pytest.raises(InputError, match="not complete, or not of this file; run: dual-data dumps import"):
        imported(tmp_path)
    (tmp_path / NAME).unlink()
    assert run(tmp_path) == [], "there is nothing to go on with"
    with pytest.raises(InputError, match=f"not of this file; fetch {NAME} again, then run: dual-data dumps import"):
        imported(tmp_path)


def emptied(path: Path) -> None:
    pl.read_parquet(path).clear().write_parquet(path)


def same_size(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def bad_footer(path: Path) -> None:
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[:footer] + b"\xff" + data[footer + 1 :])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def unreadable_manifest(path: Path) -> None:
    path.with_name("manifest.json").write_bytes(b"{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (unreadable_manifest, "its manifest cannot be read"),
        (Path.unlink, "linktarget-00001.parquet is missing"),
        (emptied, "linktarget-00001.parquet is not as it was written"),
        (same_size, "linktarget-00001.parquet is not as it was written"),
        (bad_footer, "linktarget-00001.parquet is not as it was written"),
        (longer, "linktarget-00001.parquet is not as it was written"),
    ],
)
def test_a_damaged_import_is_found_out_and_it_is_said_what_to_do(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    run(tmp_path)
    path, manifest = imported(tmp_path)["linktarget"]
    damage(parts_of(path, manifest, "linktarget")[1])
    with pytest.raises(InputError, match=f"{message}; run: dual-data dumps import"):
        imported(tmp_path)
    dumped = (tmp_path / NAME).rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{message}; fetch {NAME} again, then run: dual-data dumps import"):
        imported(tmp_path)
    dumped.rename(tmp_path / NAME)
    run(tmp_path)
    assert titles(tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no dump such as"),
        (["enwiki-20261101-page.sql.gz", "enwiki-20261201-page.sql.gz"], "both enwiki-20261101-page"),
        (["enwiki-20261101-page.sql.gz", "dewiki-20261101-redirect.sql.gz"], "not of the same wiki and day"),
        (["enwiki-latest-page.sql.gz"], "enwiki-latest-page.sql.gz: its name does not tell the day of the dump"),
    ],
)
def test_folders_that_do_not_fit_together(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=message):
        run(tmp_path)


@pytest.mark.parametrize("later", ["enwiki-20261201-redirect.sql", "dewiki-20261101-redirect.sql"])
def test_imports_whose_dumps_are_gone_have_to_fit_together(tmp_path: Path, later: str) -> None:
    for name, row in (("enwiki-20261101-page.sql", (1, 0, b"A", 0, 0.5, None)), (later, (1, 0, b"B", None, None))):
        (tmp_path / name).write_bytes(dump(name.split("-")[2].removesuffix(".sql"), [row]))
        run(tmp_path)
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"enwiki-20261101-page.sql and {later} are not of the same wiki and day"):
        imported(tmp_path)


def test_what_a_file_is_stands_in_its_name() -> None:
    names = {
        "enwiki-20261101-pagelinks.sql.gz": ("pagelinks", "enwiki", "20261101"),
        "wikidatawiki-latest-wb_items_per_site.sql": ("wb_items_per_site", "wikidatawiki", "latest"),
        "wikidata-20261101-truthy-BETA.nt.bz2": ("triples", "wikidata", "20261101"),
        "latest-truthy.nt.zst": ("triples", "wikidata", "latest"),
    }
    for name, expected in names.items():
        file = recognise(Path(name))
        assert file is not None
        assert file[1:] == expected
    for name in ("enwiki-20261101-categorylinks.sql.gz", "enwiki-20261101-page.sql.gz.part", "README"):
        assert recognise(Path(name)) is None


def test_new_dumps_beside_imported_ones_are_said(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(TEXT)
    run(tmp_path)
    (tmp_path / f"testwiki-{DAY}-page.sql").write_bytes(b"")
    with pytest.raises(InputError, match=r"page.sql: not imported yet; run: dual-data dumps import"):
        imported(tmp_path)
