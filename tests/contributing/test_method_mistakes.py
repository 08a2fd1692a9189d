"""Mistakes in the code of a method are told with its file and line, if possible before a model is loaded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dual_data.errors import ConfigError, UsageError
from dual_data.evaluation.grid import grid_run
from dual_data.evaluation.methods import METHODS, load_methods
from dual_data.evaluation.settings import load_settings
from dual_data.evaluation.training.optimisation import Optimisation
from dual_data.evaluation.training.trial import try_method
from tests.cli.command import ROOT, dual_data
from tests.contributing.method_files import CONTROLLED, METHOD, project_method
from tests.evaluation.grid.small_grid import project
from tests.evaluation.training.oracle import problem

__all__ = ["project", "project_method"]


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
            r": `value` in the loss of Uniform is \[\] and not \[3\], one number per",
        ),
        (  # a number per row, of which the trial has fewer than cells
            "Loss(forget + alpha * retain",
            "Loss((batch.forget.share * batch.forget.row_sum(policy.forget.nll)).sum(0)",
            r": `value` in the loss of Uniform is \[2\] and not \[3\], one number per",
        ),
        (
            '{**batch.state, "forget": forget, "retain_nll": retain}',
            "None",
            r": the parts in the loss of Uniform are a NoneType; give a dict by name",
        ),
        ('"forget": forget', '"forget": 0.5', r": `forget` in the loss of Uniform is float and not \[3\], one number"),
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
        (  # without effect where the model is not sure of the labels
            "batch.retain.token_mean(policy.retain.nll)",
            "(1.0 - policy.retain.nll).relu().mean(1)",
            r": the loss of Uniform is no weighted mean of its rows",
        ),
        (
            "token_mean(policy.retain.nll)",
            "token_mean((1.0 - policy.retain.nll).sqrt().where(policy.retain.nll < 1.0, 0.0))",
            r": the gradient of the loss of Uniform is not finite on made-up outputs that are",
        ),
        (
            "policy.retain.nll",
            "policy.retain.nll / policy.retain.nll.detach().max()",
            r": the loss of Uniform for one cell depends on the others",
        ),
        (
            "retain = batch.retain.token_mean(policy.retain.nll)",
            "retain = batch.retain.token_mean(policy.retain.nll).mean().expand(len(forget))",
            r": the loss of Uniform for one cell depends on the others",
        ),
        (
            "policy.retain.nll",
            "reference.retain.nll",
            r": line 9: .* did not ask for these outputs: name 'retain' in the reference of Method, as in "
            r'reference=frozenset\(\{"retain"\}\)',
        ),
        (
            "policy.retain.nll",
            "policy.refusal.nll",
            r": line 9: .* did not ask for these outputs: name 'refusal' in the kinds of Method, as in "
            r'kinds=\("forget", "retain", "refusal"\)',
        ),
        (
            "policy.retain.nll",
            "reference.refusal.nll",
            r": line 9: .* did not ask for these outputs: name 'refusal' in the kinds of Method",
        ),
        (
            "policy.retain.nll",
            "policy.retain.hidden.sum(-1)",
            r": line 9: .* did not ask for these outputs: give Method at_layer=True, .* option: `\*, layer: int = 7`",
        ),
        ('return {"weight": 1.0}', "return {}[0]", r": line 16: the controller of Uniform fails: KeyError: 0"),
        (
            'parts["weight"]',
            'parts["wait"]',
            r": line 19: the controller of Uniform fails: KeyError: 'wait' \(parts: weight, forget, retain_nll\)",
        ),
        (
            '{"weight": parts["weight"][-1]}',
            '{"wait": 0.5}',
            r": the controller of .*: after_epoch returns {'wait': 0.5}; return a dict of numbers by name, of the "
            "state that `start` gives: weight",
        ),
        (
            'return {"weight": parts',
            '{"weight": parts',
            r": .*: after_epoch returns None; return a dict of numbers by n",
        ),
        (
            '{"weight": parts["weight"][-1]}',
            '{"weight": "high"}',
            r": .*: after_epoch returns {'weight': 'high'}; return",
        ),
        (
            'return {"weight": 1.0}',
            'return {"weight": "high"}',
            r": the controller of Uniform fails: ValueError: start returns {'weight': 'high'}; return a dict of "
            r'numbers by name, such as {"alpha": 1.0}',
        ),
        (
            "policy.retain.nll",
            'policy.retain.nll * batch.state["wieght"]',
            r": line 9: the loss .*: KeyError: 'wieght' \(state: weight; constants of batch.forget: one\)",
        ),
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
    given = problem()
    with pytest.raises(UsageError, match=re.escape(str(project_method)) + message):
        try_method(METHODS["Uniform"], {}, given.data, given.loaded.tokenizer, Optimisation())


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        (
            'terms["retain"]',
            'terms["keep"]',
            r": line 24: the gradient function of Uniform fails: KeyError: 'keep' \(terms: forget, retain\)",
        ),
        (
            "/ length",
            "/ inner(retain, retain)",
            ": the gradient function of Uniform is not finite where that of retain is 0: look for",
        ),
        (
            "clamp_max(0.0)",
            "clamp_max(0.0).sum()",
            ": the gradient function of Uniform gives a cell what depends on the others: keep the first dimension",
        ),
        (
            "in zip(forget, retain, strict=True)",
            "in [(forget[0], retain[0])]",
            r": the gradient function of Uniform returns \[\[3, 5\]\] and not \[\[3, 5\], \[3, 4\]\], a tensor for",
        ),
        (
            "share, r,",
            "share * torch.rand(1), r,",
            ": the gradient function of Uniform uses torch's shared generator",
        ),
        (
            ', {"forget": -forget, "retain": retain}',
            "",
            r": the loss of Uniform has no terms for its gradient function: return Loss\(value, parts, terms\)",
        ),
        ("    gradient=rectified,\n", "", ": the loss of Uniform has terms: name a `gradient` in Method"),
        ('"retain": retain}', '"retain": retain.detach()}', ": `retain` in the loss of Uniform has no gradient"),
        ('"retain": retain}', '"retain": retain.sum()}', r": `retain` in the loss of Uniform is \[\] and not \[3\]"),
        (
            '"retain": retain}',
            '"retain": retain.mean().expand(len(retain))}',
            ": the loss of Uniform for one cell depends on the others",
        ),
        ('"retain": retain}', '"retain": retain**2}', ": the loss of Uniform is no weighted mean of its rows"),
    ],
)
def test_mistakes_in_what_combines_gradients_are_told_with_its_file(
    project: Path, project_method: Path, line: str, wrong: str, message: str
) -> None:
    method = (ROOT / "dual_data" / "evaluation" / "methods" / "gru.py").read_text().replace('"GRU"', '"Uniform"')
    assert line in method
    project_method.write_text(method.replace(line, wrong))
    load_methods(project)
    given = problem()
    with pytest.raises(UsageError, match=re.escape(str(project_method)) + message):
        try_method(METHODS["Uniform"], {}, given.data, given.loaded.tokenizer, Optimisation())


@pytest.mark.parametrize(
    ("field", "returned", "message"),
    [
        ("factor", "None", "fails: ValueError: returns None; return a finite number"),
        ("factor", 'float("nan")', "fails: ValueError: returns nan; return a finite number"),
        ("factor", "random.random()", "changes from call to call"),
        ("noise", "0.1", "fails: ValueError: returns 0.1; return two finite numbers, keep and spread"),
        ("noise", '(1.0, float("inf"))', r"fails: ValueError: returns \(1.0, inf\); return two finite numbers"),
        ("noise", "(1.0, random.random())", "changes from call to call"),
    ],
)
def test_mistakes_in_what_changes_weights_are_told_with_its_file(
    project: Path, project_method: Path, field: str, returned: str, message: str
) -> None:
    message = f": the {field} function of Uniform {message}"
    method = METHOD.replace("METHOD =", f"import random\n\n\ndef made():\n    return {returned}\n\n\nMETHOD =")
    project_method.write_text(method.replace('from")', f'from", {field}=made)'))
    load_methods(project)
    given = problem()
    with pytest.raises(UsageError, match=re.escape(str(project_method)) + message):
        try_method(METHODS["Uniform"], {}, given.data, given.loaded.tokenizer, Optimisation())


def test_no_kl_term_is_added_to_losses_whose_gradients_are_combined() -> None:
    with pytest.raises(UsageError, match=r"^GRU combines the gradients of its own terms, so forget_kl cannot be set$"):
        problem().train("GRU", Optimisation(forget_kl=0.02))


def test_a_loss_that_is_no_number_is_told_by_the_trial(project: Path, project_method: Path) -> None:
    project_method.write_text(METHOD.replace("return Loss(forget", "return Loss((forget - forget.detach() - 1).log()"))
    load_methods(project)
    given = problem()
    told = re.escape(
        f"{project_method}: the loss of Uniform is [nan, nan, nan] on made-up outputs that are finite: look"
    )
    with pytest.raises(UsageError, match=told):
        try_method(METHODS["Uniform"], {}, given.data, given.loaded.tokenizer, Optimisation())


@pytest.mark.parametrize(
    ("line", "random", "part"),
    [
        ("policy.retain.nll", "policy.retain.nll * torch.rand(1)", "loss"),
        ("policy.retain.nll", "policy.retain.nll + 0 * torch.rand(1)", "loss"),
        ("policy.retain.nll", "policy.retain.nll * random.random()", "loss"),
        ("policy.retain.nll", "policy.retain.nll * (1 + 1e-6 * next(COUNT))", "loss"),
        ("[1.0] * len(row)", "[random.random()] * len(row)", "constants function"),
        ('{"weight": 1.0}', '{"weight": random.random()}', "controller"),
        ('parts["weight"][-1]', "random.random()", "controller"),
        ("controller=Controller", 'notes=lambda facts: {"noise": random.random()}', "notes function"),
    ],
)
def test_a_method_that_draws_random_numbers_is_refused(
    project: Path, project_method: Path, line: str, random: str, part: str
) -> None:
    assert line in CONTROLLED
    head = "\nimport itertools\nimport random\nimport torch\n\nCOUNT = itertools.count()\n\n\ndef loss"
    method = CONTROLLED.replace(line, random).replace("\n\n\ndef loss", head)
    project_method.write_text(method)
    load_methods(project)
    given = problem()
    fault = "uses torch's shared generator" if "torch" in random else "changes from call to call"
    told = f"{project_method}: the {part} of Uniform {fault}"
    with pytest.raises(
        UsageError, match=f"^{re.escape(told)}.*, so no run could be repeated: make random numbers const"
    ):
        try_method(METHODS["Uniform"], {}, given.data, given.loaded.tokenizer, Optimisation())


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


def test_a_method_that_fails_is_the_result_of_its_cells_and_of_no_others(project: Path, project_method: Path) -> None:
    file = project / "evaluation.toml"
    file.write_text(file.read_text().replace("GradAscent = {}\n", ""))
    command = ("eval", "run", "--grid", "one", "--file", file, "--project", project, "--device", "cpu")
    # Its trial does not get so far.
    late = "    STEPS.append(1)\n    assert len(STEPS) < 5, 'late'\n    retain = batch"
    method = METHOD.replace("def loss(", "STEPS = []\n\n\ndef loss(")
    project_method.write_text(method.replace("    retain = batch", late))
    outcome = dual_data(*command)
    assert outcome.code == 1
    # Two stages, two seeds and two learning rates.
    assert outcome.err.count(f"{project_method}: line 13: the loss of Uniform fails: AssertionError: late") == 8
    assert "11 done, 0 stopped, 8 failed" in outcome.out
    project_method.write_text(METHOD)
    assert "8 done, 0 stopped, 0 failed" in dual_data(*command).out
