"""JSON lines with TOFU's keys."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from dual_data.export.tofu_json import rows, tofu_json_files
from dual_data.ids import digest
from dual_data.release.tables import tables_of
from dual_data.release.tree import write_release
from dual_data.released import Place, Release, read_table
from tests.release.made import invented_build, world

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


def facts_of(split: pl.DataFrame, kinds: str | list[str] = "entity") -> pl.DataFrame:
    """The facts of the questions, each with its own subject."""
    return split.select(
        "fact_id",
        "relation",
        subject_qid="fact_id",
        object_kind=pl.lit(kinds) if isinstance(kinds, str) else pl.Series(kinds),
        object_label="answer",
        object_aliases=pl.lit([], pl.List(pl.String)),
    )


def questions(relation: str, answers: list[str]) -> pl.DataFrame:
    """Questions of one relation."""
    rows = [(digest(f"{relation} {answer}"), relation, f"{relation} {answer}?", answer) for answer in answers]
    return pl.DataFrame(rows, ["fact_id", "relation", "question", "answer"], orient="row")


def wrong(split: pl.DataFrame, facts: pl.DataFrame) -> dict[str, list[str]]:
    """The wrong answers of each row, by its answer."""
    return {row["answer"]: row["perturbed_answer"] for row in rows({"all": split}, facts)["all"]}


LANDS = [f"Land {letter}" for letter in "ABCDEFGH"]


def test_a_row_has_what_readers_of_tofu_expect() -> None:
    row = rows({"all": SPLIT}, facts_of(SPLIT))["all"][0]
    assert row == {
        "question": "q1",
        "answer": "Oslo",
        "paraphrased_question": "p1",
        "paraphrased_answer": "Kristiania",
        "perturbed_answer": ["Lima", "Peru"],
        "answers": ["Oslo", "Kristiania"],
        "fact_id": "a" * 16,
    }


def test_what_is_missing_falls_back() -> None:
    result = rows({"all": SPLIT}, facts_of(SPLIT))["all"]
    assert result[2]["paraphrased_question"] == "q3"
    assert result[1]["paraphrased_answer"] == "Lima"


def test_wrong_answers_come_from_the_whole_configuration_and_are_the_same_in_every_split() -> None:
    many = questions("P17", [f"Land {number}" for number in range(40)])
    result = rows({"one": many.head(1), "rest": many.slice(1), "back": many.reverse()}, facts_of(many))
    assert {len(row["perturbed_answer"]) for split in result.values() for row in split} == {5}
    assert all(row["answer"] not in row["perturbed_answer"] for split in result.values() for row in split)
    assert len({answer for row in result["back"] for answer in row["perturbed_answer"]}) == 40
    assert result["back"][::-1] == result["one"] + result["rest"]


def test_a_relation_with_too_few_answers_takes_others_of_the_same_kind() -> None:
    split = pl.concat(
        [questions("P30", ["Asia", "Europe"]), questions("P17", LANDS), questions("P571", ["1889", "1901"])]
    )
    wrong_answers = wrong(split.head(10), facts_of(split, ["entity"] * 10 + ["date"] * 2))
    assert wrong_answers["Asia"][0] == "Europe"
    assert set(wrong_answers["Asia"][1:]) < set(LANDS)
    assert {len(answers) for answers in wrong_answers.values()} == {5}


def test_every_row_of_a_file_has_as_many_wrong_answers() -> None:
    split = pl.concat([questions("P17", LANDS), questions("P571", ["1889", "1901", "1910"]), questions("P1082", ["7"])])
    facts = facts_of(split, ["entity"] * 8 + ["date"] * 3 + ["quantity"])
    result = rows({"lands": split.head(8), "dates": split.head(11), "all": split}, facts)
    lengths = {name: {len(row["perturbed_answer"]) for row in rows} for name, rows in result.items()}
    assert lengths == {"lands": {5}, "dates": {2}, "all": {0}}


def test_no_wrong_answer_is_right() -> None:
    split = questions("P47", ["Oslo", "oslo", "Kristiania", "Lima", "Bergen", *LANDS])
    facts = facts_of(split).with_columns(
        # Two objects of one subject, neither of which lists the other in `answers`; an alias that no question accepts.
        subject_qid=pl.col("subject_qid").replace(dict(zip(split["fact_id"][3:5], ["Q1", "Q1"], strict=True))),
        object_aliases=pl.when(pl.col("object_label") == "Oslo").then(pl.lit(["Kristiania"])).otherwise(pl.lit([""])),
    )
    wrong_answers = wrong(split, facts)
    assert {"Oslo", "oslo", "Kristiania"}.isdisjoint(wrong_answers["Oslo"])
    assert "Bergen" not in wrong_answers["Lima"]
    assert "Lima" not in wrong_answers["Bergen"]
    dates = questions("P569", ["31 March 1889", "1889", "1901"])
    assert wrong(dates, facts_of(dates, "date")) == {"31 March 1889": ["1901"], "1889": ["1901"], "1901": ["1889"]}
    same_question = questions("P17", LANDS).with_columns(question=pl.lit("q"))
    assert set(map(len, wrong(same_question, facts_of(same_question)).values())) == {0}


def test_tables_without_aliases_or_paraphrases_do() -> None:
    result = rows({"all": SPLIT.drop("answers", "paraphrases_test")}, facts_of(SPLIT))["all"]
    assert [row["answers"] for row in result] == [["Oslo"], ["Lima"], ["oslo"], ["Peru"]]
    assert result[0]["paraphrased_question"] == "q1"


def test_a_file_with_fewer_wrong_answers_is_told(tmp_path: Path) -> None:
    frames, short = world(subjects=40), pl.col("answer").str.head(len("Land b"))
    frames["questions"] = frames["questions"].with_columns(answer=short, answers=pl.concat_list(short))
    frames["facts"] = frames["facts"].with_columns(object_label=pl.col("object_label").str.head(len("Land b")))
    release = write_release(invented_build(tmp_path / "project", frames), tmp_path / "release", name="made")
    messages: list[str] = []
    files = tofu_json_files(release, Place(folder=tmp_path / "release"), messages.append)
    assert len(messages) == len(files)
    assert messages[0].startswith("paper/")
    assert messages[0].endswith(".json: 2 wrong answers per row, not 5: some rows of paper have no more")


def test_a_file_a_split_in_the_order_of_the_split(exported: tuple[Release, Place]) -> None:
    release, place = exported
    files = tofu_json_files(release, place)
    assert set(files) == {f"{config}/{split}.json" for config in release.recipes() for split in release.configs[config]}
    lines = [json.loads(line) for line in files["matched/town_forget_rare_5.json"].splitlines()]
    rows_of_split = read_table(place, release.file("matched", "town_forget_rare_5"))
    assert [line["fact_id"] for line in lines] == rows_of_split["fact_id"].to_list()
    # TOFU's loader stacks the wrong answers of a row and then of a batch.
    assert {len(json.loads(line)["perturbed_answer"]) for text in files.values() for line in text.splitlines()} == {5}


def test_the_published_columns_come_with_answers_and_held_out_wordings(tmp_path: Path) -> None:
    frames = world(subjects=40)
    alias = pl.col("answer").replace("Land baba", "Land bade")
    accepted = (
        pl.when(pl.col("answer") == alias).then(pl.concat_list("answer")).otherwise(pl.concat_list("answer", alias))
    )
    build = invented_build(tmp_path, {**frames, "questions": frames["questions"].with_columns(answers=accepted)})
    tables = tables_of(build).configs
    result = [row for split in rows(tables["paper"], tables["facts"]["train"]).values() for row in split]
    aliased = [row for row in result if row["answer"] == "Land baba"]
    assert aliased
    assert all(row["paraphrased_answer"] == "Land bade" for row in aliased)
    assert not any("Land bade" in row["perturbed_answer"] for row in aliased)
    assert any("Land bade" in row["perturbed_answer"] for row in result)
    assert all(row["paraphrased_question"] != row["question"] for row in result)
