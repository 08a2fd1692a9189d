"""The options for a part of a grid, as passed to the commands that share them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dual_data.cli.evaluation.grid import GridPart, on_grid
from dual_data.evaluation.settings import ModelSettings
from tests.cli.command import ROOT, dual_data

CALLS: list[tuple[GridPart, float]] = []


@on_grid
def whole(part: GridPart, *, own: Annotated[float, typer.Option("--own")] = 0.5) -> None:
    CALLS.append((part, own))


def _called(command: Callable[..., None], arguments: str) -> tuple[GridPart, float]:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 0, result.output
    return CALLS.pop()


def test_every_shared_option_arrives() -> None:
    options = (
        "-g reference -f a.toml -C there -o out --model m --stage sft --set rare --method NPO --lr 1e-3 --seed 2 "
        "--method WGA --lr 3e-4 --seed 0 --dtype float32 --limit 4 --trust-remote-code --own 0.1"
    )
    part = GridPart(
        "reference", Path("a.toml"), Path("there"), Path("out"), ["m"], ["sft"], ["rare"], ["NPO", "WGA"],
        [1e-3, 3e-4], [2, 0], "float32", 4, True,
    )  # fmt: skip
    assert _called(whole, options) == (part, 0.1)


def test_without_options_it_is_the_whole_of_the_demo() -> None:
    assert _called(whole, "") == (GridPart(), 0.5)
    assert GridPart().grid == "demo"


def test_the_help_tells_the_dtype_of_a_model_that_is_not_in_the_file() -> None:
    default = ModelSettings(spec="somewhere").dtype
    shown = " ".join(dual_data("eval", "run", "--help").out.replace("│", " ").split())
    assert f"loaded in {default}, on a CPU too, unless --dtype says otherwise" in shown
    assert f"the file's, or {default} where it names none" in shown


def test_worked_examples_need_a_task() -> None:
    unknown = dual_data("eval", "attack", "--only", "relearn")
    told = "error: --only relearn: no such attack; there are relearning, quantisation, tasks\n"
    assert (unknown.code, unknown.err) == (2, told)
    for words in (("--only", "tasks"), ("--only", "relearning", "--task", "mmlu")):
        refused = dual_data("eval", "attack", *words)
        told = "error: --only: takes tasks if --task names some, and only then\n"
        assert (refused.code, refused.err) == (2, told)
    outcome = dual_data("eval", "attack", "--shots", "3")
    assert (outcome.code, outcome.err) == (
        2, "error: --shots: are shown before the questions of a task; name one with --task\n"
    )  # fmt: skip


@pytest.mark.parametrize(("command", "option"), [("attack", "--relearn-lr"), ("attack", "--lr"), ("run", "--lr")])
@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf"])
def test_a_rate_at_which_nothing_is_learnt_is_refused(command: str, option: str, rate: str) -> None:
    outcome = dual_data("eval", command, f"{option}={rate}")
    assert (outcome.code, outcome.err) == (2, f"error: {option} {rate}: a learning rate is a number greater than 0\n")


@pytest.mark.parametrize("command", ["run", "attack"])
def test_a_grid_that_is_not_in_the_file_is_told_without_importing_torch(command: str) -> None:
    pytest.importorskip("torch", reason="the evaluation extra is not installed")
    code = (
        "import sys; from dual_data.cli import main\n"
        f"try: main(['eval', '{command}', '--project', {str(ROOT)!r}, '--grid', 'nosuch'])\n"
        "finally: print('torch' in sys.modules)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout) == (2, "False\n")
    assert "grids: no grid 'nosuch'; the file has: " in outcome.stderr
