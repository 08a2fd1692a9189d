"""Which cells are attacked, and by what."""

from __future__ import annotations

from pathlib import Path

import pytest

from dual_data.errors import UsageError
from dual_data.evaluation.attack_results import ATTACKS
from dual_data.evaluation.attacks.targets import AttackOptions, targets
from dual_data.evaluation.results import BASE
from dual_data.system.files import file_hash
from tests.cli.command import dual_data
from tests.evaluation.attacks.attacked_grid import GRID, opened, write_project


def test_files_that_reading_leaves_in_a_folder_of_tasks_make_no_other_attack(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text("task: t\n")
    (tmp_path / "words.py").write_text("def text(doc):\n    return doc\n")
    options = AttackOptions(tasks=("t",), task_folder=tmp_path)
    before = options.relevant_to("tasks")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "words.cpython-311.pyc").write_bytes(b"compiled")
    (tmp_path / ".DS_Store").write_bytes(b"icons")
    assert options.relevant_to("tasks") == before
    (tmp_path / "words.py").write_text("def text(doc):\n    return str(doc)\n")
    assert options.relevant_to("tasks") != before


def test_a_folder_of_tasks_is_read_for_the_tasks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task.yaml").write_text("task: t\n")
    read = list[Path]()

    def record(path: Path) -> str:
        read.append(path)
        return file_hash(path)

    monkeypatch.setattr("dual_data.evaluation.attacks.targets.file_hash", record)
    options = AttackOptions(tasks=("t",), task_folder=tmp_path)
    for attack in ATTACKS:
        options.relevant_to(attack)
    assert read == [tmp_path / "task.yaml"]


def test_seeds_without_an_adapter_are_left_out_where_another_has_one(tmp_path: Path) -> None:
    options = write_project(tmp_path, adapters=True, more=["--seed", "1"], grid=f"{GRID}seeds = [0, 1]\n")
    assert dual_data("eval", "run", *options).code == 0
    grid, cells = opened(tmp_path)
    with pytest.raises(UsageError, match="no results of what is to be attacked; run it first: dual-data eval run"):
        targets(grid, [cell for cell in cells if cell.method == BASE], AttackOptions())
    messages: list[str] = []
    (target,) = targets(grid, cells, AttackOptions(), say=messages.append)
    assert (target.cell.seed, target.todo) == (1, ("relearning", "quantisation"))
    assert messages == [f"{grid.folder}: 1 further seeds have no adapter and are left out; --save-adapters keeps them"]
