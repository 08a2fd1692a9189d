"""The recipe of CONTRIBUTING.md for an unlearning method: one file, and one formula with which it is compared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cli.command import ROOT

METHOD = '''\
"""Uniform: pull every answer token towards a uniform guess."""

from dual_data.evaluation.methods.base import Batch, Loss, Method, Outputs


def loss(batch: Batch, policy: Outputs, reference: Outputs, *, alpha: float = 1.0) -> Loss:
    """L = -mean_t mean_v log p_t(v) on the forget rows, plus alpha mean_t l_t on the retain rows."""
    forget = batch.forget.token_mean(-policy.forget.log_softmax.mean(-1))
    retain = batch.retain.token_mean(policy.retain.nll)
    return Loss(forget + alpha * retain, {"forget": forget, "retain_nll": retain})


METHOD = Method("Uniform", loss, "made up for a test")
'''

FORMULA = """
import pytest
from dual_data.evaluation.methods import METHODS
from dual_data.evaluation.rows.schedule import Optimisation
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


def test_a_file_in_the_folder_is_a_method(tmp_path: Path) -> None:
    package = tmp_path / "dual_data"
    shutil.copytree(ROOT / "dual_data", package, ignore=shutil.ignore_patterns("__pycache__", "*.gz"))
    (package / "evaluation" / "methods" / "uniform.py").write_text(METHOD)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = subprocess.run(
        [sys.executable, "-c", FORMULA],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
