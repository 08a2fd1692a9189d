"""Files that define methods: which are refused, and which edits make another method."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from dual_data.errors import UsageError
from dual_data.evaluation.methods import METHODS, load_methods, method_named
from dual_data.evaluation.training.optimisation import Optimisation
from tests.contributing.method_files import METHOD, project_method
from tests.evaluation.grid.small_grid import project
from tests.evaluation.training.oracle import problem

__all__ = ["project", "project_method"]


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


def test_the_faults_of_all_files_are_told_at_once(project: Path, project_method: Path) -> None:
    project_method.write_text("1 / 0")
    (project_method.parent / "other.py").write_text("")
    with pytest.raises(UsageError, match=r"other\.py: defines no method.*\n.*uniform\.py: cannot be loaded"):
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
        ('kinds=["forget"], reference={"retain"}', "reference: 'retain' is not among .* kinds: forget"),
        ('reference_rows={"retain"}', "cannot be loaded: TypeError: .* unexpected keyword argument 'reference_rows'"),
        (
            'kinds=("forget", "refusal"), other_answer="refuse"',
            "other_answer: is 'refuse'; for kinds that have 'refusal', it is 'refusals' or 'swapped'",
        ),
        ('kinds=("forget", "refusal")', "other_answer: is ''; for kinds that have 'refusal', it is 'refusals' or"),
        ('other_answer="swapped"', "other_answer: is 'swapped'; for kinds that have no 'refusal', it is ''"),
        ("at_layer=True", "at_layer: the loss must have the layer as an option, such as `*, layer: int = 7`"),
        ("constants=1", "constants: 1 is wrong: Input should be callable"),
        (
            "constants=lambda facts, power=0.5: {}",
            "constants: 'power' has a default, but is no option, as it is not behind a `*`: write `*, power`",
        ),
        (
            "constants=lambda facts, *, alpha=0.5: {}",
            "constants: the option 'alpha' is 0.5 by default, but 1.0 in loss: give it one default",
        ),
        (
            "constants=lambda facts, *, power: {}",
            "constants: 'power' is no option, as it has no default: write one, such as `power: float = 1.0`",
        ),
        ("controller=lambda *, alpha=1: None", "controller: the option 'alpha' is 1 by default, but 1.0 in loss"),
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
