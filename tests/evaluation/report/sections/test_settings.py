"""What the report says of how models were trained and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.report.document import Table, with_content
from dual_data.evaluation.report.sections.settings import prompts_and_rows, settings
from tests.evaluation.report.made_up import SFT, write_cell

PROFILE = {"name": "chat", "chat": True, "system": "Be terse."}
TRAINING: dict[str, Any] = {
    "optimisation": {"epochs": 2, "clip": 1.0, "diverged_norm": 1e6},
    "lora": {"rank": 32, "targets": ["q_proj", "v_proj"]},
}


def _base(folder: Path, **place: Any) -> None:
    asked = {"profile": PROFILE, "data": {"name": "d", "forget": "f1"}}
    write_cell(folder, forget=1.0, retain=1.0, settings=asked, **place)


def _cell(folder: Path, method: str, options: dict[str, Any], training: dict[str, Any] = TRAINING, **more: Any) -> None:
    asked = {"profile": PROFILE, "data": {"name": "d", "forget": "f1", "preferred": method}}
    own = {**asked, **training, "options": options, "code": f"code of {method}"}
    write_cell(folder, method=method, lr=1e-4, forget=0.3, retain=0.9, settings=own, **more)


def _tables(folder: Path) -> dict[str, tuple[tuple[object, ...], ...]]:
    tables = [block for block in settings(collect([folder])) if isinstance(block, Table)]
    return {table.header[0]: (table.header, *table.rows) for table in tables}


def test_methods_have_their_options_and_presets_and_stages_their_training(tmp_path: Path) -> None:
    for stage, recipe in (("pretrained", None), ("sft", SFT | {"counterfactual": True})):
        for seed in (0, 2):
            place: dict[str, Any] = {"stage": stage, "recipe": recipe, "seed": seed}
            _base(tmp_path, **place)
            _cell(tmp_path, "NPO", {"beta": 0.5, "refusal": "No idea"}, **place)
            _cell(tmp_path, "Plain", {}, **place)
    tables = _tables(tmp_path)
    assert tables["preset"][1:] == (
        ("p", "NPO", 'beta = 0.5, refusal = "No idea"', "code of NPO"),
        ("p", "Plain", "none", "code of Plain"),
    )
    assert tables["setting"] == (
        ("setting", "preset p", "stage sft"),
        ("epochs", "2", "-"),
        ("clip", "1", "-"),
        ("diverged_norm", "1e+06", "-"),
        ("lora.rank", "32", "-"),
        ("lora.targets", "q_proj, v_proj", "-"),
        ("train", "-", "forget, retain_train, retain_eval"),
        ("lr", "-", "0.0002"),
        ("counterfactual", "-", "true"),
    )
    assert prompts_and_rows(collect([tmp_path])) == [
        ("profile chat", 'chat = true, system = "Be terse."'),
        ("rows of d, rare", "forget = f1"),
        ("rows of d, rare, answers swapped", "forget = f1"),
        ("seeds", "0, 2"),
    ]


def test_two_versions_of_a_preset_are_two_columns_and_training_of_all_weights_is_told(tmp_path: Path) -> None:
    _base(tmp_path)
    _cell(tmp_path, "NPO", {"beta": 0.5})
    _cell(tmp_path, "GradDiff", {}, {"optimisation": {"epochs": 5}, "lora": None}, model="other")
    header, *rows = _tables(tmp_path)["setting"]
    assert header == ("setting", "preset p", "preset p (2)")
    by_name = {row[0]: set(row[1:]) for row in rows}
    assert by_name["epochs"] == {"5", "2"}
    assert by_name["full"] == {"true", "-"}
    assert by_name["lora.rank"] == {"-", "32"}


def test_models_that_were_not_trained_have_no_settings(tmp_path: Path) -> None:
    write_cell(tmp_path, forget=1.0, retain=1.0)
    assert with_content(settings(collect([tmp_path]))) == []
    assert prompts_and_rows(collect([tmp_path])) == []
