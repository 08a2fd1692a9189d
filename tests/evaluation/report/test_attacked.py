"""What attacks found, and what it is held against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dual_data.evaluation.report.attacked import attacks, relearned
from dual_data.evaluation.report.collect import Collection, collect
from dual_data.evaluation.report.document import Table
from dual_data.evaluation.report.extras import Extras, attacks_path, extras
from tests.evaluation.report.made_up import attacked, write_cell

SFT: dict[str, Any] = {"train": ["forget", "retain_train", "retain_eval"], "lr": 2e-4}
SFT_RETAIN: dict[str, Any] = SFT | {"train": ["retain_train", "retain_eval"]}


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
    assert row[6:10] == ("the model before unlearning, which knows the facts", "0.500 [0.500, 0.500]", "1", "3")
    _attack(tmp_path, attacked(shift=0.1), "sft_retain", SFT_RETAIN)
    rows = {str(row[2]): row for row in _tables(tmp_path)["relearning"].rows}
    # 0.2 and 0.4 of the gap of 0.4, less 0.1 and 0.2 that the other model gains.
    assert rows["sft"][6:10] == ("the model that never learned the facts", "0.250 [0.250, 0.250]", "3", "never")
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
    assert "0.500 [0.400, 0.600]" in tables["quantisation"].rows[0]
    panel = tables["panel"].rows[0]
    assert panel[5:7] == ("hard.jsonl", "12 and 1")
    assert panel[10:11] == ("3.200",)
    assert tables["tasks"].rows[0][5:8] == ("mmlu/acc", "0.250 [0.152, 0.348]", "0.400")
