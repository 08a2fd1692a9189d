"""Opening releases and loading splits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import dual_data
from dual_data.audit.read import read
from dual_data.engine.tables import content_hash
from dual_data.errors import InputError, ServiceError
from dual_data.release.tree import write_release
from dual_data.released import Place, Release, locate, read_release
from tests.release.made import invented_build, world


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small release, which tests must not change."""
    target = tmp_path_factory.mktemp("released") / "tree"
    write_release(invented_build(tmp_path_factory.mktemp("project"), world(subjects=30)), target, name="made")
    return target


def test_load_gives_the_rows_of_a_split(folder: Path) -> None:
    rows = dual_data.load("paper", "full_", source=folder)
    assert isinstance(rows, pl.DataFrame)
    assert content_hash(rows) == read_release(Place(folder=folder)).file("paper", "full_").content


def test_splits_of_a_topic_whose_name_begins_as_those_of_all_topics_are_none_of_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = read_release(Place(folder=folder))
    monkeypatch.setattr("dual_data.released.VIEWER_SPLITS", 12)
    pooled = release.declared()["matched_all"]
    renamed = {name.replace("town_", "all_towns_"): file for name, file in release.configs["matched"].items()}
    assert any(name.startswith("all_towns_forget_") for name in renamed)
    assert release.model_copy(update={"configs": {"matched": renamed}}).declared()["matched_all"] == pooled


def test_load_reads_what_the_environment_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUAL_DATA_DATASET", raising=False)
    with pytest.raises(InputError, match="DUAL_DATA_DATASET"):
        dual_data.load("paper", "full_")
    monkeypatch.setenv("DUAL_DATA_DATASET", str(folder))
    assert dual_data.load("paper", "full_").height


def test_unknown_configurations_and_splits_name_those_there_are(folder: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: no such configuration.*facts"):
        dual_data.load("nothing", "x", source=folder)
    with pytest.raises(InputError, match=r"the build has no rows of it"):
        dual_data.load("salience", "train", source=folder)
    with pytest.raises(InputError, match=r"x: no such split of paper; there are: .*full_"):
        dual_data.load("paper", "x", source=folder)


def test_a_changed_file_is_not_loaded(folder: Path, tmp_path: Path) -> None:
    release = read_release(Place(folder=folder))
    path = release.file("paper", "full_").path
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    with pytest.raises(InputError, match="is missing"):
        dual_data.load("paper", "full_", source=tmp_path)
    (tmp_path / path).parent.mkdir()
    pl.read_parquet(folder / path).reverse().write_parquet(tmp_path / path)
    with pytest.raises(InputError, match="is not what was released"):
        dual_data.load("paper", "full_", source=tmp_path)


def test_a_folder_that_is_not_there_is_not_taken_for_one_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="/typo: no such folder; make a release with: dual-data release"):
        read_release(Place(folder=tmp_path / "typo"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no manifest"),
        ("{", r"is not that of a release \(1 fault; first: Invalid JSON: .*\); make a release with: dual-data release"),
        ('{"format": 1}', r"is not that of a release \([2-9] faults; first: name: Field required\); make a release"),
    ],
)
def test_what_is_no_release_is_said(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=words):
        read_release(Place(folder=tmp_path))


def test_the_folder_of_a_build_leads_to_its_release(tmp_path: Path) -> None:
    place = Place(folder=tmp_path / "artifacts" / "mine")
    (tmp_path / "artifacts" / "mine" / "release").mkdir(parents=True)
    with pytest.raises(InputError, match=r"make a release with: dual-data release$"):
        read_release(place)
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "mine.toml").write_text("[project]\n")
    with pytest.raises(InputError, match=rf"with: dual-data release --project {tmp_path} --profile mine$"):
        read_release(place)
    (tmp_path / "pipeline" / "mine.toml").write_text('[project]\nname = "other"\n')
    (tmp_path / "pipeline" / "towns.toml").write_text('[project]\nname = "mine"\n')
    with pytest.raises(InputError, match=rf"with: dual-data release --project {tmp_path} --profile towns$"):
        read_release(place)
    (tmp_path / "artifacts" / "mine" / "release" / "manifest.json").touch()
    with pytest.raises(InputError, match=rf"holds no manifest\.json; the release is {place}/release$"):
        read_release(place)


def test_load_is_among_the_names_before_it_is_imported() -> None:
    program = "import dual_data; assert {'load', '__version__', '__name__'} <= set(dir(dual_data)), dir(dual_data)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("new_fields", [{}, {"new": 1}])
def test_a_later_format_is_refused(folder: Path, tmp_path: Path, new_fields: dict[str, int]) -> None:
    later = {**json.loads((folder / "manifest.json").read_text()), "format": 2, **new_fields}
    (tmp_path / "manifest.json").write_text(json.dumps(later))
    with pytest.raises(InputError, match="has format 2"):
        read_release(Place(folder=tmp_path))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"full_":', '"../../full_":'), ('"paper":', '"/tmp/paper":'), ("paper/full_.parquet", "../full_.parquet")],
)
def test_names_that_lead_elsewhere_are_refused(folder: Path, tmp_path: Path, old: str, new: str) -> None:
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "manifest.json").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest.json is not that of a release \(.*: String should match pattern"):
        read_release(Place(folder=tmp_path))


def test_places(tmp_path: Path) -> None:
    assert locate(tmp_path) == Place(folder=tmp_path)
    assert locate("owner/name@v1") == Place(repository="owner/name", revision="v1")
    assert str(locate("owner/name", "v2")) == "owner/name@v2"
    for target, revision in (("owner/name@v1", "v2"), ("not a name", None), ("a/b/c", None), ("../x/y", None)):
        with pytest.raises(InputError):
            locate(target, revision)
    with pytest.raises(InputError, match="no revisions"):
        locate(tmp_path, "v1")
    with pytest.raises(InputError):
        locate(Path("owner/name"))


def test_a_mistyped_path_is_said_not_to_be_a_folder_either() -> None:
    with pytest.raises(ServiceError, match="made-up/nope: no such folder, and the Hub could not be reached"):
        read_release(locate("made-up/nope"))


def test_a_name_in_a_folder_that_is_there_is_not_asked_for_at_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts" / "embedded").mkdir(parents=True)
    for ask in (locate, read):
        with pytest.raises(
            InputError, match=r"^artifacts/embeded: no such .*; did you mean artifacts/embedded\? .*@main"
        ):
            ask("artifacts/embeded")
        with pytest.raises(InputError, match=r"^artifacts/nope: no such file or folder\. A Hub dataset of this name"):
            ask("artifacts/nope")
    place = Place(repository="artifacts/embeded", revision="v1")
    assert locate("artifacts/embeded@v1") == locate("artifacts/embeded", "v1") == place


def test_a_file_is_said_to_be_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for target in ("tree/manifest.json", folder / "facts" / "train.parquet"):
        with pytest.raises(InputError, match=f"^{target}: is a file; name the folder of the release$"):
            locate(target)


def test_the_manifest_keeps_every_stage(folder: Path) -> None:
    release = read_release(Place(folder=folder))
    assert isinstance(release, Release)
    assert list(release.stages) == ["facts", "links", "questions", "knowledge", "salience", "splits"]
    assert release.stages["splits"] == release.stages["splits"].sealed()
