"""The release folder: its configurations, splits and tables, and that it can be reloaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import dual_data
from dual_data.errors import DualDataError
from dual_data.release.build import Build, read_build
from dual_data.release.diff import compare, read_dataset
from dual_data.release.reload import reload_all
from dual_data.release.tables import tables_of
from dual_data.release.tree import content_of, write_release
from dual_data.release.verify import verify
from dual_data.released import locate
from tests.release.made import NAMES, PUBLISHED, SIZES, Released, artifacts, invented_build, world


def test_every_recipe_and_intermediate_is_a_configuration(released: Released) -> None:
    release, _ = released
    assert {"matched", "matched_answer", "paper", "facts", "links", "questions", "knowledge", "splits"} <= set(
        release.configs
    )
    assert {"baselines", "balance", "capacity", "recipes"} <= set(release.configs)


def test_recipes_without_members_are_absent_with_their_reason(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8), sizes={**SIZES, "smallest": 500})
    release = write_release(build, tmp_path / "out", name="made")
    assert not {"matched", "matched_answer", "paper", "balance"} & set(release.configs)
    assert release.absent["matched_answer"] == "no topic has enough pairs"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "matched_answer: no topic has enough pairs" in text
    assert "No pair of rare and popular splits was made" in text


def test_paper_has_the_published_columns_first_and_the_published_split_names(released: Released) -> None:
    release, folder = released
    frame = pl.read_parquet(folder / "paper" / "town_forget_rare_5.parquet")
    assert frame.columns[: len(PUBLISHED)] == PUBLISHED
    assert {"full_", "town_forget_rare_10", "town_forget_popular_5"} <= set(release.configs["paper"])


def test_rows_of_a_split_are_those_of_the_build_in_order(released: Released, build: Build) -> None:
    _, folder = released
    members = build.table("splits").filter((pl.col("recipe") == "matched") & (pl.col("split") == "town_forget_rare_5"))
    frame = pl.read_parquet(folder / "matched" / "town_forget_rare_5.parquet")
    assert frame["fact_id"].to_list() == members.sort("position")["fact_id"].to_list()
    first = ["fact_id", "position", "pair", "question", "answer", "answers", "subject", "relation", "topic"]
    assert frame.columns[: len(first)] == first
    assert "split" not in frame.columns


def test_datasets_users_need_nothing_of_ours(released: Released, tmp_path: Path) -> None:
    import datasets

    release, folder = released
    rows = datasets.load_dataset(
        str(folder), "matched", split="town_forget_popular_5+town_retain_train", cache_dir=str(tmp_path)
    )
    splits = release.configs["matched"]
    assert len(rows) == splits["town_forget_popular_5"].rows + splits["town_retain_train"].rows
    assert isinstance(rows[0]["answers"], list)


def test_a_dataset_of_more_splits_than_the_hub_shows_opens_with_those_of_all_topics_together(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr("dual_data.released.VIEWER_SPLITS", 12)
    folder, lines = tmp_path / "out", list[str]()
    release = write_release(build, folder, name="made", say=lines.append)
    assert "matched_all" not in release.configs
    whole, pooled = release.declared()["matched"], release.declared()["matched_all"]
    assert set(pooled) == {name for name in whole if name.startswith("all_")} != set()
    assert f"matched_all: {len(pooled)} splits reloaded, all hashes agree" in lines
    opened = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: rows.num_rows for name, rows in opened.items()} == {name: file.rows for name, file in pooled.items()}
    mine = dual_data.load("matched_all", "all_retain_eval", source=str(folder))
    assert mine.equals(dual_data.load("matched", "all_retain_eval", source=str(folder)))
    assert "| `matched_all` |" in (folder / "README.md").read_text()


def test_a_release_is_reloaded_before_it_stands(build: Build, tmp_path: Path) -> None:
    lines: list[str] = []
    release = write_release(build, tmp_path / "out", name="made", say=lines.append)
    assert lines[1:] == [
        f"{config}: {len(splits)} split{'s' * (len(splits) > 1)} reloaded, all hashes agree"
        for config, splits in release.configs.items()
    ]


def test_what_datasets_reads_otherwise_is_found(released: Released, tmp_path: Path) -> None:
    release, folder = released
    facts = release.configs["facts"]["train"].model_copy(update={"content": "0" * 64})
    others = {name: splits for name, splits in release.configs.items() if name != "facts"}
    for configs, words in (
        (others, r"datasets sees the configurations \[.*'facts'.*\], not \["),
        ({"facts": {}, **others}, "datasets sees other splits of facts: train$"),
        ({"facts": {"train": facts}, **others}, r"facts/train\.parquet has other rows when loaded with datasets"),
    ):
        with pytest.raises(DualDataError, match=words):
            list(reload_all(release.model_copy(update={"configs": configs}), folder, tmp_path))


@pytest.mark.parametrize("name", ["dual[1]", "dual*", "dual?", "dual$HOME", "dual${HOME}"])
def test_a_path_that_looks_like_a_pattern_or_holds_a_variable_is_neither(
    build: Build, released: Released, tmp_path: Path, name: str
) -> None:
    shutil.copytree(build.folder, tmp_path / "dual1" / "made")
    folder = shutil.copytree(build.folder, tmp_path / name / "made")
    target = tmp_path / name / "release"
    shutil.copytree(released[1], tmp_path / "dual1" / "release")
    (tmp_path / "dual1" / "release" / "facts" / "train.parquet").write_text("not the table of this release")
    assert write_release(read_build(folder, NAMES), target, name="made").content == released[0].content
    assert verify(locate(target))[1] == []
    assert (target / "README.md").read_text().count("<code>") == (released[1] / "README.md").read_text().count("<code>")
    assert not any(map(len, compare(read_dataset(str(folder)), read_dataset(str(target)))[:4]))


def test_a_table_that_another_build_replaced_is_not_released(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8))
    shutil.rmtree(build.folder)
    artifacts(tmp_path, world(subjects=9), git="none")
    with pytest.raises(DualDataError, match=r"\.parquet: changed while it was released; run the same command again"):
        write_release(build, tmp_path / "out", name="made")
    assert not (tmp_path / "out").exists()


def test_the_content_of_a_release_is_that_of_its_tables_by_name_in_any_order(released: Released) -> None:
    release = released[0]
    turned = {config: dict([*splits.items()][::-1]) for config, splits in [*release.configs.items()][::-1]}
    assert content_of(turned) == release.content
    exchanged = {**release.configs, "facts": release.configs["links"], "links": release.configs["facts"]}
    assert content_of(exchanged) != release.content


def test_a_build_of_two_commits_is_of_none(tmp_path: Path) -> None:
    build = invented_build(tmp_path)
    assert not build.state().dirty
    git = {"commit": "0" * 40, "dirty": False}
    facts = build.manifests["facts"].model_copy(update={"build": {"git": git}})
    assert build._replace(manifests={**build.manifests, "facts": facts}).state().dirty


@pytest.mark.parametrize("name", ["facts", "capacity", "deep/table"])
def test_no_table_takes_the_place_of_another_unseen(tmp_path: Path, name: str) -> None:
    build = invented_build(tmp_path)
    questions = build.manifests["questions"]
    outcome = {**questions.outcome, name: questions.outcome["data"]}
    path = build.folder / "questions" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((build.folder / "questions" / "data.parquet").read_bytes())
    clashing = {**build.manifests, "questions": questions.model_copy(update={"outcome": outcome})}
    with pytest.raises(DualDataError, match=r"its table .* needs a name of its own"):
        tables_of(build._replace(manifests=clashing))


@pytest.mark.parametrize("name", ["facts", "capacity", "matched_all"])
def test_no_recipe_takes_the_name_of_another_configuration(tmp_path: Path, name: str) -> None:
    """Not that of its splits of all topics together either, which the card declares."""
    build = invented_build(tmp_path)
    splits = build.manifests["splits"]
    outcome = {**splits.outcome, f"examples/{name}": splits.outcome["examples/matched"]}
    folder = build.folder / "splits" / "examples"
    (folder / f"{name}.parquet").write_bytes((folder / "matched.parquet").read_bytes())
    clashing = {**build.manifests, "splits": splits.model_copy(update={"outcome": outcome})}
    with pytest.raises(DualDataError, match=r"the recipe .* needs a name of its own: neither it nor .*_all may be"):
        tables_of(build._replace(manifests=clashing))


def test_project_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert invented_build(tmp_path, world(subjects=4), git="none").state().commit is None


def test_same_rows_give_the_same_content_wherever_they_are_built(released: Released, tmp_path: Path) -> None:
    again = write_release(invented_build(tmp_path / "b"), tmp_path / "out", name="made")
    assert again.content == released[0].content
    assert again.configs == released[0].configs, "the files too, byte by byte"


def test_secret_in_a_parameter_is_not_published(build: Build, tmp_path: Path) -> None:
    facts = build.manifests["facts"]
    basis = facts.basis.model_copy(update={"params": {"key": "sk-" + "a1" * 20}})
    manifests = {**build.manifests, "facts": facts.model_copy(update={"basis": basis})}
    with pytest.raises(DualDataError, match="secret") as caught:
        write_release(Build(build.folder, manifests), tmp_path / "out", name="made")
    assert "a1a1" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_build_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = artifacts(tmp_path, world(subjects=4))
    with pytest.raises(DualDataError, match="is not built"):
        read_build(folder, [*NAMES, "more"])
    table = folder / "links" / "data.parquet"
    good = table.read_bytes()
    table.write_bytes(good + b"x")
    with pytest.raises(DualDataError, match="is not what the build wrote"):
        read_build(folder, NAMES)
    table.write_bytes(good)
    manifest = folder / "splits" / "manifest.json"
    edited = json.loads(manifest.read_text())
    edited["basis"]["inputs"]["links"] = "0" * 64
    manifest.write_text(json.dumps(edited))
    with pytest.raises(DualDataError, match="was built from another links"):
        read_build(folder, NAMES)
