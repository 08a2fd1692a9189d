"""Which cells of a grid are attacked, and by what: for every method in its place, the chosen learning rate, by seed.

A cell's adapter must have been saved; loading it onto its base again takes seconds and no training. Every result is
kept under the options that determine it: an attack is not repeated with the same options, and its results with others
stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.attack_results import ATTACKS, key_of, read_attacks
from dual_data.evaluation.attacks.quantisation import ROUNDERS
from dual_data.evaluation.attacks.relearning import STEPS, TUNED_SHARE
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.report.analysis.collect import collect
from dual_data.evaluation.results import adapter_path
from dual_data.system.files import file_hash
from dual_data.system.progress import Progress
from dual_data.text.display import count

Say = Callable[[str], None]
"""Shows a line of progress."""


class AttackOptions(NamedTuple):
    """Which attacks are run, and how."""

    device: str = "cpu"
    only: tuple[str, ...] = ()
    """Names of the attacks to run; all where none are named."""
    lr: float = 1e-4
    """Learning rate of relearning."""
    steps: tuple[int, ...] = STEPS
    tasks: tuple[str, ...] = ()
    """Tasks of lm-eval."""
    task_folder: Path | None = None
    """Definitions of tasks that are not part of lm-eval."""
    shots: int = 0
    """Worked examples before each question of a task."""
    seeds: int = 0
    """Only the first so many seeds of a cell are attacked; 0 for all. The tasks, which measure the cost of unlearning,
    run on the first seed only."""

    def relevant_to(self, attack: str) -> dict[str, Any]:
        """The options that, with the cell, determine the result of an attack, as JSON values."""
        if attack == "relearning":
            return {"lr": self.lr, "steps": list(self.steps), "share": TUNED_SHARE}
        if attack == "quantisation":
            return {"formats": list(ROUNDERS)}
        return {"tasks": list(self.tasks), "task_folder": self._definitions(), "shots": self.shots}

    def _definitions(self) -> list[str]:
        """Hashes of the definitions of tasks."""
        # Python and file managers add files of their own to folders that they read.
        paths = [
            path
            for path in (sorted(self.task_folder.rglob("*")) if self.task_folder is not None else [])
            if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
        ]
        return [file_hash(path) for path in paths]

    def attacks(self, *, first: bool) -> list[str]:
        """The attacks on a cell, which depend on whether it has the first seed."""
        chosen = [attack for attack in ATTACKS if attack in (self.only or ATTACKS)]
        return [attack for attack in chosen if attack != "tasks" or (first and self.tasks)]


class Target(NamedTuple):
    """A chosen cell and the attacks on it that are still to be run."""

    cell: Cell
    todo: tuple[str, ...]


def targets(
    grid: Grid,
    cells: Sequence[Cell],
    options: AttackOptions,
    *,
    say: Say = lambda _: None,
    progress: Progress | None = None,
) -> list[Target]:
    """The chosen cells that lack attacks with these options, of seeds with a saved adapter; `say` reports the others.

    Raises UsageError for a grid that saves no adapters and where no result belongs to a cell, DualDataError where no
    seed has a saved adapter.
    """
    if grid.preset.full:
        raise UsageError(f"{grid.name} trains all weights and keeps no adapters, but an attack starts from an adapter")
    by_id = {cell.id: cell for cell in cells}
    coordinates = {(cell.model, cell.stage, cell.set, cell.method) for cell in cells}
    keys = {name: key_of(options.relevant_to(name)) for name in options.attacks(first=True)}
    chosen, matched, unmatched, skipped = list[Target](), 0, 0, 0
    for group in collect([grid.folder], progress=progress).groups:
        key, lr = group.key, group.chosen()
        if lr is None or (key.model, key.stage, key.set, key.method) not in coordinates:
            continue
        runs = [run for run in group.at(lr) if run.id in by_id]
        matched += bool(runs)
        unmatched += not runs
        if with_adapter := [run for run in runs if adapter_path(grid.folder, run.id).is_dir()]:
            skipped += len(runs) - len(with_adapter)
            runs = with_adapter
        runs = runs[: options.seeds or None]
        for run in runs:
            done = {(result.attack, result.key) for result in read_attacks(grid.folder, run.id)}
            names = options.attacks(first=run is runs[0])
            if todo := tuple(name for name in names if (name, keys[name]) not in done):
                chosen.append(Target(by_id[run.id], todo))
    if not matched and not unmatched:
        raise UsageError(
            f"{grid.folder}: no results of what is to be attacked; run it first: dual-data eval run --save-adapters, "
            "with the options given here"
        )
    if lacking := sum(not adapter_path(grid.folder, target.cell.id).is_dir() for target in chosen):
        raise DualDataError(
            f"{grid.folder}: {lacking} of {len(chosen)} cells to attack have no adapter: repeat `dual-data eval run` "
            "with its options and --save-adapters; it runs these cells again and keeps their adapters"
        )
    if skipped:
        say(f"{grid.folder}: {skipped} further seeds have no adapter and are left out; --save-adapters keeps them")
    if unmatched:
        message = (
            f"{grid.folder}: in {count(unmatched, 'group')} of results, the chosen result is not a cell of {grid.name} "
            "with the options given here: give those that `dual-data eval run` had, such as --limit, --dtype or "
            "--seed, and run the grid again if its methods, rows or settings were edited since"
        )
        if not matched:
            raise UsageError(message)
        say(message)
    return chosen
