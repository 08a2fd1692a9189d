"""The recipe of CONTRIBUTING.md for an unlearning method: one file, and one formula; and what editing the file does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dual_data.errors import InputError
from dual_data.evaluation.methods import METHODS, load_methods
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.train import train
from tests.cli.command import ROOT, dual_data
from tests.contributing.method_files import CONTROLLED, METHOD, WEIGHTED, project_method
from tests.evaluation.grid.small_grid import FILE, project
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import problem

__all__ = ["project", "project_method"]


FORMULA = """
import pytest
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.training.optimisation import Optimisation
from tests.evaluation.methods.formulas import FORMULAS, nll, token_mean
from tests.evaluation.methods.test_methods import steps_of
from tests.evaluation.training.oracle import Oracle, peft_twin, problem

def uniform(step):
    return token_mean([-row.rows.mean(-1) for row in step.forget]) + nll(step.retain)

assert set(METHODS) == {*FORMULAS, "Uniform"}
assert METHODS["Uniform"].defaults == {"alpha": 1.0}
given, optimisation = problem(), Optimisation(epochs=1, batch=3)
oracle = Oracle(given, peft_twin(given, "llama"))
wanted = [uniform(oracle.step(*rows)).item() for rows in steps_of(given, optimisation)]
assert given.train("Uniform", optimisation)[0].losses == pytest.approx(wanted, rel=1e-5)
"""


@pytest.fixture
def method(tmp_path: Path) -> Path:
    """The file of a method, in a copy of the package."""
    package = tmp_path / "dual_data"
    shutil.copytree(ROOT / "dual_data", package, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    path = package / "evaluation" / "methods" / "uniform.py"
    path.write_text(METHOD)
    return path


def test_methods_are_listed_with_their_formulas_options_and_sources(project_method: Path) -> None:
    project_method.write_text(METHOD.replace("alpha: float = 1.0", "alpha: float = 0.25"))
    listed = dual_data("eval", "methods", "--project", project_method.parents[2]).out
    own = listed.index("\nUniform\n    L = ")
    assert listed[own:].endswith("\n    options: alpha = 0.25\n    source: the paper that it is from\n")
    npo = "\nNPO\n    L = -gamma (2/beta) mean_i log sigmoid(beta (L_i - Lref_i)) + alpha mean l_retain; "
    assert (
        listed.index(npo) < listed.index("    options: beta = 0.1, gamma = 1.0, alpha = 1.0\n", listed.index(npo)) < own
    )
    assert "\n    options: gamma = 1.0, by = 'quantile', " in listed
    assert "\n    Price of the limit R <= R0 + slack: alpha <- max(0, alpha + rate (R - R0 - slack)) " in listed


def test_every_option_of_a_loss_is_in_the_formula_that_is_listed(tmp_path: Path) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").touch()
    listed = "\n" + dual_data("eval", "methods", "--project", tmp_path).out
    for name, method in METHODS.items():
        _, _, after = listed.partition(f"\n{name}\n")
        formulas, _, _ = after.partition("    options: ")
        options = method._replace(constants=None, controller=None, notes=None).defaults
        assert [option for option in options if not re.search(rf"\b{option}\b", formulas)] == [], name


def _python(method: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the package that has the method."""
    folder = method.parents[3]
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_in_the_folder_is_a_method(method: Path) -> None:
    process = _python(method, "-c", FORMULA)
    assert process.returncode == 0, process.stderr[-2000:]


