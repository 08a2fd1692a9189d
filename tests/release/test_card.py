"""The card of a release: what it says, its YAML, and what each column is."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dual_data.calls.fetching import Counts
from dual_data.config import About
from dual_data.release.build import Build
from dual_data.release.card import Source, _balance, _judged, _known, _origin, _samples, card
from dual_data.release.card import front_matter as card_head
from dual_data.release.columns import describe
from dual_data.release.tables import write_tables
from dual_data.release.tree import write_release
from dual_data.release.verify import verify
from dual_data.released import Place, locate
from dual_data.schema import Facts, Knowledge, Links, Questions, Salience, Splits
from tests.release.made import MODEL, ROOT, Released, invented_build, world


def front_matter(folder: Path) -> dict[str, Any]:
    head = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    metadata = yaml.safe_load(head)
    assert isinstance(metadata, dict)
    return metadata


def test_what_the_data_cannot_make_is_absent_and_the_card_says_so(released: Released) -> None:
    release, folder = released
    assert "salience" not in release.configs
    assert release.absent == {"salience": "the build has no rows of it"}
    assert "- salience: the build has no rows of it" in (folder / "README.md").read_text()


def kinds_of_splits(folder: Path) -> list[tuple[str, str]]:
    """Names, and whether they may be trained on, of every kind of split that the card lists."""
    section = (folder / "README.md").read_text(encoding="utf-8").partition("## Splits")[2].partition("## ")[0]
    return re.findall(r"^\| (`.+) \| .+ \| (.+) \|$", section, re.M)


def test_every_split_is_of_a_kind_that_the_card_lists(released: Released) -> None:
    release, folder = released
    names = [name for names, _ in kinds_of_splits(folder) for name in re.findall(r"`(\w+)`", names)]
    kinds = [re.sub("_[kn]$", r"_\\d+", name) for name in names]
    for config in release.recipes():
        for split in release.configs[config]:
            assert re.fullmatch(rf"([a-z]+_)?({'|'.join(kinds)})", split), f"{config}/{split}"
    assert "full_" in release.configs["paper"]


def test_no_split_that_the_reference_evaluation_trains_on_is_forbidden_by_the_card(released: Released) -> None:
    rows = kinds_of_splits(released[1])
    forbidden = {name for names, permission in rows if permission == "never" for name in re.findall(r"`(\w+)`", names)}
    assert forbidden == {"neighbor_subject", "world_facts"}
    stages = tomllib.loads((ROOT / "pipeline" / "evaluation.toml").read_text(encoding="utf-8"))["stages"]
    trained_on = {name for stage in stages.values() for name in stage["train"]}
    assert "retain_eval" in trained_on
    assert not trained_on & forbidden


def test_front_matter_is_what_the_hub_reads(released: Released) -> None:
    release, folder = released
    head = front_matter(folder)
    assert head["license"] == "cc0-1.0"
    assert head["language"] == ["en"]
    assert head["size_categories"] == ["1K<n<10K"]
    assert {"arxiv:2602.19612", "wikidata"} <= set(head["tags"])
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
    assert (
        "\n\nOf *towns*.\n\nEvery row of a recipe is a fact about a Wikidata item, with its question, its"
        in (tmp_path / "own" / "README.md").read_text()
    )
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


def test_the_card_counts_answers_that_rouge_cannot_score_where_there_are_any(
    tmp_path: Path, released: Released
) -> None:
    frames = world()
    answer = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("東京")).otherwise("answer")
    frames["questions"] = frames["questions"].with_columns(answer=answer, answers=pl.concat_list(answer))
    build = invented_build(tmp_path / "project", frames)
    write_release(build, tmp_path / "tree", name="made")
    text = (tmp_path / "tree" / "README.md").read_text(encoding="utf-8")
    paper = build.table("splits", "examples/paper").filter(split="town_full")
    unscorable = (paper["answer"] == "東京").sum()
    assert 0 < unscorable < paper.height
    assert f"| `town_full` | {paper.height} | {unscorable} | " in text
    assert "*Unscorable* answers" in text
    assert "nscorable" not in (released[1] / "README.md").read_text(encoding="utf-8")


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
    assert "| `facts` | 360 | 2,021 | f 2,006, e 5, d 4, c 3, b 2, and 1 more |" in text
    assert "(a/one, b/two). For any other model" in text
    bare = card(release, Place(folder=folder))
    assert f'load_dataset("PATH/OF/THIS/FOLDER", "{config}", split="{split}")' in bare
    assert "(none in this build). For any other model" in bare


def shown_samples(text: str) -> list[tuple[str, ...]]:
    """Question and answer of the rows that the card shows."""
    rows = text.split("| question | answer |\n|---|---|\n")[1].split("\n\n", maxsplit=1)[0].splitlines()
    return [tuple(row.strip("| ").split(" | ")) for row in rows]


def test_the_samples_are_of_different_relations(released: Released) -> None:
    release, folder = released
    forgotten = pl.concat(
        pl.read_parquet(folder / file.path) for split, file in release.configs["matched"].items() if "forget" in split
    ).unique(["question", "answer"])
    samples = shown_samples((folder / "README.md").read_text())
    rows = pl.DataFrame(samples, schema=["question", "answer"], orient="row").join(forgotten, on=["question", "answer"])
    assert rows.height == len(samples)
    assert sorted(rows["relation"]) == sorted(set(forgotten["relation"]))
    assert rows["relation"].n_unique() > 1


@pytest.mark.parametrize(("relations", "shown"), [(10, range(10)), (11, range(0, 11, 2)), (25, range(0, 25, 3))])
def test_of_many_relations_every_n_th_has_a_sample(
    released: Released, tmp_path: Path, relations: int, shown: range
) -> None:
    names = [f"r{place}" for place in range(relations)]
    frame = pl.DataFrame({"question": names, "answer": names, "relation": names})
    rare, popular = "town_forget_rare_5", "town_forget_popular_5"
    files = write_tables({"matched": {rare: frame.head(9), popular: frame}}, tmp_path)
    release = released[0].model_copy(update={"configs": files})
    text = _samples(Source(release, Place(folder=tmp_path)), "matched", [rare, popular])
    assert shown_samples(text) == [(f"r{place}", f"r{place}") for place in shown]


def test_a_release_without_the_recommended_recipe_opens_with_its_first(released: Released) -> None:
    configs = {name: released[0].configs[name] for name in ("paper", "facts")}
    head = card_head(released[0].model_copy(update={"configs": configs}))
    assert [config["config_name"] for config in head["configs"] if config.get("default")] == ["paper"]


def test_limited_dirty_and_unresolved_builds_say_so(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=20, resolved=False), limit=7, git="dirty")
    release = write_release(build, tmp_path / "out", name="made")
    assert (release.state.limit, release.state.dirty) == (7, True)
    assert release.state.unresolved == build.table("facts").height
    text = (tmp_path / "out" / "README.md").read_text()
    assert text.count("[!WARNING]") == 3
    assert "Wikidata" not in json.loads((tmp_path / "out" / "croissant.json").read_text())["keywords"]
    assert "a fact about an entity, named by its label, with its question" in text
    assert "wikidata" not in front_matter(tmp_path / "out")["tags"]
    assert "Wikidata item" not in text.split("## Columns")[0]


def test_a_build_of_no_known_commit_says_so(tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=20), git="none")
    write_release(build, tmp_path / "out", name="made")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "[!WARNING]\n> The commit of the project that built it is not known." in text


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


def test_a_column_is_described_as_what_it_is_in_its_table() -> None:
    assert describe("answers", "matched") == "Every accepted answer, the canonical one first."
    assert describe("answers", "knowledge_usage") == "Its answers, those of earlier runs included."
    assert describe("sitelinks_object", "matched") == "Wikimedia pages about the object."
    assert describe("sitelinks_relation", "matched") == ""
    assert describe("relation", "matched").startswith("The stem of the relation's file")
    assert describe("functional", "matched").startswith("Whether the relation is asked for one object alone and")
    assert describe("relation", "paper") == "The relation as tables of labels name it."
    assert describe("method", "links").startswith("How links were counted")
    assert describe("method", "salience").startswith("What the score was read from")
    assert describe("statement", "facts") == ""


def test_columns_of_models_are_described(released: Released) -> None:
    text = (released[1] / "README.md").read_text()
    assert "| `subject` | String | The subject as it stands in the question, disambiguated" in text
    columns = text.split("## Columns")[1]
    assert MODEL not in columns
    assert "…" not in columns


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


def test_the_limits_say_what_models_know_and_how_the_judge_answered(released: Released) -> None:
    folder = released[1]
    known = pl.read_parquet(folder / "knowledge" / "train.parquet")
    words = f"{MODEL} knows {known.height:,} of the {known.height:,} facts that it was asked (rule `matched`)."
    assert words in (folder / "README.md").read_text()
    judged = pl.DataFrame({"judge": ["a", "b_c", "b_c"], "low_mass": [False, True, False]})
    assert _judged(judged) == (
        "\n  **b_c put little probability on the scale for 1 of 2 facts** (`low_mass`): scores of these say little."
    )
    assert (_judged(None), _known(None)) == ("", "")


def test_every_column_has_a_meaning(released: Released) -> None:
    columns = (released[1] / "README.md").read_text().split("## Columns")[1].split("## Versions")[0]
    assert not re.findall(r"^\| `\w+` \| [^|]+ \| +\|$", columns, re.MULTILINE)
    for table in (Facts, Links, Questions, Knowledge, Salience, Splits):
        assert [name for name in table.column_names() if not describe(name, table.__name__.lower())] == []
