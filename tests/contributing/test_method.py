"""The recipe of CONTRIBUTING.md for an unlearning method: one file, and one formula; and what editing the file does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

from dual_data.errors import ConfigError, InputError, UsageError
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.methods import METHODS, load_methods, method_named
from dual_data.evaluation.methods.base import Facts, Method
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.rows.optimisation import Optimisation
from dual_data.evaluation.settings import load_settings
from dual_data.evaluation.training.method_code import constants_of
from dual_data.evaluation.training.trial import try_method
from tests.cli.command import ROOT, dual_data
from tests.evaluation.grid.small_grid import FILE, project
from tests.evaluation.questions import cities
from tests.evaluation.training.oracle import problem

__all__ = ["project"]


def _example(name: str) -> str:
    """The file of a method in the recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.search(rf'```python\n( +"""{name}.*?)```', text, re.DOTALL)
    assert found is not None
    return dedent(found[1])


METHOD = _example("Uniform")
WEIGHTED = _example("PopularFirst")

FORMULA = """
import pytest
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.rows.optimisation import Optimisation
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


@pytest.fixture
def project_method(project: Path, tmp_path: Path) -> Iterator[Path]:
    """The file of a method in a project of its own."""
    folder = project / "pipeline" / "methods"
    folder.mkdir(parents=True)
    (project / "pipeline" / "__init__.py").write_text("PIPELINE = ()\n")
    (project / "evaluation.toml").write_text(FILE.replace("NPO =", "Uniform = {}\nNPO ="))
    path = folder / "uniform.py"
    path.write_text(METHOD)
    yield path
    load_methods(tmp_path / "no project")


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 +", r"uniform\.py: cannot be loaded: SyntaxError: invalid syntax \(uniform\.py, line 1\)"),
        ("1 / 0", r"uniform\.py: cannot be loaded: ZeroDivisionError"),
        ("from dual_data.evaluation.methods.npo import METHOD", r"uniform\.py: defines no method, such as"),
        (METHOD.replace('"Uniform"', '"none"'), r"uniform\.py: there is a method 'none' already"),
        (METHOD.replace('"Uniform"', '"NPO"'), r"uniform\.py: there is a method 'NPO' already"),
    ],
)
def test_files_that_define_no_new_method_are_refused(
    project: Path, project_method: Path, content: str, message: str
) -> None:
    project_method.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_methods(project)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            'loss, "Uniform", "a paper"',
            "Method(<function loss at .*>): name: <function loss at .*> is wrong: .* string",
        ),
        ('"Uniform", loss', "cannot be loaded: TypeError: .*'source'"),
        ('kinds="forget"', "Method('Uniform'): kinds: 'forget' is wrong: Input should be a valid tuple"),
        ('kinds=("forget", "retian")', "kinds: 'retian' is not a kind; known here: forget, retain, refusal"),
        ('kinds=("retain",)', "kinds: lacks 'forget'"),
        ('reference="retain"', "reference: 'retain' is wrong: Input should be a valid frozenset"),
        ('reference={"retian"}', "reference: 'retian' is not among the method's kinds: forget, retain"),
        ('kinds=["forget"], reference_rows={"retain"}', "reference_rows: 'retain' is not among .* kinds: forget"),
        (
            'kinds=("forget", "refusal"), other_answer="refuse"',
            "other_answer: is 'refuse'; for kinds that have 'refusal', it is 'refusals' or 'swapped'",
        ),
        ('kinds=("forget", "refusal")', "other_answer: is ''; for kinds that have 'refusal', it is 'refusals' or"),
        ('other_answer="swapped"', "other_answer: is 'swapped'; for kinds that have no 'refusal', it is ''"),
        ("at_layer=True", "at_layer: the loss must have the layer as an option, such as `*, layer: int = 7`"),
        ("constants=1", "constants: 1 is wrong: Input should be callable"),
    ],
)
def test_wrong_fields_of_a_method_are_told_with_its_file(
    project: Path, project_method: Path, arguments: str, message: str
) -> None:
    given = arguments if "loss" in arguments else f'"Uniform", loss, "a paper", {arguments}'
    project_method.write_text(METHOD.split("METHOD =")[0] + f"METHOD = Method({given})")
    pattern = re.escape(f"{project_method}: ") + ".*" + re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(UsageError, match=pattern):
        load_methods(project)


def test_lists_and_sets_are_taken_for_the_fields_of_a_method(project: Path, project_method: Path) -> None:
    project_method.write_text(METHOD.replace('from")', 'from", kinds=["forget", "retain"], reference={"retain"})'))
    load_methods(project)
    method = method_named("Uniform")
    assert (method.kinds, method.reference) == (("forget", "retain"), frozenset({"retain"}))


CONTROLLED = (
    METHOD.replace("retain, {", "retain, {**batch.state, ")
    .replace(
        "METHOD =",
        """
