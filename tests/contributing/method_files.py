"""The methods that the recipe of CONTRIBUTING.md shows, and a project with a file for one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from dual_data.evaluation.methods import load_methods
from tests.cli.command import ROOT
from tests.evaluation.grid.small_grid import FILE, project

__all__ = ["project"]


def _example(name: str) -> str:
    """The file of a method in the recipe."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    found = re.search(rf'```python\n( +"""{name}.*?)```', text, re.DOTALL)
    assert found is not None
    return dedent(found[1])


METHOD = _example("Uniform")
WEIGHTED = _example("PopularFirst")
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
