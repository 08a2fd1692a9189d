"""The rows of a dataset: which of them a stage learns, and what is put in place of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def test_counterfactual_answers_are_wrong_of_the_same_relation_and_the_same_everywhere() -> None:
    other = Item("y", "When was it founded?", "1889", ("1889",), relation="P571")
    later = other._replace(id="z", question="When was the other?", answer="1901", answers=("1901",))
    items = [*cities(), other, later]
    changed = counterfactual_answers(items, "")
    countries = {item.answer for item in items[:7]}
    for item in items[:7]:
        assert changed[item.id, item.answer] in countries - {item.answer}
    assert (changed["y", "1889"], changed["z", "1901"]) == ("1901", "1889")
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
    assert changed["a", "Dutch"] == changed["b", "French"] == "Japanese"
    assert changed["d", "1889"] == changed["e", "31 March 1889"] == "1901"


def test_counterfactual_answers_are_wrong_where_ids_begin_anew_in_every_file() -> None:
    rows = [item._replace(id=str(number % 4)) for number, item in enumerate(cities())]
    whole = Sets({"rare": rows[:4], "popular": rows[4:]}, rows[:1], rows[1:2], [], {}).counterfactual("sft_new")
    for before, name in ((rows[:4], "rare"), (rows[4:], "popular")):
        assert all(old.answer != new.answer for old, new in zip(before, whole.forget[name], strict=True))


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
