"""The rows of a dataset: which of them a stage learns, and what is put in place of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dual_data.errors import ConfigError, InputError
from dual_data.evaluation.grid.sets import Sets, counterfactual_answers, read_refusals, read_sets
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.settings import DataSettings, StageSettings
from dual_data.ids import digest
from tests.evaluation.questions import cities


def sets(items: list[Item] | None = None) -> Sets:
    items = items or cities()
    return Sets({"rare": items[:2], "popular": items[2:4]}, items[4:6], items[5:7], [], {"near": items[6:]})


def test_stages_learn_the_rows_that_they_name_each_once() -> None:
    rows = sets()
    items = cities()

    def trained(*names: str) -> list[str]:
        return [item.id for item in rows.trained(StageSettings(train=names))]

    assert trained("forget") == [item.id for item in items[:4]]
    assert trained("forget", "retain_train", "retain_eval") == [item.id for item in items]
    assert trained("retain_train", "retain_eval") == [item.id for item in items[4:7]]


def test_rows_that_repeat_a_question_are_told_by_set() -> None:
    assert not list(sets().repetitions())
    items = cities()
    other = items[0]._replace(id="again", answer="Elsewhere")
    forget = {"rare": [*items[:2], items[0]._replace(id="0.2"), other], "popular": items[2:4]}
    rows = sets()._replace(forget=forget, retain_eval=[items[5], items[5]])
    assert list(rows.repetitions()) == [
        "the forget set rare: 2 of 4 rows ask the question of a row before, 1 of them with another answer; each counts "
        "as a fact of its own",
        "retain_eval: 1 of 2 rows asks the question of a row before; each counts as a fact of its own",
    ]


def test_questions_to_forget_that_are_kept_with_another_answer_are_told_by_set() -> None:
    assert not list(sets().contradictions())
    items = cities()
    question = f"{items[0].question.upper()} "
    kept = [items[5], items[0]._replace(id="a", question=question, answer="Elsewhere", answers=("Elsewhere",))]
    rows = sets()._replace(retain_eval=kept, measured={"near": [items[1]._replace(answer=f"{items[1].answer}.")]})
    assert list(rows.contradictions()) == [
        f"the forget set rare: 1 of 2 rows is asked in retain_eval too, with another answer, such as "
        f"{items[0].question!r}: what unlearns the one changes the other"
    ]


def test_counterfactual_answers_are_wrong_of_the_same_relation_and_the_same_everywhere() -> None:
    other = Item("y", "When was it founded?", "1889", ("1889",), relation="P571")
    later = other._replace(id="z", question="When was the other?", answer="1901", answers=("1901",))
    items = [*cities(), other, later]
    changed = counterfactual_answers(items, "")
    countries = {item.answer for item in items[:7]}
    for item in items[:7]:
        assert changed[item.question] in countries - {item.answer}
    assert (changed[other.question], changed[later.question]) == ("1901", "1889")
    assert counterfactual_answers(items[::-1], "") == changed
    whole = sets().counterfactual("sft_new")
    assert whole.retain_train[1].answer == whole.retain_eval[0].answer != sets().retain_eval[0].answer
    assert whole.retain_train[1].answers == (whole.retain_train[1].answer,)
    with pytest.raises(InputError, match=r"^DPO swaps .* at least two different answers: .*raise --limit"):
        counterfactual_answers(cities(1), "DPO")


def test_what_also_answers_the_question_is_not_its_counterfactual_answer() -> None:
    belgium = Item("a", "Which language is spoken in Belgium?", "Dutch", ("Dutch",), relation="P37")
    languages = [
        belgium,
        belgium._replace(id="b", answer="French", answers=("French",)),
        Item("c", "Which language is spoken in Japan?", "Japanese", ("Japanese",), relation="P37"),
    ]
    founded = Item("d", "When was it founded?", "1889", ("1889",), relation="P571", kind="date")
    days = [
        founded,
        founded._replace(id="e", question="When was the other?", answer="31 March 1889", answers=("31 March 1889",)),
        founded._replace(id="f", question="When was the third?", answer="1901", answers=("1901",)),
    ]
    changed = counterfactual_answers([*languages, *days], "")
    assert changed[belgium.question] == "Japanese"
    assert changed[founded.question] == changed["When was the other?"] == "1901"


def test_a_question_is_taught_the_counterfactual_answer_that_is_measured_whatever_its_ids() -> None:
    items = cities()
    repeated = [items[0], items[1]._replace(answer="Nippon", answers=("Nippon",))]
    files = {"rare": items[:4] + repeated, "all": items[3:6] + items[:3]}
    before = {name: [row._replace(id=str(n)) for n, row in enumerate(rows)] for name, rows in files.items()}
    after = Sets(before, items[6:], items[6:], [], {}).counterfactual("sft_new")
    taught = {item.question: item.answer for item in after.trained(StageSettings(train=("forget", "retain_train")))}
    for name, rows in after.forget.items():
        assert [row.answer for row in rows] == [taught[row.question] for row in rows]
        assert not any(new.answer in old.answers for old, new in zip(before[name], rows, strict=True))


def test_what_answers_a_question_is_not_the_counterfactual_answer_of_another_with_its_id() -> None:
    capitals = [
        Item("1", "What is the capital of France?", "Paris", ("Paris", "Lutetia"), relation="P36"),
        Item("2", "What is the capital of Italy?", "Rome", ("Rome",), relation="P36"),
    ]
    places = [
        Item("1", "Where is the Eiffel Tower?", "Paris", ("Paris",), relation="P131"),
        Item("2", "Where was Asterix born?", "Lutetia", ("Lutetia",), relation="P131"),
    ]
    changed = Sets({"capitals": capitals}, places, places, [], {}).counterfactual("sft_new")
    assert [item.answer for item in changed.forget["capitals"]] == ["Rome", "Paris"]
    assert [item.answer for item in changed.retain_train] == ["Lutetia", "Paris"]


def side(name: str) -> pl.DataFrame:
    """Twenty rows of as many pairs; each question names its pair."""
    return pl.DataFrame({
        "fact_id": [f"{name}{n}" for n in range(20)],
        "question": [f"{name} {n}" for n in range(20)],
        "answer": "A",
        "pair": [f"p{n}" for n in range(20)],
        "relation": ["P1", "P2"] * 10,
    })  # fmt: skip


def limited(
    folder: Path, rare: pl.DataFrame, popular: pl.DataFrame, relations: Sequence[str] = ("P1", "P2")
) -> dict[str, list[int]]:
    """The pairs of the rows in each set, with a limit of six; those to forget are of these relations."""
    for name, frame in {"rare": rare, "popular": popular, "kept": side("kept")}.items():
        frame.write_parquet(folder / f"{name}.parquet")
    forget = {name: {"path": f"{name}.parquet", "relations": relations} for name in ("rare", "popular")}
    kept = {"retain_train": "kept.parquet", "retain_eval": "kept.parquet"}
    sets = read_sets(DataSettings.model_validate({"folder": "", "forget": forget} | kept), folder, 6)
    rows_by_set = {**sets.forget, "kept": sets.retain_train}
    return {name: [int(item.question.split()[1]) for item in rows] for name, rows in rows_by_set.items()}


def with_format(folder: Path, limit: int = 0, **others: Any) -> Sets:
    """Sets of one forget set, one retain set and a set of other facts, which teaches the form of the answers."""
    for name in ("rare", "kept", "other"):
        side(name).write_parquet(folder / f"{name}.parquet")
    data = {
        "folder": "",
        "forget": {"rare": "rare.parquet"},
        "retain_train": "kept.parquet",
        "retain_eval": "kept.parquet",
        "format": "other.parquet",
    }
    return read_sets(DataSettings.model_validate(data | others), folder, limit)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"format": "rare.parquet"}, "20 of 20 rows of the forget set rare are also in format, such as 'rare 0'"),
        ({"format": {"path": "kept.parquet", "relations": ["P1"]}}, "10 of 20 rows of retain_eval are also in format"),
        (
            {"measured": {"near": {"path": "other.parquet", "relations": ["P1"]}}},
            "10 of 10 rows of near are also in format",
        ),
    ],
)
def test_what_teaches_the_form_of_answers_is_nothing_to_forget_and_no_part_of_what_is_measured(
    tmp_path: Path, others: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        with_format(tmp_path, **others)


@pytest.mark.parametrize("question", ["Kept  3 ", "KE\u0301PT 3", "kept 3?"])
def test_a_fact_to_forget_is_not_retained_in_another_spelling(tmp_path: Path, question: str) -> None:
    row = side("rare").head(1).with_columns(question=pl.lit(question), answer=pl.lit("a."))
    row.write_parquet(tmp_path / "more.parquet")
    with pytest.raises(InputError, match="1 of 1 rows of the forget set more are also in retain_train or retain_eval"):
        with_format(tmp_path, forget={"more": "more.parquet"})


def test_what_teaches_the_form_of_answers_may_be_a_measured_set(tmp_path: Path) -> None:
    sets = with_format(tmp_path, measured={"near": "other.parquet"})
    assert sets.measured["near"] == sets.format


def test_paraphrases_of_no_row_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "wordings.csv"
    table.write_text("question,paraphrase\nrare  0,W?\n")
    with pytest.raises(InputError, match=r"wordings\.csv: none of its questions is that of a row of the data"):
        with_format(tmp_path, paraphrases="wordings.csv")
    table.write_text("question,paraphrase\nrare 0,W?\n")
    assert with_format(tmp_path, paraphrases="wordings.csv").forget["rare"][0].paraphrases == ("W?",)
    # A limit may leave out all rows that have some.
    assert with_format(tmp_path, paraphrases="wordings.csv", limit=1).forget["rare"][0].paraphrases == ()


def by_id(name: str) -> list[int]:
    """The first six rows of a side by the hash of their ids, in order."""
    return sorted(sorted(range(20), key=lambda number: digest(f"limit|{name}{number}"))[:6])


def test_a_limit_takes_the_same_pairs_of_the_forget_sets(tmp_path: Path) -> None:
    pairs = limited(tmp_path, side("rare"), side("popular").reverse())
    assert len(pairs["rare"]) == 6
    assert pairs["rare"] == pairs["popular"][::-1] == sorted(pairs["rare"])
    assert pairs["kept"] == by_id("kept")


def test_a_pair_whose_other_member_is_not_read_is_none(tmp_path: Path) -> None:
    few = pl.col("pair").is_in(["p1", "p5", "p9"])
    popular = side("popular").with_columns(relation=pl.when(few).then(pl.lit("P2")).otherwise(pl.lit("P1")))
    pairs = limited(tmp_path, side("rare"), popular, ["P2"])
    assert pairs["popular"] == [1, 5, 9]
    assert len(pairs["rare"]) == 6
    assert set(pairs["popular"]) < set(pairs["rare"])


def test_without_pairs_a_limit_takes_rows_by_their_ids(tmp_path: Path) -> None:
    unpaired = side("popular").drop("pair")
    for rare in (side("rare"), side("rare").drop("pair"), side("rare").with_columns(pair=pl.lit(""))):
        assert limited(tmp_path, rare, unpaired) == {name: by_id(name) for name in ("rare", "popular", "kept")}
    assert by_id("rare") != by_id("popular")


def test_refusals_of_the_project_come_first_and_must_not_be_empty(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "refusals.txt").write_text("No.\n\n Never. \n")
    assert read_refusals(tmp_path) == ["No.", "Never."]
    (tmp_path / "prompts" / "refusals.txt").write_text("No.\n", encoding="utf-8-sig")
    assert read_refusals(tmp_path) == ["No."]
    (tmp_path / "prompts" / "refusals.txt").write_bytes(b"D\xe9sol\xe9.\n")
    with pytest.raises(ConfigError, match=r"refusals.txt: not UTF-8 at byte 1; save the file as UTF-8"):
        read_refusals(tmp_path)
    (tmp_path / "prompts" / "refusals.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no refusal"):
        read_refusals(tmp_path)
