"""Which splits are compared, for our layout and those of other datasets."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import polars as pl
import pytest

from dual_data.audit.groups import MOST, grouped
from dual_data.audit.read import Split, read

ROWS = pl.DataFrame({"question": ["What is the country of A?", "When was B born?"], "answer": ["Nu", "1900"]})


def pairs(splits: list[Split]) -> set[str]:
    groups = grouped(splits).by_split
    return {f"{first}|{second}" for first, second in combinations(groups, 2) if groups[first] == groups[second]}


def named(config: str, *names: str) -> list[Split]:
    return [Split(name, config, ROWS) for name in names]


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("city_forget_popular_10", "city"),
        ("city_fast_retain_500", "city"),
        ("brand_retain_train", "brand"),
        ("forget_rare_1", ""),
        ("music_genre_neighbor_subject", "music_genre"),
        ("world_facts", ""),
        ("city_world_facts", "city"),
        ("world_heritage_forget_rare_5", "world_heritage"),
        ("city_full_", "city"),
        ("paper/city_full_", "city"),
    ],
)
def test_our_splits_are_grouped_by_topic(name: str, topic: str) -> None:
    folder = name.rpartition("/")[0]
    assert grouped(named("c", name, "other_retain_eval")).by_split[name] == f"c/{folder}/{topic}"


def test_topics_of_a_release_are_not_compared() -> None:
    splits = named("matched", "city_forget_rare_5", "city_retain_eval", "song_forget_rare_5", "song_retain_eval")
    assert pairs(splits) == {"city_forget_rare_5|city_retain_eval", "song_forget_rare_5|song_retain_eval"}
    assert grouped(splits).skipped == []


def test_a_release_of_many_topics_is_grouped_without_a_word() -> None:
    splits = named("matched", *(f"t{n}_{member}" for n in range(MOST) for member in ("forget_rare_5", "full")))
    assert len(pairs(splits)) == MOST
    assert grouped(splits).skipped == []


@pytest.mark.parametrize(
    "names",
    [
        ("forget", "retain"),
        ("rare", "popular", "common"),
        ("train", "test"),
        ("city_forget_rare_5", "full_world", "world_heritage"),
    ],
    ids=" ".join,
)
def test_splits_of_other_names_are_all_compared(tmp_path: Path, names: tuple[str, ...]) -> None:
    expected = {f"{first}|{second}" for first, second in combinations(names, 2)}
    lines = [f"  - split: {name}\n    path: {name}.parquet\n" for name in names]
    for name in names:
        ROWS.write_parquet(tmp_path / f"{name}.parquet")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- data_files:\n{''.join(lines)}---\n")
    assert pairs(read(str(tmp_path))) == expected
    column = pl.Series("split", [name for name in names for _ in range(2)])
    pl.concat([ROWS] * len(names)).with_columns(column).write_csv(tmp_path / "one.csv")
    assert pairs(read(str(tmp_path / "one.csv"))) == {
        f"one/{first}|one/{second}" for first, second in combinations(names, 2)
    }


def test_configurations_of_one_split_are_compared_as_in_tofu(tmp_path: Path) -> None:
    configs = ("forget10", "retain90", "holdout10")
    for name in configs:
        ROWS.write_ndjson(tmp_path / f"{name}.json")
    card = "".join(f"- config_name: {name}\n  data_files: {name}.json\n" for name in configs)
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    assert pairs(read(str(tmp_path))) == {
        "forget10/train|retain90/train",
        "forget10/train|holdout10/train",
        "retain90/train|holdout10/train",
    }


def test_configurations_of_several_splits_are_not_compared_with_each_other() -> None:
    splits = named("one", "one/train", "one/test") + named("two", "two/train", "two/test") + named("three", "three/all")
    assert pairs(splits) == {"one/train|one/test", "two/train|two/test"}


@pytest.mark.parametrize("config", ["default", ""])
def test_too_many_splits_are_compared_by_topic_and_the_rest_is_told(config: str) -> None:
    authors = [f"author_{number}" for number in range(MOST - 1)]
    splits = named(config, "city_forget_rare_5", "city_retain_eval", *authors)
    assert pairs(splits) == {"city_forget_rare_5|city_retain_eval"}
    (line,) = grouped(splits).skipped
    assert f"{MOST + 1} splits are too many" in line
    assert len(pairs(splits[1:])) == MOST * (MOST - 1) / 2
