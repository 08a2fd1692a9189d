"""Differences of two datasets."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import polars.selectors as cs
import pytest

from dual_data.errors import InputError
from dual_data.ids import fact_id
from dual_data.release.build import Build
from dual_data.release.diff import Dataset, compare, read_dataset
from dual_data.release.tree import write_release
from tests.release.made import SIZES, Released, artifacts, invented_build, world

ONE, TWO = world(subjects=12), world(subjects=12)


def dataset(frames: dict[str, pl.DataFrame], members: dict[str, list[str]] | None = None) -> Dataset:
    rows = [("matched", split, fact) for split, facts in (members or {}).items() for fact in facts]
    schema = {"recipe": pl.String, "split": pl.String, "fact_id": pl.String}
    return Dataset(frames["facts"], frames["questions"], pl.DataFrame(rows, schema=schema, orient="row"))


def test_nothing_changed_in_another_order() -> None:
    shuffled = {name: frame.reverse() for name, frame in TWO.items()}
    difference = compare(dataset(ONE), dataset(shuffled))
    assert [len(frame) for frame in difference] == [0, 0, 0, 0, 0]


def test_added_removed_and_corrected_facts() -> None:
    facts = TWO["facts"]
    old = facts.row(0, named=True)
    new = {
        **old,
        "object_value": "Q77",
        "object_qid": "Q77",
        "object_label": "Elsewhere",
        "fact_id": fact_id(old["subject_qid"], old["property_id"], "entity", "Q77"),
    }
    changed = pl.concat([facts[1:-1], pl.DataFrame([new], schema=facts.schema)])
    difference = compare(dataset(ONE), dataset({**TWO, "facts": changed}))
    assert difference.added["fact_id"].to_list() == [new["fact_id"]]
    assert set(difference.removed["fact_id"]) == {old["fact_id"], facts["fact_id"][-1]}
    assert difference.corrected.rows() == [
        (old["subject_qid"], old["property_id"], old["subject_label"], old["object_label"], "Elsewhere")
    ]


def test_facts_without_a_counted_column_are_compared() -> None:
    """As those of a project with a schema of its own may be."""
    bare = dataset({**TWO, "facts": TWO["facts"].drop("subject_sitelinks")})
    assert [len(frame) for frame in compare(dataset(ONE), bare)] == [0, 0, 0, 0, 0]


def test_the_order_of_the_tables_does_not_matter() -> None:
    old = dataset(ONE, {"x": ONE["facts"]["fact_id"].to_list()})
    facts = TWO["facts"].with_columns(
        fact_id=pl.col("fact_id").str.reverse(), object_label=pl.col("object_label") + " now", subject_label="relation"
    )
    new = dataset({**TWO, "facts": pl.concat([facts.head(9), TWO["facts"].slice(9).with_columns(topic=pl.lit("t"))])})
    turned = Dataset(*(frame.reverse() for frame in new))
    difference = compare(old, new)
    assert all(len(frame) > 1 for frame in difference[:4])
    assert all(map(pl.DataFrame.equals, difference, compare(old, turned)))


def test_of_several_objects_none_is_corrected_by_another() -> None:
    first = ONE["facts"].row(0, named=True)
    several = [
        {
            **first,
            "object_value": qid,
            "fact_id": fact_id(first["subject_qid"], first["property_id"], "entity", qid),
            "relation": relation,
        }
        for qid, relation in (("Q77", "P17"), ("Q78", "P17_other"), ("Q79", "P17_other"))
    ]
    before, after = (
        dataset({**ONE, "facts": pl.DataFrame([several[0], several[last]], schema=ONE["facts"].schema)})
        for last in (1, 2)
    )
    difference = compare(before, after)
    assert [len(difference.added), len(difference.removed), len(difference.corrected)] == [1, 1, 0]


def test_changed_wording_names_the_columns_and_new_counts_do_not_count() -> None:
    target, other = sorted(TWO["questions"]["fact_id"][2:4])
    is_target = pl.col("fact_id") == target
    questions = TWO["questions"].with_columns(
        question=pl.when(is_target).then(pl.lit("What then?")).otherwise("question"),
        statement=pl.when(is_target).then(pl.lit("So it is.")).otherwise("statement"),
        answers=pl.when(is_target).then(pl.lit(["So", "Thus"])).otherwise("answers"),
    )
    is_other = pl.col("fact_id") == other
    facts = TWO["facts"].with_columns(
        cs.ends_with("_mentions") + 5,
        cs.ends_with("_sitelinks").fill_null(5),
        subject_label=pl.when(is_other).then(None).otherwise("subject_label"),
    )
    difference = compare(dataset(ONE), dataset({**TWO, "questions": questions, "facts": facts}))
    asked = dict(ONE["facts"].select("fact_id", "property_id").rows())
    first, last = (ONE["questions"].row(by_predicate=pl.col("fact_id") == fact, named=True) for fact in (target, other))
    assert difference.changed.rows() == [
        (target, first["subject"], asked[target], "question", first["question"], "What then?"),
        (target, first["subject"], asked[target], "answers", " | ".join(first["answers"]), "So | Thus"),
        (target, first["subject"], asked[target], "statement", first["statement"], "So it is."),
        (other, last["subject"], asked[other], "subject_label", last["subject"], None),
    ]


def test_a_column_that_one_of_two_versions_lacks_is_no_difference() -> None:
    older = {**ONE, "facts": ONE["facts"].drop("subject_title"), "questions": ONE["questions"].drop("statement")}
    for sides in ((older, TWO), (TWO, older)):
        assert compare(*map(dataset, sides)).changed.is_empty()


def test_a_fact_that_is_asked_no_more_has_changed() -> None:
    target = TWO["questions"]["fact_id"][2]
    questions = TWO["questions"].filter(pl.col("fact_id") != target)
    changed = compare(dataset(ONE), dataset({**TWO, "questions": questions})).changed
    assert set(changed["fact_id"]) == {target}
    assert {"question", "answer", "answers"} <= set(changed["column"])
    assert not {"subject_label", "object_label"} & set(changed["column"])
    assert changed["after"].null_count() == changed.height


def test_members_that_a_split_kept() -> None:
    a, b, c = ONE["facts"]["fact_id"][:3]
    difference = compare(dataset(ONE, {"x": [a, b], "gone": [a]}), dataset(TWO, {"x": [b, c], "new": [a, c]}))
    assert difference.splits.rows() == [
        ("matched", "gone", 1, 0, 0, 0, 1),
        ("matched", "new", 0, 2, 0, 2, 0),
        ("matched", "x", 2, 2, 1, 1, 1),
    ]
    assert difference.summary()["splits"][2]["kept"] == 1


def test_a_build_and_its_release_are_the_same(released: Released, tmp_path: Path) -> None:
    build = artifacts(tmp_path)
    difference = compare(read_dataset(str(build)), read_dataset(str(released[1])))
    assert [len(frame) for frame in difference[:4]] == [0, 0, 0, 0]
    assert (difference.splits["kept"] == difference.splits["after"]).all()


def test_a_release_without_splits_can_be_compared(released: Released, tmp_path: Path) -> None:
    build = invented_build(tmp_path, world(subjects=8), sizes={**SIZES, "smallest": 500})
    bare = write_release(build, tmp_path / "out", name="made")
    assert "splits" in bare.absent
    difference = compare(read_dataset(str(tmp_path / "out")), read_dataset(str(released[1])))
    assert (difference.splits["before"] == 0).all()
    assert difference.added.height > 0


def test_an_unfinished_build_is_told_with_the_command(tmp_path: Path) -> None:
    folder = artifacts(tmp_path, world(subjects=4))
    (folder / "splits" / "data.parquet").unlink()
    with pytest.raises(InputError, match=r"splits/data\.parquet: is not built$"):
        read_dataset(str(folder))
    (tmp_path / "pipeline" / "made.toml").write_text("[project]\n")
    with pytest.raises(InputError, match=rf"; run: dual-data build --project {tmp_path} --profile made$"):
        read_dataset(str(folder))


@pytest.mark.parametrize("stage", ["facts", "links"])
def test_a_build_with_a_damaged_table_is_refused(build: Build, tmp_path: Path, stage: str) -> None:
    folder = shutil.copytree(build.folder, tmp_path / "copy")
    for damaged in (b"garbage", (build.folder / "questions" / "data.parquet").read_bytes()):
        (folder / stage / "data.parquet").write_bytes(damaged)
        with pytest.raises(InputError, match=rf"^{folder}: {stage}/data\.parquet is not what the build wrote$"):
            read_dataset(str(folder))


def test_a_build_of_parts_that_do_not_belong_together_is_refused(build: Build, tmp_path: Path) -> None:
    folder = shutil.copytree(build.folder, tmp_path / "copy")
    shutil.rmtree(folder / "links")
    shutil.copytree(artifacts(tmp_path / "other", world(subjects=4), git="none") / "links", folder / "links")
    with pytest.raises(InputError, match=r"splits was built from another links than stands here now$"):
        read_dataset(str(folder))


@pytest.mark.parametrize("damage", ["is not what was released", "is missing"])
def test_a_release_with_a_damaged_split_is_refused(released: Released, tmp_path: Path, damage: str) -> None:
    release, folder = released
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = next(iter(release.configs["matched"].values())).path
    if damage == "is missing":
        (copy / path).unlink()
    else:
        (copy / path).write_bytes(b"something else")
    with pytest.raises(InputError, match=f"{path} {damage}"):
        read_dataset(str(copy))


def test_what_is_no_dataset_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no manifest\.json"):
        read_dataset(str(tmp_path))
    (tmp_path / "facts").mkdir()
    ONE["facts"].write_parquet(tmp_path / "facts" / "data.parquet")
    with pytest.raises(InputError, match="is not built"):
        read_dataset(str(tmp_path))
    with pytest.raises(InputError, match="no such release folder"):
        read_dataset("nowhere")
