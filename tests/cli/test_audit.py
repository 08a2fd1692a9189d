"""`dual-data audit` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.cli.command import dual_data


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, answer in (("rare", "Nu"), ("popular", "Mu")):
        rows = {"question": [f"What is the country of {name} {n}?" for n in "ABCD"], "answer": [answer] * 4}
        pl.DataFrame(rows).write_csv(tmp_path / f"{name}.csv")
    return [str(tmp_path / "rare.csv"), str(tmp_path / "popular.csv")]


def test_json_is_one_object_of_splits_and_pairs(files: list[str]) -> None:
    outcome = dual_data("audit", *files, "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert set(report) == {"splits", "pairs"}
    assert list(report["splits"]) == ["rare", "popular"]
    assert report["splits"]["rare"]["top_answer_share"] == 1.0
    assert report["splits"]["rare"]["same_id_share"] is None
    assert report["pairs"]["rare|popular"]["auc_answer"] == 1.0


def test_a_table_is_printed(files: list[str]) -> None:
    outcome = dual_data("audit", *files)
    assert outcome.code == 0
    assert outcome.out.split()[:3] == ["split", "rare", "popular"]
    assert "auc_relation" in outcome.out


def test_one_split_has_no_pairs(files: list[str]) -> None:
    outcome = dual_data("audit", *files, "--split", "rare", "--json")
    assert list(json.loads(outcome.out)["splits"]) == ["rare"]
    assert json.loads(outcome.out)["pairs"] == {}


def test_an_unknown_split_is_refused_with_those_there_are(files: list[str]) -> None:
    outcome = dual_data("audit", *files, "--split", "common")
    assert outcome.code == 2
    assert "rare, popular" in outcome.err


def test_what_is_passed_over_is_told_beside_the_result(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("[1, 2]")
    outcome = dual_data("audit", str(tmp_path), "--json")
    assert set(json.loads(outcome.out)["pairs"]) == {"popular|rare"}
    assert f"skipped: {tmp_path / 'notes.json'}: not readable as json" in outcome.err


def test_other_tables_are_passed_over_by_name(files: list[str], tmp_path: Path) -> None:
    wordings = tmp_path / "wordings.csv"
    wordings.write_text("question,paraphrase\nWhere?,In what place?\n")
    line = (
        f"{wordings}: an audit needs the columns question and answer, or subjectLabel, relation and objectLabel; "
        "there are: question, paraphrase"
    )
    for targets in ([str(tmp_path)], [str(wordings), *files]):
        outcome = dual_data("audit", *targets, "--json")
        assert set(json.loads(outcome.out)["splits"]) == {"rare", "popular"}
        assert outcome.err == f"skipped: {line}\n"
    alone = dual_data("audit", str(wordings))
    assert (alone.code, alone.err) == (2, f"error: {line}\n")
    assert dual_data("audit", *files, tmp_path / "absent.csv").code == 2


def test_infinite_popularity_is_told_and_makes_no_broken_json(tmp_path: Path) -> None:
    rows = {"question": ["Where lies A?"] * 2, "answer": ["Nu"] * 2, "popularity": [float("inf"), 2.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "some.parquet")
    outcome = dual_data("audit", str(tmp_path / "some.parquet"), "--json")
    assert json.loads(outcome.out)["splits"]["some"]["popularity"] == {"min": 2.0, "median": 2.0, "max": 2.0}
    assert outcome.err == "some: 1 value(s) of the column popularity are left out, since they are not a finite number\n"


@pytest.mark.parametrize("header", ["question,answer", "question,answer,split"])
def test_a_table_without_rows_is_told(tmp_path: Path, header: str) -> None:
    file = tmp_path / "none.csv"
    file.write_text(f"{header}\n")
    outcome = dual_data("audit", str(file), "--json")
    assert json.loads(outcome.out)["splits"]["none"]["rows"] == 0
    assert outcome.err == f"{file}: has no rows\n"


def test_pairs_that_are_too_many_are_told(tmp_path: Path) -> None:
    for number in range(31):
        pl.DataFrame({"question": ["Where lies A?"], "answer": ["Nu"]}).write_csv(tmp_path / f"s{number}.csv")
    outcome = dual_data("audit", str(tmp_path), "--json")
    assert json.loads(outcome.out)["pairs"] == {}
    assert "31 splits are too many to compare each with each" in outcome.err


def test_explain_needs_no_table() -> None:
    outcome = dual_data("audit", "--explain")
    assert outcome.code == 0
    assert "\n  mirrored_share            Share of the rows" in outcome.out
