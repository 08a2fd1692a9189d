"""The release folder: its contents, that it can be reloaded, and that it replaces a folder completely or not at all."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dual_data.calls import Counts
from dual_data.config import About
from dual_data.engine.tables import file_hash
from dual_data.errors import DualDataError, InputError, UsageError
from dual_data.release.build import Build, read_build
from dual_data.release.card import _balance, _origin, card
from dual_data.release.card import front_matter as card_head
from dual_data.release.columns import describe
from dual_data.release.diff import compare, read_snapshot
from dual_data.release.tables import tables_of
from dual_data.release.tree import content_of, write_release
from dual_data.release.verify import verify
from dual_data.released import Place, Release, locate, read_release
from dual_data.schema import Facts, Knowledge, Links, Questions, Salience, Splits
from tests.release.made import MODEL, NAMES, PUBLISHED, SIZES, artifacts, invented_build, world

Released = tuple[Release, Path]


def front_matter(folder: Path) -> dict[str, Any]:
    head = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    metadata = yaml.safe_load(head)
    assert isinstance(metadata, dict)
    return metadata


def test_every_recipe_and_intermediate_is_a_configuration(released: Released) -> None:
    release, _ = released
    assert {"matched", "matched_answer", "paper", "facts", "links", "questions", "knowledge", "splits"} <= set(
        release.configs
    )
    assert {"baselines", "balance", "capacity", "recipes"} <= set(release.configs)


def test_what_the_data_cannot_make_is_absent_and_the_card_says_so(released: Released) -> None:
    release, folder = released
    assert "salience" not in release.configs
    assert release.absent == {"salience": "the build has no rows of it"}
    assert "- salience: the build has no rows of it" in (folder / "README.md").read_text()


def test_recipes_without_members_are_absent_with_their_reason(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8), sizes={**SIZES, "smallest": 500})
    release = write_release(build, tmp_path / "out", name="made")
    assert not {"matched", "matched_answer", "paper", "balance"} & set(release.configs)
    assert release.absent["matched_answer"] == "no topic has enough pairs"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "matched\\_answer: no topic has enough pairs" in text
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


@pytest.mark.parametrize("name", ["dual[1]", "dual*", "dual?"])
def test_a_path_that_looks_like_a_pattern_is_none(build: Build, released: Released, tmp_path: Path, name: str) -> None:
    shutil.copytree(build.folder, tmp_path / "dual1" / "made")
    folder = shutil.copytree(build.folder, tmp_path / name / "made")
    target = tmp_path / name / "release"
    shutil.copytree(released[1], tmp_path / "dual1" / "release")
    (tmp_path / "dual1" / "release" / "facts" / "train.parquet").write_text("not the table of this release")
    assert write_release(read_build(folder, NAMES), target, name="made").content == released[0].content
    assert verify(locate(target))[1] == []
    assert (target / "README.md").read_text().count("<code>") == (released[1] / "README.md").read_text().count("<code>")
    assert not any(map(len, compare(read_snapshot(str(folder)), read_snapshot(str(target)))[:4]))


def test_front_matter_is_what_the_hub_reads(released: Released) -> None:
    release, folder = released
    head = front_matter(folder)
    assert head["license"] == "cc0-1.0"
    assert head["language"] == ["en"]
    assert head["size_categories"] == ["1K<n<10K"]
    assert "arxiv:2602.19612" in head["tags"]
    assert [config["config_name"] for config in head["configs"]] == list(release.configs)
    assert [config["config_name"] for config in head["configs"] if config.get("default")] == ["matched"]
    listed = {entry["path"] for config in head["configs"] for entry in config["data_files"]}
    assert listed == {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}


@pytest.mark.parametrize(
    ("rows", "size"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (9_999_999, "1M<n<10M"), (10_000_000, "10M<n<100M"), (10**9, "1B<n<10B")],
)
def test_the_size_is_the_hubs_word_for_it(released: Released, rows: int, size: str) -> None:
    file = released[0].configs["facts"]["train"].model_copy(update={"rows": rows})
    large = released[0].model_copy(update={"configs": {"facts": {"train": file}}})
    assert card_head(large)["size_categories"] == [size]


def test_a_table_that_another_build_replaced_is_not_released(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8))
    shutil.rmtree(build.folder)
    artifacts(tmp_path, world(subjects=9), git="none")
    with pytest.raises(DualDataError, match=r"\.parquet: changed while it was released; run the same command again"):
        write_release(build, tmp_path / "out", name="made")
    assert not (tmp_path / "out").exists()


def test_categories_are_released_as_text(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8))
    path = build.folder / "links" / "data.parquet"
    kinds = pl.Enum(["linkshere"]), pl.List(pl.Categorical), pl.Struct({"a": pl.Enum(["linkshere"])})
    odd = pl.read_parquet(path).with_columns(
        *(pl.col("method").cast(kinds[0]).alias(name) for name in ("method", "other")),
        lists=pl.concat_list("method").cast(kinds[1]),
        parts=pl.struct(a="method").cast(kinds[2]),
    )
    odd.write_parquet(path)
    links = build.manifests["links"]
    outcome = {**links.outcome, "data": links.outcome["data"].model_copy(update={"file": file_hash(path)})}
    manifests = {**build.manifests, "links": links.model_copy(update={"outcome": outcome})}
    write_release(build._replace(manifests=manifests), tmp_path / "out", name="made")
    released = pl.read_parquet(tmp_path / "out" / "links" / "train.parquet")
    assert [released.schema[name] for name in ("method", "other", "lists", "parts")] == [
        pl.String, pl.String, pl.List(pl.String), pl.Struct({"a": pl.String}),
    ]  # fmt: skip
    assert released["method"].to_list() == odd["method"].to_list()


def test_a_dataset_of_a_users_own_says_nothing_of_dual(build: Build, tmp_path: Path) -> None:
    write_release(build, tmp_path / "bare", name="made")
    about = About(title="Towns & rivers", description="Of *towns*.", language="pt-BR", url="https://towns.invalid/")
    write_release(build, tmp_path / "own", name="made", about=about)
    for folder, title, language in (("bare", "made", "en"), ("own", "Towns & rivers", "pt-BR")):
        card = (tmp_path / folder / "README.md").read_text()
        described = json.loads((tmp_path / folder / "croissant.json").read_text())
        head = front_matter(tmp_path / folder)
        assert (head["pretty_name"], head["language"], described["name"]) == (title, [language], title)
        assert described["inLanguage"] == language
        assert not [tag for tag in head["tags"] if "arxiv" in tag]
        assert "This dataset was made with dual-data" in card
        for words in ("DUAL", "arXiv", "introduced", "bibtex", "Please cite"):
            assert words not in card.replace("DUAL_DATA", "")
        assert not {"creator", "citeAs"} & set(described)
    assert "\n\nOf *towns*.\n\nEvery row" in (tmp_path / "own" / "README.md").read_text()
    assert json.loads((tmp_path / "own" / "croissant.json").read_text())["url"] == "https://towns.invalid/"


@pytest.mark.parametrize(
    ("licence", "address"),
    [("cc-by-sa-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"), ("odbl", "odbl")],
)
def test_a_dataset_of_a_users_own_has_its_licence(build: Build, tmp_path: Path, licence: str, address: str) -> None:
    write_release(build, tmp_path / "own", name="made", about=About(licence=licence))
    assert front_matter(tmp_path / "own")["license"] == licence
    assert json.loads((tmp_path / "own" / "croissant.json").read_text())["license"] == [address]
    end = (tmp_path / "own" / "README.md").read_text().split("## Licence")[1]
    assert f"`{licence}`." in end
    assert not re.search("CC0|Wikidata", end)


def test_card_says_what_a_reader_needs(released: Released) -> None:
    text = (released[1] / "README.md").read_text()
    for words in (
        "arXiv 2602.19612", "@misc{dual2026anatomy", "## Limits", "popularity signal is a proxy", "judge's salience",
        "## Versions", "## Baselines", "## Balance", "| `town_forget_rare_5` |", "CC0 1.0", "neighbor_subject",
    ):  # fmt: skip
        assert words in text
    assert "author" not in text.split("```bibtex")[1], "the authors are not known to us"
    assert "$" not in text.replace("\\$", ""), "a placeholder was left"


def test_baselines_and_balance_of_the_card_are_those_measured(released: Released, build: Build) -> None:
    text = (released[1] / "README.md").read_text()
    row = build.table("splits", "baselines").filter(
        (pl.col("recipe") == "matched") & (pl.col("split") == "town_forget_rare_5")
    )
    figures = [f"{row.item(0, name):.3f}" for name in ("subject_copy", "majority_answer", "relation_majority")]
    assert f"| `town_forget_rare_5` | {row.item(0, 'rows')} | {' | '.join(figures)} |" in text


def test_the_card_marks_what_is_not_balanced() -> None:
    rows = [
        ("matched", "a_rare_5", "subject_length", 0.1, None),
        ("matched", "a_rare_5", "relation", None, 0.5195),
        ("matched", "b_rare_5", "subject_length", -0.101, None),
        ("matched", "b_rare_5", "relation", None, 0.4795),
        ("paper", "c_rare_5", "relation", None, 0.5),
    ]
    frame = pl.DataFrame(rows, schema=["recipe", "rare", "measure", "difference", "auc"], orient="row")
    assert _balance(frame) == (
        "`matched`\n\n"
        "| rare split, and its popular twin | subject length | relation, AUC |\n|---|---|---|\n"
        "| `a_rare_5` | 0.100 | 0.519 |\n| `b_rare_5` | **-0.101** | **0.479** |\n\n"
        "`paper`\n\n"
        "| rare split, and its popular twin | relation, AUC |\n|---|---|\n| `c_rare_5` | 0.500 |"
    )


def test_the_card_of_a_version_says_how_to_read_it_and_what_was_rejected_and_known(released: Released) -> None:
    release, folder = released
    facts, splits = release.stages["facts"], release.stages["splits"]
    params = {**splits.basis.params, "matched": {"models": ["b/two", "a/one"]}, "paper": {"model": "a/one"}}
    rejected = dict(zip("fedcba", (2006, 5, 4, 3, 2, 1), strict=True))
    stages = {
        **release.stages,
        "facts": facts.model_copy(update={"rejected": rejected}),
        "splits": splits.model_copy(update={"basis": splits.basis.model_copy(update={"params": params})}),
    }
    pushed = release.model_copy(update={"repository": "made-up/dual", "version": "1.2.3", "stages": stages})
    text = card(pushed, Place(folder=folder))
    config, split = "matched", next(name for name in release.configs["matched"] if "forget" in name)
    assert f'load_dataset("made-up/dual", "{config}", split="{split}", revision="v1.2.3")' in text
    assert f'load("{config}", "{split}", source="made-up/dual", revision="v1.2.3")' in text
    rows = pl.read_parquet(folder / config / f"{split}.parquet").select("question", "answer").head(5).rows()
    samples = "\n".join(f"| {question} | {answer} |" for question, answer in rows)
    assert f"| question | answer |\n|---|---|\n{samples}\n\n" in text
    assert "| `facts` | 360 | 2,021 | f 2,006, e 5, d 4, c 3, b 2, and 1 more |" in text
    assert "(a/one, b/two). For any other model" in text
    bare = card(release, Place(folder=folder))
    assert f'load_dataset("PATH/OF/THIS/FOLDER", "{config}", split="{split}")' in bare
    assert "(none in this build). For any other model" in bare


def test_a_release_without_the_recommended_recipe_opens_with_its_first(released: Released) -> None:
    configs = {name: released[0].configs[name] for name in ("paper", "facts")}
    head = card_head(released[0].model_copy(update={"configs": configs}))
    assert [config["config_name"] for config in head["configs"] if config.get("default")] == ["paper"]


def test_the_content_of_a_release_is_that_of_its_tables_by_name_in_any_order(released: Released) -> None:
    release = released[0]
    turned = {config: dict([*splits.items()][::-1]) for config, splits in [*release.configs.items()][::-1]}
    assert content_of(turned) == release.content
    exchanged = {**release.configs, "facts": release.configs["links"], "links": release.configs["facts"]}
    assert content_of(exchanged) != release.content


def test_limited_dirty_and_unresolved_builds_say_so(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=20, resolved=False), limit=7, git="dirty")
    release = write_release(build, tmp_path / "out", name="made")
    assert (release.state.limit, release.state.dirty) == (7, True)
    assert release.state.unresolved == build.table("facts").height
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count("[!WARNING]") == 3


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


def test_clean_build_has_no_warning_and_names_its_commit(released: Released) -> None:
    release, folder = released
    assert (release.state.limit, release.state.dirty, release.state.unresolved) == (None, False, 0)
    assert release.state.commit
    assert release.state.commit[:12] in (folder / "README.md").read_text()
    assert "WARNING" not in (folder / "README.md").read_text()


def test_snapshot_of_other_sources_says_so_and_carries_their_licences(build: Build, tmp_path: Path) -> None:
    facts = build.manifests["facts"]
    basis = facts.basis.model_copy(update={"sources": {"embedded snapshot": "0" * 64}})
    manifests = {**build.manifests, "facts": facts.model_copy(update={"basis": basis})}
    release = write_release(Build(build.folder, manifests), tmp_path / "out", name="made")
    assert release.state.snapshot
    assert front_matter(tmp_path / "out")["license"] == ["cc0-1.0", "isc", "mit"]
    assert json.loads((tmp_path / "out" / "croissant.json").read_text())["license"] == [
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "https://spdx.org/licenses/ISC.html",
        "https://spdx.org/licenses/MIT.html",
    ]
    assert "snapshot inside dual-data" in (tmp_path / "out" / "README.md").read_text()
    assert "MIT License" in (tmp_path / "out" / "sources" / "rigour.txt").read_text()
    assert "sources/SOURCES.md" in release.files
    assert verify(locate(tmp_path / "out"))[1] == []


def test_project_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert invented_build(tmp_path, world(subjects=4), git="none").state().commit is None


def test_same_rows_give_the_same_content_wherever_they_are_built(released: Released, tmp_path: Path) -> None:
    again = write_release(invented_build(tmp_path / "b"), tmp_path / "out", name="made")
    assert again.content == released[0].content
    assert again.configs == released[0].configs, "the files too, byte by byte"


def test_a_column_is_described_as_what_it_is_in_its_table() -> None:
    assert describe("answers", "matched") == "Every accepted answer, the canonical one first."
    assert describe("answers", "knowledge_usage") == "Its answers, those of earlier runs included."
    assert describe("sitelinks_object", "matched") == "Wikimedia pages about the object."
    assert describe("sitelinks_relation", "matched") == ""


def test_columns_of_models_are_described(released: Released) -> None:
    text = (released[1] / "README.md").read_text()
    assert "| `subject` | String | The subject as it stands in the question, disambiguated" in text
    assert MODEL not in text.split("## Columns")[1]


def test_the_origin_names_each_source_once_and_no_service_that_was_not_called(released: Released) -> None:
    release = released[0]
    stage = release.stages["facts"]
    stages = {
        name: stage.model_copy(
            update={
                "basis": stage.basis.model_copy(update={"services": {"s": name}, "sources": {"tables": "0"}}),
                "calls": calls,
                "build": {"built_at": "2026-01-02T10:00:00"},
            }
        )
        for name, calls in (("asked", {"s": Counts(0, 3, 0)}), ("idle", {}))
    }
    text = _origin(release.model_copy(update={"stages": stages}))
    assert text.endswith("built 2026-01-02; services: s asked; read: tables.")


def test_every_column_has_a_meaning(released: Released) -> None:
    columns = (released[1] / "README.md").read_text().split("## Columns")[1].split("## Versions")[0]
    assert not re.findall(r"^\| `\w+` \| [^|]+ \| +\|$", columns, re.MULTILINE)
    for table in (Facts, Links, Questions, Knowledge, Salience, Splits):
        assert [name for name in table.column_names() if not describe(name, table.__name__.lower())] == []


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_earlier_release_is_replaced_and_other_folders_are_not(build: Build, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    write_release(build, target, name="again")
    assert read_release(Place(folder=target)).name == "again"
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"other: exists and is not a release \(thesis\.tex\); choose another folder"):
        write_release(build, foreign, name="made")
    with pytest.raises(UsageError, match=r"thesis\.tex: exists and is not a release; choose another folder"):
        write_release(build, foreign / "thesis.tex", name="made")
    assert (foreign / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"], "nothing is left lying about"


EXTENSION = {"manifest_version": 3, "name": "tabs", "version": "1.0", "files": {"popup.html": ""}}


@pytest.mark.parametrize("kind", ["stage", "extension"])
def test_a_folder_with_a_manifest_of_something_else_stays(build: Build, tmp_path: Path, kind: str) -> None:
    target = tmp_path / kind
    if kind == "stage":
        shutil.copytree(build.folder / "facts", target)
    else:
        target.mkdir()
        (target / "popup.html").write_text("years of work")
        (target / "manifest.json").write_text(json.dumps(EXTENSION))
    before = contents(target)
    with pytest.raises(
        UsageError, match=rf"{kind}: exists and is not a release \(.*manifest\.json.*\); choose another"
    ):
        write_release(build, target, name="made")
    assert contents(target) == before


@pytest.mark.parametrize(
    ("own", "names"),
    [
        (["my_notes.md"], r"my_notes\.md"),
        (["facts/own.parquet", "croissant.json.bak"], r"croissant\.json\.bak, facts/own\.parquet"),
        ([".git/HEAD", ".gitignore"], r"\.git/HEAD, \.gitignore"),
        (["e", "d", "c", "b", "a"], "a, b, c and 2 more"),
    ],
)
def test_earlier_release_with_files_of_somebody_stays(
    build: Build, released: Released, tmp_path: Path, own: list[str], names: str
) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    for path in own:
        (target / path).parent.mkdir(exist_ok=True)
        (target / path).write_text("years of work")
    before = contents(target)
    with pytest.raises(UsageError, match=rf"out: holds files that no release wrote \({names}\), .*\. Move them out"):
        write_release(build, target, name="made")
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_earlier_release_with_a_link_of_somebody_stays(build: Build, released: Released, tmp_path: Path) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    (target / "mine").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(UsageError, match=r"\(mine\)"):
        write_release(build, target, name="made")
    assert (target / "mine").is_symlink()


@pytest.mark.parametrize("version", [1, 99])
def test_damaged_release_of_any_version_is_replaced(
    build: Build, released: Released, tmp_path: Path, version: int
) -> None:
    target = tmp_path / "out"
    shutil.copytree(released[1], target)
    manifest = json.loads((target / "manifest.json").read_text())
    del manifest["absent"], manifest["files"]["README.md"]
    (target / "manifest.json").write_text(json.dumps({**manifest, "format": version, "newer": [1, {}]}))
    (target / "README.md").write_text("changed")
    (target / "facts/train.parquet").write_bytes(b"cut off")
    (target / "links/train.parquet").unlink()
    release = write_release(build, target, name="made")
    assert verify(locate(target)) == (release, [])


def test_a_link_stays_and_the_folder_behind_it_is_replaced(build: Build, tmp_path: Path) -> None:
    (tmp_path / "behind").mkdir()
    (tmp_path / "link").symlink_to("behind")
    write_release(build, tmp_path / "link", name="made")
    assert (tmp_path / "link").is_symlink()
    assert verify(locate(tmp_path / "behind"))[1] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["behind", "link"]


@pytest.mark.parametrize("target", [".", ".."])
def test_the_working_directory_is_not_replaced(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    (tmp_path / "empty" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "empty" / "in")
    with pytest.raises(
        UsageError, match="holds the working directory, so it cannot be replaced; choose another folder"
    ):
        write_release(build, Path(target), name="made")


def test_a_mount_point_is_not_replaced(build: Build) -> None:
    with pytest.raises(UsageError, match="is a mount point, so it cannot be replaced"):
        write_release(build, Path("/proc"), name="made")


def test_failure_leaves_the_earlier_release(build: Build, tmp_path: Path) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    before = (target / "manifest.json").read_bytes()

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_release(build, target, name="other", report=stop)
    assert (target / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("moment", ["out of the way", "into its place"])
def test_an_interrupt_while_folders_are_moved_leaves_a_release(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    target = tmp_path / "out"
    write_release(build, target, name="made")
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    move = Path.rename

    def interrupted(path: Path, to: Path) -> Path:
        if moment == "out of the way" and path == target:
            move(path, to)
            raise KeyboardInterrupt
        if moment == "into its place" and path.name == "tree":
            raise KeyboardInterrupt
        return move(path, to)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_release(build, target, name="another")
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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
        "links/train.parquet: its rows were changed",
        "manifest.json: its content hash does not follow from its tables",
    ]


def test_a_stage_of_another_build_is_found(released: Released, tmp_path: Path) -> None:
    target = shutil.copytree(released[1], tmp_path / "out")
    manifest = json.loads((target / "manifest.json").read_text())
    rows = manifest["stages"]["facts"]["outcome"]["data"]["rows"]
    manifest["stages"]["facts"]["outcome"]["data"]["rows"] += 1
    (target / "manifest.json").write_text(json.dumps(manifest))
    assert verify(Place(folder=target))[1] == [
        f"facts/train.parquet: {rows} rows, but its stage made {rows + 1}: it is from another build"
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
    with pytest.raises(InputError, match=rf"manifest.json is not that of a release \(1 faults; .*stages.facts.{fault}"):
        verify(Place(folder=target))