class Controller:
    def start(self):
        return {"weight": 1.0}

    def after_epoch(self, parts):
        return {"weight": parts["weight"][-1]}


METHOD =""",
    )
    .replace(
        'from")',
        'from", controller=Controller, constants=lambda facts: {"one": [[1.0] * len(row) for row in facts.labels]})',
    )
)
"""The method of the recipe with a controller, whose state is logged, and a constant of each label."""


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("retain = batch", "retain = bacth", r": line 9: the loss of Uniform fails: NameError: name 'bacth' is not"),
        ("token_mean(policy.retain.nll)", "token_mean(batch.retain.share)", r": line 9: the loss of .* RuntimeError: "),
        (
            "return Loss(forget +",
            "return (forget +",
            r": the loss of Uniform returns a tuple; return Loss\(value, parts",
        ),
        (
            "Loss(forget +",
            "Loss(forget.sum() +",
            r": `value` in the loss of Uniform is \[\] and not \[1\], one number per",
        ),
        (
            '{**batch.state, "forget": forget, "retain_nll": retain}',
            "None",
            r": the parts in the loss of Uniform are a NoneType; give a dict by name",
        ),
        ('"forget": forget', '"forget": 0.5', r": `forget` in the loss of Uniform is float and not \[1\], one number"),
        (
            "return Loss(forget + alpha * retain",
            "return Loss(forget.detach()",
            r": the loss of Uniform has no gradient",
        ),
        (
            "batch.retain.token_mean(policy.retain.nll)",
            "policy.retain.nll.mean(1)",
            r": the loss of Uniform is no weighted mean of its rows",
        ),
        (
            "policy.retain.nll",
            "reference.retain.nll",
            r": line 9: .* did not ask for these outputs: name 'retain' in the reference of Method, as in "
            r'reference=frozenset\(\{"retain"\}\)',
        ),
        (
            "policy.retain.nll",
            "policy.retain.hidden.sum(-1)",
            r": line 9: .* did not ask for these outputs: give Method at_layer=True, .* option: `\*, layer: int = 7`",
        ),
        ('return {"weight": 1.0}', "return {}[0]", r": line 16: the controller of Uniform fails: KeyError: 0"),
        ('parts["weight"]', 'parts["wait"]', r": line 19: the controller of Uniform fails: KeyError: 'wait'"),
        ('{"weight": parts', '{"wait": parts', r": the controller of Uniform fails: KeyError: 'wait'"),
        ("facts.labels", "facts.label", r": line 22: the constants function of Uniform fails: AttributeError: "),
        (
            "* len(row)",
            "* 2",
            r": the constants function of Uniform fails: ValueError: one is neither one number",
        ),
    ],
)
def test_mistakes_in_a_method_are_told_with_its_file(
    project: Path, project_method: Path, line: str, wrong: str, message: str
) -> None:
    assert line in CONTROLLED
    project_method.write_text(CONTROLLED.replace(line, wrong).replace("forget.sum() + alpha * retain", "forget.sum()"))
    load_methods(project)
    with pytest.raises(UsageError, match=re.escape(str(project_method)) + message):
        problem().train("Uniform", Optimisation(epochs=2, batch=3))
    # A trial has two cells.
    with pytest.raises(UsageError, match=re.escape(str(project_method)) + message.replace(r"not \[1\]", r"not \[2\]")):
        _tried("Uniform")


def _tried(method: str, **chosen: Any) -> None:
    given = problem()
    try_method(METHODS[method], chosen, given.cell(), given.loaded.tokenizer, Optimisation(), train_end=True)


def test_every_method_passes_its_trial_which_draws_no_number_of_a_run() -> None:
    state = torch.get_rng_state()
    given = problem()
    for method in METHODS.values():
        for train_end in (True, False):
            cell = given.cell()
            cell = cell._replace(forget=cell.forget[:1], refusal=cell.refusal[:1], popularity=[1.0])
            for data in (given.cell(), cell):
                tokenizer = given.loaded.tokenizer
                try_method(method, {}, data, tokenizer, Optimisation(normalise="sequence"), train_end=train_end)
    assert torch.equal(torch.get_rng_state(), state)


def test_mistakes_are_told_once_before_a_model_is_loaded(
    project: Path, project_method: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / "evaluation.toml"
    file.write_text(file.read_text().replace("Uniform = {}", "Uniform = {}\nOther = {}"))
    command = ("eval", "run", "--grid", "one", "--file", file, "--project", project, "--device", "cpu")
    project_method.write_text(METHOD.replace("retain = batch", "retain = bacth"))
    other = project_method.with_name("other.py")
    other.write_text(METHOD.replace("Uniform", "Other").replace("retain.nll)", "retain.hidden.sum(-1))"))
    monkeypatch.setattr(grid_run, "load_model", lambda *_: pytest.fail("loaded"))
    for options in ([], ["--dry-run"]):
        outcome = dual_data(*command, *options)
        assert outcome.code == 2
        assert outcome.err.count(f"{project_method}: line 9: the loss of Uniform fails: NameError") == 1
        assert outcome.err.count(f"{other}: line 9: the loss of Other fails: ValueError") == 1
    assert not (project / "artifacts").exists()
    # Mistakes of methods that are not to be run are of no concern.
    assert dual_data(*command, "--method", "NPO", "--dry-run").code == 0


def test_a_mistake_that_shows_in_a_later_step_is_told_too(project: Path, project_method: Path) -> None:
    method = METHOD.replace("def loss(", "STEPS = []\n\n\ndef loss(")
    late = "    STEPS.append(1)\n    assert len(STEPS) < 5, 'late'\n    retain = batch"
    project_method.write_text(method.replace("    retain = batch", late))
    load_methods(project)
    with pytest.raises(UsageError, match=r"uniform\.py: line 13: the loss of Uniform fails: AssertionError: late"):
        problem().train("Uniform", Optimisation(epochs=3, batch=3))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("lambda *, beta: None", "TypeError: .* missing 1 required keyword-only argument: 'beta'"),
        ("lambda *, alpha: 1 / (alpha - 1)", "ZeroDivisionError: "),
    ],
)
def test_a_mistake_in_a_check_is_told_with_the_method(
    project: Path, project_method: Path, check: str, message: str
) -> None:
    project_method.write_text(METHOD.replace('from")', f'from", check={check})'))
    load_methods(project)
    with pytest.raises(ConfigError, match=f"presets.short.methods.Uniform: the check of its options fails: {message}"):
        load_settings(project / "evaluation.toml")


def test_a_method_that_stops_at_a_layer_has_no_logits(project: Path, project_method: Path) -> None:
    at_layer = METHOD.replace("alpha: float = 1.0", "alpha: float = 1.0, layer: int = 0")
    project_method.write_text(at_layer.replace('from")', 'from", at_layer=True)'))
    load_methods(project)
    with pytest.raises(UsageError, match=r": line 8: .*: at_layer=True ends the forward pass at the layer: read `hid"):
        problem().train("Uniform", Optimisation(epochs=1, batch=3))


def test_a_controller_and_constants_of_the_right_shape_are_taken(project: Path, project_method: Path) -> None:
    project_method.write_text(CONTROLLED)
    load_methods(project)
    assert set(problem().train("Uniform", Optimisation(epochs=2, batch=3))[0].parts["weight"]) == {1.0}


def test_a_weight_of_each_fact_weighs_its_row(project: Path, project_method: Path) -> None:
    project_method.write_text(WEIGHTED)
    load_methods(project)
    given = problem()
    popularity = [0.0, 4.0, 1.0, None, 4.0, 0.0, 2.25]
    cell = given.cell()._replace(popularity=popularity)

    def forget_loss(*rows: int) -> float:
        """Of the first step, in which the rows are one batch."""
        data = cell._replace(forget=[cell.forget[row] for row in rows], popularity=[popularity[row] for row in rows])
        return given.train("PopularFirst", Optimisation(epochs=1, batch=9), data)[0].parts["forget"][0]

    # Alone, each of these rows has the weight 1.
    weights = {1: 1.0, 2: 0.5, 4: 1.0, 6: 0.75}
    weighted = sum(weight * forget_loss(row) for row, weight in weights.items()) / len(popularity)
    assert forget_loss(*range(7)) == pytest.approx(weighted, rel=1e-4)


@pytest.mark.parametrize(
    "constants",
    ["[1.0] * len(facts.labels)", "[[1] * len(row) for row in facts.labels]", "torch.ones(len(facts.labels))"],
)
def test_a_constant_is_a_number_of_a_row_or_of_each_label(constants: str) -> None:
    made = constants_of(_with_constants(constants), {}, FACTS)
    assert made == {"one": [[1.0], [1.0, 1.0, 1.0]]}


@pytest.mark.parametrize(
    "constants", ["[1.0]", "[1.0, None]", "[[1.0], 'abc']", "[[1.0], [1.0, 1.0]]", "[[1.0], [1.0, 1.0, None]]"]
)
def test_constants_of_another_shape_are_told(constants: str) -> None:
    message = "ValueError: one is neither one number per forget row nor one list per forget row with one number per"
    with pytest.raises(UsageError, match=message):
        constants_of(_with_constants(constants), {}, FACTS)


FACTS = Facts([[5], [5, 6, 7]], [1, 2], [None, None], lambda _: [])


def _with_constants(expression: str) -> Method:
    return METHODS["NPO"]._replace(constants=lambda facts: {"one": eval(expression, {"torch": torch, "facts": facts})})


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


def test_a_method_that_fails_stops_only_its_cells_and_all_of_them(project: Path, project_method: Path) -> None:
    file = project / "evaluation.toml"
    file.write_text(file.read_text().replace("GradAscent = {}\n", ""))
    command = ("eval", "run", "--grid", "one", "--file", file, "--project", project, "--device", "cpu")
    # Its trial does not get so far.
    late = "    STEPS.append(1)\n    assert len(STEPS) < 5, 'late'\n    retain = batch"
    method = METHOD.replace("def loss(", "STEPS = []\n\n\ndef loss(")
    project_method.write_text(method.replace("    retain = batch", late))
    outcome = dual_data(*command)
    assert outcome.code == 1
    assert outcome.err.count(f"{project_method}: line 13: the loss of Uniform fails: AssertionError: late") == 1
    # Two stages, two seeds and two learning rates.
    assert outcome.err.count("Uniform: 7 other cells skipped, since the method's code failed\n") == 1
    assert "11 done, 0 stopped, 1 failed" in outcome.out
    project_method.write_text(METHOD)
    assert "8 done, 0 stopped, 0 failed" in dual_data(*command).out


def test_the_code_that_runs_is_the_code_that_is_hashed(
    project: Path, project_method: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    codes, names = set(), []
    for name in ("Uniform", "Unicorn"):
        project_method.write_text(METHOD.replace("Uniform", name))
        os.utime(project_method, (1_700_000_000, 1_700_000_000))  # of the same size, and as if in the same second
        load_methods(project)
        (method,) = [method for method in METHODS.values() if method.name in ("Uniform", "Unicorn")]
        names.append(method.name)
        codes.add(method.code)
    assert names == ["Uniform", "Unicorn"]
    assert len(codes) == 2


def test_an_edit_of_a_helper_is_an_edit_of_the_methods_beside_it(project: Path, project_method: Path) -> None:
    def code() -> str:
        load_methods(project)
        return method_named("Uniform").code

    alone = code()
    (project_method.parent / "__init__.py").write_text('"""Methods."""\n')
    assert code() == alone  # a file without code is none to import from
    helper = project_method.parent / "_shared.py"
    project_method.write_text("from ._shared import FACTOR\n" + METHOD.replace("alpha * retain,", "FACTOR * retain,"))
    codes, losses = [], []
    for text in ("FACTOR = 1.0", "FACTOR = 1.0  # as in the paper", "FACTOR = 20.0"):
        helper.write_text(text)
        codes.append(code())
        losses.append(problem().train("Uniform", Optimisation(epochs=1, batch=3))[0].losses)
    assert codes[0] == codes[1] != codes[2]
    assert losses[0] == losses[1] != losses[2]
    assert method_named("NPO").code != codes[2]
    helper.write_text("FACTOR =")
    with pytest.raises(UsageError, match=r"_shared\.py: cannot be loaded: SyntaxError"):
        load_methods(project)


def test_a_file_may_have_any_encoding_that_python_reads(project: Path, project_method: Path) -> None:
    codes = set()
    for content in (
        METHOD.encode(),
        b"\xef\xbb\xbf" + METHOD.encode(),
        b"# coding: latin-1\n# \xe9\n" + METHOD.encode(),
    ):
        project_method.write_bytes(content)
        load_methods(project)
        codes.add(method_named("Uniform").code)
    assert len(codes) == 1
