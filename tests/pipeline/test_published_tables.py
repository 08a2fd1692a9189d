"""The matched recipes on the published label tables, measured by the audit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from dual_data.audit import measures, pairs
from dual_data.audit.columns import Table, standard
from dual_data.calls.fetching import Calls
from dual_data.config import Services
from dual_data.engine.stage import Result
from dual_data.engine.tables import settle
from dual_data.schema import Facts, Knowledge, Links, Questions, Salience
from pipeline import facts, questions, splits
from tests.reference import REFERENCE, needs_reference
from tests.tools import without_models

ROOT = Path(__file__).resolve().parents[2]
pytestmark = needs_reference


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """All splits of the published tables, labels mode, popularity by mentions."""
    with Calls(tmp_path_factory.mktemp("calls") / "calls.sqlite", read_only=True) as calls:
        tools = without_models(ROOT, Services(), calls)
        params = facts.FactsParams(source="labels", folder=str(REFERENCE / "wikidata_triplets"))
        fact_rows = settle(facts.run(params, tools), Facts, "facts").rows
        question_rows = settle(
            questions.run(questions.QuestionsParams(), tools, facts=fact_rows), Questions, "questions"
        ).rows
        mentions = {"signal": "mentions"}
        yield splits.run(
            splits.SplitsParams.model_validate({"matched": mentions, "paper": mentions}),
            tools,
            facts=fact_rows,
            questions=question_rows,
            links=Links.create_empty(),
            knowledge=Knowledge.create_empty(),
            salience=Salience.create_empty(),
        )


def tables_of(built: Result, recipe: str) -> dict[str, Table]:
    rows = built.tables[f"examples/{recipe}"]
    return {str(name): standard(split) for (name,), split in rows.group_by("split", maintain_order=True)}


@pytest.mark.parametrize(("side", "asked", "chosen"), [("rare", 53, 28), ("popular", 457, 331)])
def test_readme_says_how_many_published_rows_a_rebuild_keeps(built: Result, side: str, asked: int, chosen: int) -> None:
    split, columns = f"city_forget_{side}_5", ["subjectLabel", "property_pid", "objectLabel"]
    theirs = pl.read_parquet(REFERENCE / "duet" / f"{split}.parquet")
    ours = built.tables["examples/paper"]
    kept = [theirs.join(ours.filter(split=name), on=columns, how="semi").height for name in ("city_full", split)]
    assert (theirs.height, kept) == (482, [asked, chosen])
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert all(re.search(rf"\b{number}\b", readme) for number in (asked, chosen))


_IN_README = {
    "facts": "rows",
    "score of repeating the subject's name": "subject_copy_rouge",
    "score of always giving the commonest answer": "majority_rouge",
    "score of the relation's commonest answer": "relation_majority_rouge",
    "malformed questions": "malformed_share",
    "questions with half of their answer's words": "answer_in_question_share",
    "AUC with which the relation tells rare from popular": "auc_relation",
    "AUC of the answer's length": "auc_answer_length",
    "AUC of the answer": "auc_answer",
}
"""Rows of the README's table, by what they say."""


def test_readme_compares_with_the_published_sets(built: Result) -> None:
    sides = ["city_forget_rare_5", "city_forget_popular_5"]
    columns = [[standard(pl.read_parquet(REFERENCE / "duet" / f"{side}.parquet")) for side in sides]]
    columns += [[tables_of(built, recipe)[side] for side in sides] for recipe in ("matched", "matched_answer")]

    def cell(name: str, column: list[Table]) -> str:
        if name.startswith("auc_"):
            return f"{pairs.compare(*(pairs.counted(table.rows) for table in column))[name]:.3f}"
        rare, popular = (measures.measure(table)[name] for table in column)
        return f"{rare} / {popular}" if name == "rows" else f"{100 * rare:.0f} / {100 * popular:.0f} %"

    header = "| rare / popular | published | `matched` | `matched_answer` |\n|---|---|---|---|\n"
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition(header)[2].partition("\n\n")[0]
    rows = [[text.strip() for text in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows == [[label, *(cell(name, column) for column in columns)] for label, name in _IN_README.items()]


@pytest.mark.parametrize("recipe", ["matched", "matched_answer"])
def test_no_question_has_half_of_the_words_of_its_answer(built: Result, recipe: str) -> None:
    """By all words, as the definition has it, and not by the audit's code."""
    rows = built.tables[f"examples/{recipe}"].select("question", "answer").unique()
    pairs_of_words = [tuple(re.findall(r"\w+", text.lower()) for text in row) for row in rows.iter_rows()]
    assert not [
        (question, answer)
        for question, answer in pairs_of_words
        if sum(word in question for word in answer) >= len(answer) / 2
    ]


def forget_tables(built: Result, recipe: str) -> dict[str, Table]:
    return {name: table for name, table in tables_of(built, recipe).items() if "_forget_" in name}


@pytest.mark.parametrize("recipe", ["matched", "matched_answer"])
def test_splits_have_none_of_the_published_defects(built: Result, recipe: str) -> None:
    tables = tables_of(built, recipe)
    assert {"city_forget_rare_5", "city_forget_popular_5", "all_forget_rare_5", "city_retain_train"} <= set(tables)
    for name, table in tables.items():
        scores = measures.measure(table)
        for share in ("malformed", "answer_in_question", "mirrored", "self_answer", "many_objects"):
            assert scores[f"{share}_share"] == 0.0, (name, share)
        assert scores["same_id_share"] is None, "ids that were minted from labels are none"
        assert scores["top_answer_share"] <= 0.05, name
        assert scores["subject_copy_rouge"] <= 0.02, name


@pytest.mark.parametrize(
    ("recipe", "features"),
    [
        ("matched", ("relation", "answer_length")),
        ("matched_answer", ("relation", "answer_length", "answer")),
    ],
)
def test_rare_and_popular_are_told_apart_by_nothing_that_is_matched(
    built: Result, recipe: str, features: tuple[str, ...]
) -> None:
    tables = forget_tables(built, recipe)
    for name, rare in tables.items():
        if "_rare_" not in name:
            continue
        popular = tables[name.replace("_rare_", "_popular_")]
        scores = pairs.compare(pairs.counted(rare.rows), pairs.counted(popular.rows))
        assert scores["shared_subjects"] == scores["shared_questions"] == scores["mirrored_facts"] == 0, name
        for feature in features:
            assert scores[f"auc_{feature}"] == pytest.approx(0.5, abs=0.02), (name, feature)
