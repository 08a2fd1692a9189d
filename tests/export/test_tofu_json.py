"""JSON lines with TOFU's keys."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from dual_data.export.tofu_json import rows, tofu_json_files
from dual_data.release.tables import tables_of
from dual_data.released import Place, Release, read_table
from tests.release.made import made, world

SPLIT = pl.DataFrame(
    {
        "fact_id": ["a" * 16, "b" * 16, "c" * 16, "d" * 16],
        "relation": ["P36", "P36", "P36", "P17"],
        "question": ["q1", "q2", "q3", "q4"],
        "answer": ["Oslo", "Lima", "oslo", "Peru"],
        "answers": [["Oslo", "Kristiania"], ["Lima"], ["oslo"], ["Peru"]],
        "paraphrases_test": [["p1", "p1b"], ["p2"], [], ["p4"]],
    }
)


def test_a_row_has_what_readers_of_tofu_expect() -> None:
    first = rows(SPLIT)[0]
    assert first == {
        "question": "q1",
        "answer": "Oslo",
        "paraphrased_question": "p1",
        "paraphrased_answer": "Kristiania",
        "perturbed_answer": ["Lima"],
        "answers": ["Oslo", "Kristiania"],
        "fact_id": "a" * 16,
    }


def test_what_is_missing_falls_back_and_is_never_a_right_answer() -> None:
    found = rows(SPLIT)
    assert found[2]["paraphrased_question"] == "q3"
    assert found[1]["paraphrased_answer"] == "Lima"
    assert found[2]["perturbed_answer"] == ["Lima"]
    assert found[3]["perturbed_answer"] == []


def test_other_answers_are_spread_over_the_relation_and_at_most_five() -> None:
    many = pl.DataFrame(
        {
            "fact_id": [f"{number:016x}" for number in range(200)],
            "relation": "P17",
            "question": "q",
            "answer": [f"Land {number % 40}" for number in range(200)],
        }
    )
    found = rows(many)
    assert {len(row["perturbed_answer"]) for row in found} == {5}
    assert all(row["answer"] not in row["perturbed_answer"] for row in found)
    assert len({answer for row in found for answer in row["perturbed_answer"]}) == 40
    assert rows(many) == found
    assert {row["fact_id"]: row for row in rows(many.reverse())} == {row["fact_id"]: row for row in found}


def test_tables_without_aliases_or_paraphrases_do() -> None:
    found = rows(SPLIT.drop("answers", "paraphrases_test"))
    assert [row["answers"] for row in found] == [["Oslo"], ["Lima"], ["oslo"], ["Peru"]]
    assert found[0]["paraphrased_question"] == "q1"


def test_a_file_a_split_in_the_order_of_the_split(exported: tuple[Release, Place]) -> None:
    release, place = exported
    files = tofu_json_files(release, place)
    assert set(files) == {f"{config}/{split}.json" for config in release.recipes() for split in release.configs[config]}
    lines = [json.loads(line) for line in files["matched/town_forget_rare_5.json"].splitlines()]
    rows_of_split = read_table(place, release.file("matched", "town_forget_rare_5"))
    assert [line["fact_id"] for line in lines] == rows_of_split["fact_id"].to_list()


def test_the_published_columns_come_with_answers_and_held_out_wordings(tmp_path: Path) -> None:
    frames = world(subjects=40)
    alias = pl.col("answer").replace("Land baba", "Land bade")
    known = pl.when(pl.col("answer") == alias).then(pl.concat_list("answer")).otherwise(pl.concat_list("answer", alias))
    build = made(tmp_path, {**frames, "questions": frames["questions"].with_columns(answers=known)})
    found = [row for split in tables_of(build).configs["paper"].values() for row in rows(split)]
    aliased = [row for row in found if row["answer"] == "Land baba"]
    assert aliased
    assert all(row["paraphrased_answer"] == "Land bade" for row in aliased)
    assert not any("Land bade" in row["perturbed_answer"] for row in aliased)
    assert any("Land bade" in row["perturbed_answer"] for row in found)
    assert all(row["paraphrased_question"] != row["question"] for row in found)
