"""What attacks will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.evaluation.attacks import forecast as attack_forecast
from dual_data.evaluation.attacks import run as attack_run
from dual_data.evaluation.attacks.relearning import STEPS
from dual_data.evaluation.attacks.targets import AttackOptions, Target, targets
from dual_data.evaluation.grid.cells import unloaded
from dual_data.evaluation.grid.forecast import counted
from dual_data.evaluation.rows.encoding import encode
from tests.cli.command import dual_data
from tests.evaluation.attacks.attacked_grid import GRID, opened, write_project


def test_what_attacks_will_take_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_methods = GRID.replace("lrs = [1e-3, 1e-2]", "methods.NPO = {}\nlrs = [1e-3]")
    options = write_project(tmp_path, adapters=True, grid=two_methods)
    grid, cells = opened(tmp_path)
    monkeypatch.setattr(attack_run, "load_model", lambda *_: pytest.fail("loaded"))
    first, second, _, summary = dual_data("eval", "attack", *options, "--dry-run").out.splitlines()
    chosen = targets(grid, cells, AttackOptions())
    for line, target in zip((first, second), chosen, strict=True):
        assert line == f"{target.cell.id}  {target.cell.label}: relearning, quantisation"
    # Three sets to tune on and two numbers of bits, each for both cells and, once, for the model they start from.
    assert summary == (
        "2 cells to attack, and the model before unlearning of each: 9 curves of relearning, each of 64 steps, and "
        "9 models with rounded weights; less than a minute on cpu (by the cells that are done)"
    )
    monkeypatch.setattr(attack_forecast, "rate", lambda *_: (1.0, "one a second"))
    monkeypatch.setattr(attack_forecast, "duration", lambda seconds: f"<{seconds:.0f}>")

    def operations(todo: list[Target], steps: tuple[int, ...] = STEPS) -> int:
        text = attack_forecast.forecast(grid, cells, todo, AttackOptions(steps=steps))
        assert ("tasks come on top" in text) == any("tasks" in target.todo for target in todo)
        return int(text.partition("<")[2].partition(">")[0])

    one, other = ([target] for target in chosen)
    assert operations(one) == operations(other)
    assert operations(one) < operations(chosen) < 2 * operations(one)
    tuning = operations([one[0]._replace(todo=("relearning",))])
    assert operations([one[0]._replace(todo=("relearning", "tasks"))]) == tuning
    # Scored 9 times and 4 times: only the training of the other 32 steps and the 5 scorings are less.
    shorter = operations([one[0]._replace(todo=("relearning",))], (1, 2, 32))
    assert tuning / 2.5 < shorter < tuning / 1.8
    rounding = operations([one[0]._replace(todo=("quantisation",))])
    assert tuning + rounding == operations(one)
    known = unloaded(grid.models["tiny"])
    sets = grid.sets["pretrained"]
    asked = encode(known.tokenizer, [*sets.forget["rare"] * 2, *sets.retain_eval], "chat")
    tokens = sum(len(row.prompt_ids) + len(row.answer_ids) + len(row.end_ids) + 4 for row in asked)
    assert rounding == 2 * counted(known) * 3 * tokens
