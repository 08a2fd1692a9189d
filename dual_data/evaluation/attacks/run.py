"""Runs attacks: every model is loaded once, and every result is written as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from dual_data.errors import DualDataError
from dual_data.evaluation.attack_results import LAYOUT, attack_path
from dual_data.evaluation.attacks.lm_eval_tasks import check_tasks
from dual_data.evaluation.attacks.runners import RUNNERS, Before, restored
from dual_data.evaluation.attacks.targets import AttackOptions, Say, Target
from dual_data.evaluation.device.memory import enough_memory, release
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.grid_run import load_model
from dual_data.evaluation.grid.provenance import provenance
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import write_json


class Attacks(NamedTuple):
    """The outcome of a run of attacks."""

    written: list[Path]
    failed: list[str]
    """The attacks that failed, each with its cell and the reason."""


def attack(grid: Grid, chosen: Sequence[Target], options: AttackOptions, *, say: Say = lambda _: None) -> Attacks:
    """Run the attacks that the chosen cells lack and write one JSON file each; every model is loaded once.

    A failed attack, for example for lack of memory, does not end the others. Raises as `check_tasks` does, before a
    model is loaded.
    """
    if any("tasks" in target.todo for target in chosen):
        check_tasks(options.tasks, options.task_folder)
    outcome = Attacks([], [])
    loaded: Loaded | None = None
    model = ""

    def failed(cell: Cell, names: str, error: DualDataError) -> None:
        say(f"{cell.label}: {names} failed: {error}")
        outcome.failed.append(f"{cell.label}: {names}: {error}")

    def attack_cell(loaded: Loaded, target: Target, before: Before) -> None:
        """A function, so that no variable keeps the adapters, and with them the model, when the next one is loaded."""
        cell = target.cell
        with restored(grid, loaded, cell, before) as model_of_cell:
            for name in target.todo:
                tell = partial(_tell, say, f"{cell.label}: {name}")
                try:
                    with enough_memory(f"attacking by {name}"):
                        result = RUNNERS[name](model_of_cell, options, tell)
                except DualDataError as error:
                    failed(cell, name, error)
                    continue
                for note in result.get("notes", ()):
                    tell(note)
                attack_options = options.relevant_to(name)
                content = {
                    "layout": LAYOUT,
                    "cell": cell.id,
                    "attack": name,
                    "options": attack_options,
                    "provenance": provenance(loaded, grid.git, ("lm_eval",) if name == "tasks" else ()),
                    **result,
                }
                outcome.written.append(write_json(attack_path(grid.folder, cell.id, name, attack_options), content))

    ordered = sorted(chosen, key=lambda target: (target.cell.model, target.cell.stage, target.cell.seed))
    for _, targets_of_stage in groupby(ordered, key=lambda target: (target.cell.model, target.cell.stage)):
        before: Before = {}
        for target in targets_of_stage:
            cell = target.cell
            try:
                with enough_memory("putting the cell on its base"):
                    if loaded is None or model != cell.model:
                        loaded = None  # so that two models are never held at once
                        release()
                        loaded, model = load_model(grid.models[cell.model], options.device), cell.model
                        open_engine(loaded)  # now, so that it tries the model itself, without an adapter
                    attack_cell(loaded, target, before)
            except DualDataError as error:
                failed(cell, ", ".join(target.todo), error)
            release()
    return outcome


def _tell(say: Say, attacked: str, text: str) -> None:
    say(f"{attacked} {text}")
