"""croissant.json as the library of its standard reads it."""

from __future__ import annotations

import itertools
import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.engine.tables import file_hash
from dual_data.released import Release
from tests.services import require

# The library's own dependencies warn of their futures.
pytestmark = pytest.mark.filterwarnings("ignore::Warning")
RAI = (
    "data_collection", "data_biases", "data_limitations", "data_use_cases", "data_social_impact",
    "personal_sensitive_information", "data_release_maintenance_plan",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(released: tuple[Release, Path]) -> Any:
    """The release as mlcroissant opens it; the paths are those of the folder that it lies in."""
    require(find_spec("mlcroissant"), "mlcroissant is not installed (pip install mlcroissant)")
    return import_module("mlcroissant").Dataset(jsonld=str(released[1] / "croissant.json"))


def test_it_is_valid_without_a_warning(dataset: Any) -> None:
    issues = dataset.metadata.ctx.issues
    assert not list(issues.errors)
    assert not list(issues.warnings)


def test_the_fields_for_responsible_ai_are_read(dataset: Any) -> None:
    for field in RAI:
        assert getattr(dataset.metadata, field), field


def test_every_file_stands_there_with_its_hash(released: tuple[Release, Path]) -> None:
    folder = released[1]
    document = json.loads((folder / "croissant.json").read_text())
    files = {item["contentUrl"]: item["sha256"] for item in document["distribution"] if "sha256" in item}
    assert files == {path.relative_to(folder).as_posix(): file_hash(path) for path in folder.rglob("*.parquet")}


@pytest.mark.parametrize("config", ["matched", "paper", "facts", "knowledge"])
def test_records_are_the_rows(dataset: Any, released: tuple[Release, Path], config: str) -> None:
    record = next(iter(dataset.records(config)))
    split = record[f"{config}/split_of_file"].decode()
    row = pl.read_parquet(released[1] / config / f"{split}.parquet").row(0, named=True)
    for name, value in row.items():
        read = record[f"{config}/{name}"]
        if name == "knowledge":
            read = [{key.rpartition("/")[2]: part for key, part in item.items()} for item in read]
        assert plain(read) == value, name


def test_all_splits_of_a_configuration_are_in_its_record_set(dataset: Any, released: tuple[Release, Path]) -> None:
    records = itertools.islice(dataset.records("matched_answer"), 5_000)
    seen = {record["matched_answer/split_of_file"].decode() for record in records}
    assert seen == set(released[0].configs["matched_answer"])


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value
