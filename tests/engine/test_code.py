"""The code of a stage: its module and what it imports of the project, and what was edited since a build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dual_data.engine.code import code_of, edited
from dual_data.engine.stage import Stage
from dual_data.project.loading import load_stages
from tests.cli.command import forget_pipeline

FILES = {
    "__init__.py": "from pipeline.near.first import FIRST\nfrom pipeline.second import SECOND\n"
    "PIPELINE = (FIRST, SECOND)\n",
    "near/__init__.py": "",
    "near/first.py": "import json\nfrom . import beside\nfrom ..far import away\nfrom .beside import NAME\n"
    "from dual_data.config import Strict\nfrom dual_data.engine.stage import Stage\n"
    "from dual_data.schema import Links\n"
    "def run(params, tools):\n    import pipeline.late\n"
    "FIRST = Stage('first', version=1, run=run, schema=Links, params=Strict)\n",
    "near/beside.py": "NAME = 'a'\n",
    "far.py": "from pipeline.near import first  # a circle\naway = 1\n",
    "late.py": "this is no Python\n",
    "second.py": "import functools\nfrom dual_data.config import Strict\nfrom dual_data.engine.stage import Stage\n"
    "from dual_data.schema import Links\n"
    "SECOND = Stage('second', version=1, run=functools.partial(print), schema=Links, params=Strict)\n",
    "unused.py": "",
}
OF_FIRST = [f"pipeline/{name}.py" for name in ("far", "late", "near/__init__", "near/beside", "near/first")]


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[tuple[Stage, ...]]:
    for name, text in FILES.items():
        file = tmp_path / "pipeline" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    forget_pipeline()
    yield load_stages(tmp_path)
    forget_pipeline()


def test_the_code_of_a_stage_is_what_its_module_imports_of_the_project(
    stages: tuple[Stage, ...], tmp_path: Path
) -> None:
    first, second = stages
    assert list(code_of(first, tmp_path)) == OF_FIRST
    assert code_of(second, tmp_path) == {}, "of a partial function, the module is not known"


def test_what_was_edited_is_what_changed_came_or_went(stages: tuple[Stage, ...], tmp_path: Path) -> None:
    first = stages[0]
    record = {"code": code_of(first, tmp_path)}
    (tmp_path / "pipeline" / "unused.py").write_text("# edited\n")
    assert edited(first, tmp_path, record) == ()
    (tmp_path / "pipeline" / "near" / "beside.py").write_text("from pipeline import unused\nNAME = 'b'\n")
    (tmp_path / "pipeline" / "late.py").unlink()
    assert edited(first, tmp_path, record) == (
        "pipeline/late.py",
        "pipeline/near/beside.py",
        "pipeline/unused.py",
    )
    assert edited(first, tmp_path, {}) == (), "a build that holds no hashes of its code"
