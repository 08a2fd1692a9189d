"""croissant.json, read by the library of its standard."""

from __future__ import annotations

import itertools
import json
import subprocess
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.config import About
from dual_data.release.croissant import croissant
from dual_data.release.hub import push
from dual_data.released import File, Place, Release
from dual_data.system.files import file_hash
from tests.release.made import Released
from tests.services import require
from tests.services.hub import TOKEN, Hub, Repository

# The library's dependencies raise warnings about future changes.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")
NAME = "made-up/dual"
RAI = (
    "data_collection", "data_biases", "data_limitations", "data_use_cases", "data_social_impact",
    "personal_sensitive_information", "data_release_maintenance_plan",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(released: Released) -> Any:
    """The release as opened by mlcroissant; paths are relative to its folder."""
    require(find_spec("mlcroissant"), "mlcroissant is not installed (pip install mlcroissant)")
    return import_module("mlcroissant").Dataset(jsonld=str(released[1] / "croissant.json"))


def test_it_is_valid_without_a_warning(dataset: Any) -> None:
    issues = dataset.metadata.ctx.issues
    assert not list(issues.errors)
    assert not list(issues.warnings)


def test_the_fields_for_responsible_ai_are_read(dataset: Any) -> None:
    for field in RAI:
        assert getattr(dataset.metadata, field), field
    # Facts and links may come from dumps, without a call of any service.
    assert dataset.metadata.data_collection.count("dump") == 2


def test_every_file_stands_there_with_its_hash(released: Released) -> None:
    folder = released[1]
    document = json.loads((folder / "croissant.json").read_text())
    files = {item["contentUrl"]: item["sha256"] for item in document["distribution"] if "sha256" in item}
    assert files == {path.relative_to(folder).as_posix(): file_hash(path) for path in folder.rglob("*.parquet")}


def described(release: Release, folder: Path) -> Any:
    return json.loads(croissant(release, Place(folder=folder)))


def test_a_release_is_dated_by_its_last_stage_and_versioned_by_its_tag(released: Released) -> None:
    release, folder = released
    first, *_, last = release.stages
    days = {first: "2024-01-02T00:00:00", last: "2024-01-01T00:00:00"}
    stages = {
        name: stage.model_copy(update={"build": {"built_at": days.get(name, "")}})
        for name, stage in release.stages.items()
    }
    unversioned = described(release.model_copy(update={"stages": stages}), folder)
    assert (unversioned["datePublished"], unversioned["version"]) == ("2024-01-02", "0.0.0")
    assert described(release.model_copy(update={"version": "1.2.0"}), folder)["version"] == "1.2.0"


def test_the_profiles_words_on_the_dataset_are_passed_on(released: Released) -> None:
    release, folder = released
    about = About(
        title="Towns",
        description="Of towns\nand rivers.",
        creator="The makers",
        citation="@misc{towns,\n  title = {Towns}\n}",
        url="https://towns.invalid/",
    )
    own = release.model_copy(update={"about": about})
    document = described(own, folder)
    assert (document["name"], document["url"]) == ("Towns", "https://towns.invalid/")
    assert document["description"].startswith("Of towns and rivers. Facts ")
    assert document["creator"] == {"@type": "Organization", "name": "The makers"}
    assert document["citeAs"] == "@misc{towns, title = {Towns} }"
    pushed = described(own.model_copy(update={"repository": NAME, "version": "1.0.0"}), folder)
    assert pushed["url"] == f"https://huggingface.co/datasets/{NAME}"


def test_sizes_are_those_of_files_and_of_tables(released: Released) -> None:
    release, folder = released
    document = described(release, folder)
    sizes = {item["@id"]: item["contentSize"] for item in document["distribution"] if "contentSize" in item}
    assert sizes == {
        path.relative_to(folder).as_posix(): f"{path.stat().st_size} B" for path in folder.rglob("*.parquet")
    }
    rows = {path.parent.name: pl.scan_parquet(path.parent / "*.parquet") for path in folder.rglob("*.parquet")}
    assert {item["name"]: item["description"] for item in document["recordSet"]} == {
        config: f"{len(release.configs[config])} splits, {table.select(pl.len()).collect().item()} rows."
        for config, table in rows.items()
    }


def test_columns_have_the_types_of_the_standard(released: Released) -> None:
    records = {item["name"]: item["field"] for item in described(*released)["recordSet"]}
    kinds = {field["name"]: (field.get("dataType"), field.get("repeated", False)) for field in records["knowledge"]}
    kinds |= {field["name"]: (field.get("dataType"), field.get("repeated", False)) for field in records["baselines"]}
    assert {name: kinds[name] for name in ("knowledge/hits", "knowledge/known", "knowledge/generations")} == {
        "knowledge/hits": ("sc:Integer", False),
        "knowledge/known": ("sc:Boolean", False),
        "knowledge/generations": ("sc:Text", True),
    }
    assert kinds["baselines/chance"] == ("sc:Float", False)
    probes = next(field for field in records["matched"] if field["name"] == "matched/knowledge")
    assert probes["repeated"]
    assert {member["name"].rpartition("/")[2]: member["dataType"] for member in probes["subField"]} == {
        "model": "sc:Text", "rule": "sc:Text", "known": "sc:Boolean", "control_known": "sc:Boolean",
        "log_probability": "sc:Float",
    }  # fmt: skip
    assert not [field for fields in records.values() for field in fields if not field["description"]]


@pytest.mark.parametrize("config", ["matched", "paper", "facts", "knowledge"])
def test_records_are_the_rows(dataset: Any, released: Released, config: str) -> None:
    record = next(iter(dataset.records(config)))
    split = record.get(f"{config}/split_of_file", b"train").decode()
    compare(record, released[1], config, split)


def compare(record: dict[str, Any], folder: Path, config: str, split: str) -> None:
    """Assert that the record is the first row of the split."""
    row = pl.read_parquet(folder / config / f"{split}.parquet").row(0, named=True)
    for name, value in row.items():
        cell = record[f"{config}/{name}"]
        if name == "knowledge":
            cell = [{key.rpartition("/")[2]: member for key, member in item.items()} for item in cell]
        assert plain(cell) == value, name


def test_all_splits_of_a_configuration_are_in_its_record_set(dataset: Any, released: Released) -> None:
    records = itertools.islice(dataset.records("matched_answer"), 5_000)
    seen = {record["matched_answer/split_of_file"].decode() for record in records}
    assert seen == set(released[0].configs["matched_answer"])


def test_the_date_of_a_price_is_read_as_a_date(released: Released, tmp_path: Path) -> None:
    require(find_spec("mlcroissant"), "mlcroissant is not installed (pip install mlcroissant)")
    path = tmp_path / "knowledge_usage" / "train.parquet"
    path.parent.mkdir()
    pl.DataFrame({"price_date": [date(2026, 10, 13), None]}).write_parquet(path)
    table = File(path="knowledge_usage/train.parquet", rows=2, content="", sha256=file_hash(path), bytes=9)
    release = released[0].model_copy(update={"configs": {"knowledge_usage": {"train": table}}})
    (tmp_path / "croissant.json").write_text(croissant(release, Place(folder=tmp_path)))
    dataset = import_module("mlcroissant").Dataset(jsonld=str(tmp_path / "croissant.json"))
    dates = [record["knowledge_usage/price_date"] for record in dataset.records("knowledge_usage")]
    assert [value and value.date() for value in dates] == [date(2026, 10, 13), None]


@pytest.fixture
def pushed(online: Hub, released: Released) -> Repository:
    """The release on the loopback Hub."""
    require(find_spec("mlcroissant"), "mlcroissant is not installed (pip install mlcroissant)")
    push(*released, NAME, "v1.0.0", endpoint=online.url, token=TOKEN)
    return online.repositories[NAME]


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A separate folder for the downloads of mlcroissant, which it otherwise caches by address for ever."""
    constants = import_module("mlcroissant._src.core.constants")
    its_own_kind_of_path = type(constants.DOWNLOAD_PATH)
    monkeypatch.setattr(constants, "DOWNLOAD_PATH", its_own_kind_of_path(tmp_path / "downloads"))


def test_a_pushed_release_gives_the_addresses_of_its_tag(pushed: Repository, released: Released) -> None:
    document = json.loads(pushed.head["croissant.json"])
    base = f"https://huggingface.co/datasets/{NAME}"
    addresses = {item["@id"]: item["contentUrl"] for item in document["distribution"] if "contentUrl" in item}
    tables = {file.path for file in released[0].tables()}
    assert addresses == {"repository": base, **{path: f"{base}/resolve/v1.0.0/{path}" for path in tables}}
    sets = [item["containedIn"] for item in document["distribution"] if item["@type"] == "cr:FileSet"]
    assert sets == [{"@id": "repository"}] * 3


@pytest.mark.usefixtures("downloads")
@pytest.mark.parametrize("config", ["facts", "knowledge"])
def test_a_table_of_a_pushed_release_is_read_over_http(
    online: Hub, pushed: Repository, released: Released, config: str
) -> None:
    document = pushed.head["croissant.json"].replace(b"https://huggingface.co", online.url.encode())
    pushed.head["croissant.json"] = document
    dataset = import_module("mlcroissant").Dataset(f"{online.url}/datasets/{NAME}/resolve/v1.0.0/croissant.json")
    assert not list(dataset.metadata.ctx.issues.errors)
    compare(next(iter(dataset.records(config))), released[1], config, "train")


@pytest.mark.usefixtures("downloads")
def test_splits_of_a_pushed_release_are_read_from_its_git_repository(
    pushed: Repository, released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(find_spec("git"), "GitPython is not installed (pip install mlcroissant[git])")
    clone = tmp_path / "clone"
    for path, data in pushed.head.items():
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_bytes(data)
    author = ["-c", "user.name=made up", "-c", "user.email=made@up.invalid"]
    (clone / ".gitattributes").unlink()  # large files are in storage on the Hub, but in the repository here
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", "-C", str(clone), *words], check=True, capture_output=True)
    # git's own way to replace an address by another.
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{clone}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"https://huggingface.co/datasets/{NAME}")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")  # mlcroissant sets it permanently
    dataset = import_module("mlcroissant").Dataset(str(clone / "croissant.json"))
    for config in ("matched", "paper"):
        record = next(iter(dataset.records(config)))
        split = record[f"{config}/split_of_file"].decode()
        assert split in released[0].configs[config]
        compare(record, released[1], config, split)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value