def test_cells_of_an_edited_method_are_run_anew_and_not_mixed_with_the_old(method: Path, project: Path) -> None:
    (project / "pipeline").mkdir()
    (project / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    (project / "evaluation.toml").write_text(FILE.replace("NPO =", "Uniform = {}\nNPO ="))

    def run(out: str, *options: str) -> subprocess.CompletedProcess[str]:
        return _python(
            method, "-m", "dual_data", "eval", "run", "--grid", "one", "--file", project / "evaluation.toml",
            "--project", project, "--out", project / out, "--device", "cpu", "--stage", "pretrained",
            "--method", "Uniform", "--lr", "1e-3", "--seed", "0", *options,
        )  # fmt: skip

    assert "2 done" in run("old").stdout
    method.write_text(METHOD.replace("    forget = ", "    # A comment.\n    forget = "))
    assert "2 cells, 0 to do" in run("old", "--dry-run").stdout
    method.write_text(METHOD.replace("forget + alpha", "2 * forget + alpha"))
    dry_run = run("old", "--dry-run")
    assert "2 cells, 1 to do" in dry_run.stdout
    assert "results with other rows or settings than the cells to run (code), such as" in dry_run.stderr
    assert "2 done" in run("new").stdout
    with pytest.raises(InputError, match="and seed, but code changed in between; remove"):
        collect([project / "old", project / "new"])


def test_a_project_has_methods_of_its_own(project: Path, project_method: Path) -> None:
    command = (
        "eval", "run", "--grid", "one", "--file", project / "evaluation.toml", "--project", project,
        "--device", "cpu,cpu", "--stage", "pretrained", "--method", "Uniform", "--lr", "1e-3", "--seed", "0",
    )  # fmt: skip
    assert "2 done" in dual_data(*command).out
    assert "2 cells, 0 to do" in dual_data(*command, "--dry-run").out
    project_method.write_text(METHOD.replace("forget + alpha", "2 * forget + alpha"))
    assert "2 cells, 1 to do" in dual_data(*command, "--dry-run").out
    project_method.unlink()
    outcome = dual_data(*command)
    assert outcome.code == 2
    assert "Uniform: unknown method" in outcome.err
    others = ["GradAscent" if word == "Uniform" else word for word in command]
    assert "2 cells, 1 to do" in dual_data(*others, "--dry-run").out


def test_a_controller_and_constants_of_the_right_shape_are_taken(project: Path, project_method: Path) -> None:
    project_method.write_text(CONTROLLED)
    load_methods(project)
    assert set(problem().train("Uniform", Optimisation(epochs=2, batch=3))[0].parts["weight"]) == {1.0}


def test_a_weight_of_each_fact_weighs_its_row(project: Path, project_method: Path) -> None:
    project_method.write_text(WEIGHTED)
    load_methods(project)
    given = problem()
    popularity = [0.0, 4.0, 1.0, None, 4.0, 0.0, 2.25]
    whole = given.data
    items = [item._replace(popularity=value) for item, value in zip(whole.items, popularity, strict=True)]

    def forget_loss(*rows: int) -> float:
        """Of the first step, in which the rows are one batch."""
        data = whole._replace(forget=[whole.forget[row] for row in rows], items=[items[row] for row in rows])
        method, how = METHODS["PopularFirst"], Optimisation(epochs=1, batch=9)
        return train(given.loaded, given.adapters, method, data, [0.0], how)[0].parts["forget"][0]

    # Alone, each of these rows has the weight 1.
    weights = {1: 1.0, 2: 0.5, 4: 1.0, 6: 0.75}
    weighted = sum(weight * forget_loss(row) for row, weight in weights.items()) / len(popularity)
    assert forget_loss(*range(7)) == pytest.approx(weighted, rel=1e-4)


def test_a_method_can_look_facts_up_by_what_their_rows_hold(project: Path, project_method: Path) -> None:
    looked_up = METHOD.replace(
        "METHOD =", "def ids(facts):\n    print([i.question for i in facts.items])\n    return {}\n\n\nMETHOD ="
    )
    project_method.write_text(looked_up.replace('from")', 'from", constants=ids)'))
    command = ("eval", "run", "--grid", "one", "--file", project / "evaluation.toml", "--project", project)
    outcome = dual_data(*command, "--method", "Uniform", "--device", "cpu", "--dry-run")
    assert outcome.out.startswith(str([item.question for item in cities()[:3]]))


def test_numbers_of_a_method_may_have_any_type(project: Path, project_method: Path) -> None:
    method = CONTROLLED.replace('{"weight": 1.0}', '{"weight": 1}').replace('parts["weight"][-1]', "0.5")
    method = method.replace("Loss(forget + ", "Loss(forget.double() + ")
    project_method.write_text(
        method.replace("**batch.state", '**batch.state, "labels": batch.forget.real.sum(1).int()')
    )
    load_methods(project)
    trace = problem().train("Uniform", Optimisation(epochs=2, batch=3))[0]
    steps = trace.steps // 2
    assert trace.parts["weight"] == [1.0] * steps + [0.5] * steps
    assert sum(trace.parts["labels"]) > 0
