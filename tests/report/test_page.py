"""The page as a whole: complete, self-contained, safe, and explicit about missing data."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import polars as pl
import pytest

from dual_data.audit import audit
from dual_data.errors import DualDataError
from dual_data.report.audited import PAIR, SPLIT, published
from dual_data.report.page import render, sections, write_report
from dual_data.report.popularity import pairs
from dual_data.report.read import read_built
from tests.reference import REFERENCE, needs_reference
from tests.release.made import MODEL, NAMES, artifacts, world
from tests.report.conftest import HOSTILE, Report, judged, report_on
from tests.report.test_markup import Tags

SECTIONS = (
    "stages", "topics", "relations", "recipes", "popularity", "salience", "knowledge", "audit", "samples", "provenance",
)  # fmt: skip


def section(text: str, name: str) -> str:
    """The section of that name."""
    match = re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)
    assert match, f"no section {name}"
    return match.group()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", Tags(text).text)


def test_every_section_is_there_and_linked(full: Report) -> None:
    assert re.findall(r'<section id="(\w+)"', full.text) == list(SECTIONS)
    assert re.findall(r'<li><a href="#(\w+)">', full.text) == list(SECTIONS)
    identifiers = re.findall(r'\bid="([^"]+)"', full.text)
    assert len(identifiers) == len(set(identifiers))


def test_the_numbers_are_those_of_the_build(full: Report) -> None:
    stages = section(full.text, "stages")
    for name, manifest in full.built.manifests.items():
        assert f'<th scope="row"><bdi>{name}</bdi></th><td class="number">{manifest.outcome["data"].rows:,}' in stages
    for name in ("matched", "matched_answer", "paper"):
        assert f"popularity-{name}" in full.text or f"<bdi>{name}</bdi>" in section(full.text, "recipes")
    assert section(full.text, "popularity").count("<figure") == len(full.built.recipes())
    assert "made-up judge (logprobs)" in words(section(full.text, "salience"))
    # The judge orders facts as the links do: the correlation is exact.
    exact = "subject</bdi></th><td><bdi>all scored facts.*?" + r'<td class="number">1\.000</td>' * 3
    assert re.search(exact, section(full.text, "salience"))
    assert MODEL in section(full.text, "knowledge")
    assert full.built.manifests["splits"].fingerprint[:16] in section(full.text, "provenance")
    assert full.built.manifests["facts"].content()[:16] in section(full.text, "provenance")


def test_questions_of_relations_that_accept_several_objects_are_not_said_to_have_several(tmp_path: Path) -> None:
    frames = world()
    assert frames["facts"]["objects_of_pair"].eq(1).all()
    frames["questions"] = frames["questions"].with_columns(functional=pl.lit(value=False))
    text = section(report_on(tmp_path, frames).text, "topics")
    assert re.findall(r'class="number">([\d,]+)</td></tr>', text) == ["0", "0"]
    assert 'questions of relations that are asked for one object alone (unique = "one");' in words(text)


def test_one_judged_fact_is_not_spoken_of_as_several(tmp_path: Path) -> None:
    frames = judged(world(subjects=20))
    frames["salience"] = frames["salience"].head(1).with_columns(low_mass=pl.lit(value=True))
    text = words(section(report_on(tmp_path, frames).text, "salience"))
    assert "1 of 1 judged fact with a score" in text
    assert "little probability on the scale for 1 fact: such scores say little" in text


def test_medians_are_read_out_with_all_their_digits_and_their_side(tmp_path: Path) -> None:
    frames = world()
    frames["links"] = frames["links"].with_columns(pl.col("inbound_links") * 10_008)
    text = section(report_on(tmp_path, frames).text, "popularity")
    medians = re.findall(r"river: median ([\d,]+) rare, ([\d,]+) popular", text)
    assert medians
    rare, popular = (int(number.replace(",", "")) for number in medians[0])
    assert (rare < popular, rare % 5_004, popular % 5_004) == (True, 0, 0)
    cells = r"river, \d+ %</bdi></th><td><bdi>\w+</bdi></td>" + r'<td class="number">([\d,.]+)</td>' * 4
    assert [median for *_, median in re.findall(cells, text)] == [median for pair in medians for median in pair]


def test_quartiles_of_counts_have_the_decimals_that_they_need_and_no_more(tmp_path: Path) -> None:
    frames = world()
    frames["links"] = frames["links"].with_columns(pl.col("inbound_links") * 2 + 1)
    quantiles = r'<td class="number">([\d,.]+)</td>' * 5 + "</tr>"
    rows = re.findall(quantiles, section(report_on(tmp_path, frames).text, "popularity"))
    texts = [text for row in rows for text in row if "." in text]
    assert texts
    assert not [text for text in texts if text.endswith("0")]


def test_links_that_were_counted_otherwise_are_told(tmp_path: Path) -> None:
    frames = judged(world())
    exact = pl.Series(range(frames["links"].height)) < 2
    method = pl.when(exact).then(pl.lit("linkshere")).otherwise(pl.lit("cirrusdoc"))
    frames["links"] = frames["links"].with_columns(method=method)
    text = words(section(report_on(tmp_path, frames).text, "salience"))
    assert "Inbound links: Wikipedia pages that link there (cirrusdoc, approximate); for 2 of " in text
    assert "entities: Wikipedia pages that link there (linkshere, exact)." in text
    frames["links"] = frames["links"].with_columns(capped=exact)
    text = words(section(report_on(tmp_path / "capped", frames).text, "salience"))
    assert re.search(r"exact\); for 2 of [\d,]+ entities there may be more, for counting stopped at the cap\.", text)


@pytest.mark.parametrize("method", ["cirrusdoc", "linkshere", "dump"])
def test_every_way_to_count_links_in_wikipedia_says_so(tmp_path: Path, method: str) -> None:
    frames = judged(world())
    frames["links"] = frames["links"].with_columns(method=pl.lit(method))
    text = words(section(report_on(tmp_path, frames).text, "salience"))
    assert f"Inbound links: Wikipedia pages that link there ({method}, " in text


def test_links_within_the_snapshot_are_no_inbound_links_of_pages(tmp_path: Path) -> None:
    frames = judged(world())
    frames["links"] = frames["links"].with_columns(method=pl.lit("in_degree"))
    text = words(section(report_on(tmp_path, frames).text, "salience"))
    assert "In-degree: subjects of the embedded graph that state something about it." in text
    assert "inbound links" not in text.lower()


def test_the_page_loads_nothing_and_names_no_address(full: Report) -> None:
    parsed = Tags(full.text)
    assert not {"link", "iframe", "object", "embed", "base", "image", "use:external"} & set(parsed.tags)
    loading = [(name, value) for name, value in parsed.attributes if name in ("src", "href", "xlink:href", "action")]
    assert all(value and value.startswith("#") for _, value in loading)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", full.text, re.DOTALL)
    assert style
    assert "url(" not in style.group(1)
    assert "@import" not in style.group(1)


def test_hostile_names_are_text(full: Report) -> None:
    assert HOSTILE.split("\u202e")[0] in Tags(full.text).text
    assert not set(full.text) & set("\u202e\x07")
    # Our own script is the only one, and there is no image.
    assert Tags(full.text).tags.count("script") == 1
    assert "img" not in Tags(full.text).tags


def test_sample_rows_carry_what_the_filters_compare(full: Report) -> None:
    table = section(full.text, "samples")
    rows = re.findall(r'<tr data-topic="(\d+)" data-relation="(\d+)" data-split=" ([\d ]*) ">', table)
    assert len(rows) > 50
    options = [
        len(re.findall("<option", select)) - 1 for select in re.findall(r"<select.*?</select>", table, re.DOTALL)
    ]
    splits = {place for *_, places in rows for place in places.split()}
    counts = [len({row[0] for row in rows}), len({row[1] for row in rows}), len(splits)]
    assert counts == options
    split_rows = full.built.table("splits")
    assert split_rows is not None
    assert options[2] == split_rows.select("recipe", "split").n_unique()


def test_the_same_build_gives_the_same_page(full: Report) -> None:
    assert render(full.built, sections(full.built, {})) == render(full.built, sections(full.built, {}))


def test_what_is_missing_is_said_in_words(tmp_path: Path) -> None:
    report = report_on(tmp_path, without=("links", "knowledge", "salience", "splits"))
    text = {name: words(section(report.text, name)) for name in SECTIONS}
    assert "The stage salience is not built." in text["salience"]
    assert "The stage knowledge is not built." in text["knowledge"]
    assert "The stage splits is not built." in text["recipes"]
    assert "No recipe has a rare and a popular split" in text["popularity"]
    assert "the published figures stand alone" in text["audit"]
    assert "The stage links is not built." in words(report.text)
    assert "chosen by hash" in text["samples"]


@pytest.mark.parametrize("stage", ["facts", "questions"])
def test_a_section_names_the_stage_that_it_lacks(tmp_path: Path, stage: str) -> None:
    report = report_on(tmp_path, judged(world()), without=(stage,))
    assert f"The stage {stage} is not built. There are no questions to show." in words(section(report.text, "samples"))
    if stage == "facts":
        salience = words(section(report.text, "salience"))
        assert "There are no facts, so nothing to hold the scores against." in salience


def test_an_empty_build_says_so_everywhere(tmp_path: Path) -> None:
    root = tmp_path / "project"
    report = report_on(root, without=tuple(name for name in NAMES if name != "salience"))
    text = {name: words(section(report.text, name)) for name in SECTIONS}
    assert "no topics" in text["topics"]
    assert "no relations" in text["relations"]
    assert "No judge is set" in text["salience"]
    assert "There are no questions" in text["samples"]
    shutil.rmtree(root / "artifacts")
    with pytest.raises(DualDataError, match="nothing is built here yet"):
        read_built("made", root / "artifacts" / "made", NAMES)


def test_doubts_about_a_build_stand_first(tmp_path: Path) -> None:
    folder = artifacts(tmp_path, limit=500, git="dirty")
    (folder / "links" / "data.parquet").write_bytes((folder / "facts" / "data.parquet").read_bytes())
    built = read_built("made", folder, NAMES)
    doubts = " ".join(built.doubts)
    assert "links/data.parquet is not what the build wrote." in doubts
    assert "limited to 500 facts" in doubts
    assert "uncommitted changes" in doubts
    assert "splits was built from another facts" in " ".join(
        replace(
            built, manifests={name: manifest for name, manifest in built.manifests.items() if name != "facts"}
        ).doubts
    )


def test_a_clean_build_has_no_doubts(full: Report) -> None:
    assert full.built.doubts == []
    assert "Before you cite" not in full.text


def test_a_table_that_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    folder = artifacts(tmp_path)
    (folder / "facts" / "data.parquet").write_bytes(b"PAR1")
    with pytest.raises(DualDataError, match=r"facts/data\.parquet: cannot be read .* dual-data build facts"):
        write_report(read_built("made", folder, NAMES), {}, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_pairs_are_the_largest_of_each_topic() -> None:
    names = [f"town_forget_{side}_{size}" for side in ("rare", "popular") for size in (1, 5, 10)]
    names += ["river_forget_rare_1", "river_forget_popular_1", "lake_forget_rare_5", "town_retain_train"]
    rows = pl.DataFrame({"split": names})
    result = [(pair.family, pair.percent, pair.rare["split"].item()) for pair in pairs("matched", rows)]
    assert result == [("river", 1, "river_forget_rare_1"), ("town", 10, "town_forget_rare_10")]


def test_pairs_whose_sides_are_not_apart_are_named_with_the_reason(full: Report, tmp_path: Path) -> None:
    reason = "Rare and popular are the lowest and the highest third of each relation in its topic: "
    assert reason not in words(section(full.text, "popularity"))
    frames = world()
    rivers = pl.col("qid").str.contains(r"^Q20\d\d$")
    links = frames["links"].with_columns(inbound_links=pl.col("inbound_links") + pl.when(rivers).then(300).otherwise(0))
    text = words(section(report_on(tmp_path, frames | {"links": links}).text, "popularity"))
    assert re.findall(rf"{reason}.*?, as in ([^.]*)\.", text) == ["all, 5 %"], "one topic alone has its sides apart"


def test_the_audit_shows_the_largest_pair_of_each_recipe(full: Report) -> None:
    largest = []
    for rows in full.built.recipes().values():
        sizes = rows.filter(pl.col("split").str.contains("_forget_rare_"))["split"].value_counts()
        largest += [str(max(sizes["count"].to_list()))] * 2
    table = re.search(r">Rows</.*?</tr>", section(full.text, "audit"), re.DOTALL)
    assert table
    _, _, *ours = re.findall(r'<td class="number">([\d,]+)</td>', table.group())
    assert ours == largest


def test_every_published_figure_has_a_place() -> None:
    source, theirs = published()
    assert "Measured by dual-data audit on the published rows" in source
    assert {measure.key for measure in SPLIT} <= set(theirs.rare)
    assert {measure.key for measure in PAIR} <= set(theirs.pair)


@needs_reference
def test_the_published_figures_are_what_the_audit_measures() -> None:
    stored = json.loads(files("dual_data.report").joinpath("published.json").read_text())
    rows = {name: pl.read_parquet(REFERENCE / "duet" / f"{name}.parquet") for name in stored["splits"]}
    report = audit(rows)
    for name, values in stored["splits"].items():
        measured = {key: report["splits"][name][key] for key in values}
        assert values == pytest.approx(measured, abs=5e-5)
    measured = next(iter(report["pairs"].values()))
    assert stored["pair"] == pytest.approx({key: measured[key] for key in stored["pair"]}, abs=5e-5)
