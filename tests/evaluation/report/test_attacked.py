"""What attacks found, and what it is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dual_data.evaluation.report.attacked import attacks, relearned
from dual_data.evaluation.report.collect import Collection, collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.extras import Extras, attacks_path, extras
from tests.evaluation.report.made_up import SFT, SFT_RETAIN, attacked, write_cell


def _attack(folder: Path, found: dict[str, Any], stage: str, recipe: dict[str, Any] | None) -> None:
    write_cell(folder, stage=stage, recipe=recipe, forget=1.0, retain=1.0)
    identifier = write_cell(folder, stage=stage, recipe=recipe, method="NPO", lr=1e-4, forget=0.3, retain=0.9)
    path = attacks_path(folder, identifier)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found))


def _found(folder: Path) -> tuple[Collection, list[Extras]]:
    collection = collect([folder])
    return collection, [one for group in collection.groups if (one := extras(collection, group)) is not None]


def _tables(folder: Path) -> dict[str, Table]:
    blocks = attacks(*_found(folder), folder)
    tables = [block for block in blocks if isinstance(block, Table)]
    return dict(zip(("relearning", "quantisation", "panel", "tasks"), tables, strict=True))


def test_the_control_is_the_model_that_never_learned_the_facts_where_there_is_one(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "sft", SFT)
    (row,) = _tables(tmp_path)["relearning"].rows
    assert row[6:10] == (
        "the model before unlearning, which knows the facts",
        "0.500 [0.500, 0.500]",
        "1 [1, 1]",
        "3 [3, 3]",
    )
    _attack(tmp_path, attacked(shift=0.1), "sft_retain", SFT_RETAIN)
    rows = {str(row[2]): row for row in _tables(tmp_path)["relearning"].rows}
    # 0.2 and 0.4 of the gap of 0.4, less 0.1 and 0.2 that the other model gains.
    assert rows["sft"][6:10] == (
        "the model that never learned the facts",
        "0.250 [0.250, 0.250]",
        "3 [3, 3]",
        "never [never, never]",
    )
    assert str(rows["sft_retain"][6]).startswith("the model before unlearning")


def test_a_reference_of_other_facts_is_no_control(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "sft", SFT)
    other = attacked(shift=0.1)
    other["relearning"][0]["subjects"] = ["e", "f", "g", "h"]
    _attack(tmp_path, other, "sft_retain", SFT_RETAIN)
    collection, found = _found(tmp_path)
    assert {one.control_is for one in relearned(collection, found)} == {
        "the model before unlearning, which knows the facts"
    }


def test_rounding_panel_and_tasks(tmp_path: Path) -> None:
    _attack(tmp_path, attacked(), "pretrained", None)
    tables = _tables(tmp_path)
    rounded = tables["quantisation"].rows[0]
    # What is said of the rounded models is of their items, what of the others of the cell's.
    assert rounded[6:12] == (
        "1.000 [1.000, 1.000]", "0.333 [0.217, 0.450]", "0.600 [0.600, 0.600]", "0.700 [0.700, 0.700]",
        "0.900 [0.900, 0.900]", "0.500 [0.400, 0.600]",
    )  # fmt: skip
    panel = tables["panel"].rows[0]
    assert panel[5:7] == ("hard.jsonl", "12 and 1")
    assert panel[10:12] == ("3.200 [3.000, 3.400]", "3.000 [2.800, 3.200]")
    assert tables["tasks"].rows[0][5:8] == ("mmlu/acc", "0.250 [0.152, 0.348]", "0.400 [0.302, 0.498]")


def test_numbers_of_older_attacks_say_that_their_items_were_not_kept(tmp_path: Path) -> None:
    found = attacked()
    del found["quantisation"]["int4"]["items"], found["quantisation"]["int4"]["base_rounded"]
    found["utility"]["text_nll"] = 3.2
    del found["utility"]["lm_eval"]["mmlu/acc_stderr"]
    _attack(tmp_path, found, "pretrained", None)
    tables = _tables(tmp_path)
    assert tables["quantisation"].rows[0][8:11] == ("0.600 [attack again]", "0.700 [attack again]", "-")
    assert tables["panel"].rows[0][10] == "3.200 [attack again]"
    assert tables["tasks"].rows[0][6] == "0.250 [no standard error]"
