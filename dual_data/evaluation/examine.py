"""The attacks that need the model, on the cells that a grid's report shows: relearning, quantisation, utility.

For every method in its place, the learning rate that the rule chose and its first seed. The cell's adapter must have
been kept; it is put on its base again, which takes seconds and no training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dual_data.errors import DualDataError
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.relearning import STEPS, halves, relearn
from dual_data.evaluation.cells import Cell, Grid
from dual_data.evaluation.data import Item, encode
from dual_data.evaluation.engine import open_engine
from dual_data.evaluation.grid import load_model
from dual_data.evaluation.lora import Adapters, read_spec
from dual_data.evaluation.measure import measure
from dual_data.evaluation.models import Loaded
from dual_data.evaluation.report.collect import Group, Run, collect
from dual_data.evaluation.report.extras import attacks_path
from dual_data.evaluation.results import finite
from dual_data.evaluation.stages import applied, prepare
from dual_data.evaluation.utility import PANEL, lm_eval_scores, panel_utility, read_panel
from dual_data.evaluation.workload import MeasureOptions, build_workload

BITS = (8, 4)


class AttackOptions(NamedTuple):
    """What is run."""

    device: str = "cpu"
    rows: int = 64
    lr: float = 1e-4
    """Learning rate of relearning."""
    steps: tuple[int, ...] = STEPS
    share: float = 0.2
    """Share of the forget subjects that relearning is tuned on; the others are scored."""
    panel: Path = PANEL
    """Questions and texts that utility is measured on."""
    tasks: tuple[str, ...] = ()
    """Tasks of lm-eval beside the panel."""
    task_folder: Path | None = None
    """Definitions of tasks that lm-eval does not come with."""


class Target(NamedTuple):
    """A chosen cell."""

    cell: Cell
    group: Group
    run: Run


def targets(grid: Grid, cells: Sequence[Cell]) -> list[Target]:
    """The chosen cells that have no attacks yet. Raises DualDataError where their adapters were not kept."""
    by_id = {cell.id: cell for cell in cells}
    found = []
    for group in collect([grid.folder]).groups:
        lr = group.chosen()
        run = group.at(lr)[0] if lr is not None else None
        if run is None or run.id not in by_id or attacks_path(grid.folder, run.id).exists():
            continue
        if not (grid.folder / "adapters" / run.id).is_dir():
            raise DualDataError(
                f"the adapter of {by_id[run.id].label} was not kept: remove {run.path} and run the grid again with "
                "--save-adapters"
            )
        found.append(Target(by_id[run.id], group, run))
    return found


def attack(
    grid: Grid,
    chosen: Sequence[Target],
    options: AttackOptions,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Run the attacks on some cells and write one JSON file each; a model is loaded once."""
    written = []
    loaded: Loaded | None = None
    name = ""
    for target in sorted(chosen, key=lambda one: (one.cell.model, one.cell.stage, one.cell.seed)):
        cell = target.cell
        if loaded is None or name != cell.model:
            loaded, name = load_model(grid.models[cell.model], options.device), cell.model
        recipe, stage = grid.stages[cell.stage], None
        if recipe is not None:
            rows = grid.sets[cell.stage].trained(recipe)
            folder = grid.folder.parent / "stages"
            stage, _ = prepare(loaded, recipe, rows, seed=cell.seed, profile=grid.profile, folder=folder)
        with applied(loaded, stage, recipe.apply if recipe is not None else ""):
            say(f"{cell.label}: attacks")
            written.append(_write(attacks_path(grid.folder, cell.id), _attack(grid, loaded, target, options)))
    return written


def _attack(grid: Grid, loaded: Loaded, target: Target, options: AttackOptions) -> dict[str, Any]:
    folder = grid.folder / "adapters" / target.cell.id
    adapters = Adapters(loaded.model, read_spec(folder))
    try:
        adapters.load(folder)
        return {
            "cell": target.cell.id,
            "relearning": _relearning(grid, loaded, adapters, target.cell, options),
            "quantisation": _quantisation(grid, loaded, adapters, target, options),
            **_utility(loaded, adapters, options),
        }
    finally:
        adapters.remove()


def _relearning(
    grid: Grid, loaded: Loaded, adapters: Adapters, cell: Cell, options: AttackOptions
) -> list[dict[str, Any]]:
    sets = grid.sets[cell.stage]
    items = sets.forget[cell.set]
    shown, scored = halves(items, options.share)
    held_out = [items[i] for i in scored]
    tune = {"forget facts": [items[i] for i in shown], "retain facts": sets.retain_train[: len(shown)]}
    if others := unrelated(sets.measured, items):
        tune["other facts of the relations"] = others[: len(shown)]
    curves = relearn(
        loaded,
        adapters,
        0,
        tune={name: encode(loaded.tokenizer, rows, grid.profile) for name, rows in tune.items()},
        held_out=encode(loaded.tokenizer, held_out, grid.profile),
        items=held_out,
        lr=options.lr,
        steps=options.steps,
        seed=cell.seed,
        train_end=grid.profile.train_end,
    )
    return [
        {
            **curve._asdict(),
            "points": [point._asdict() for point in curve.points],
            "control": [point._asdict() for point in curve.control],
        }
        for curve in curves
    ]


def unrelated(measured: Mapping[str, Sequence[Item]], items: Sequence[Item]) -> list[Item]:
    """Facts of the forget facts' relations about other subjects, from the sets that are never trained on."""
    relations, subjects = {item.relation for item in items}, {item.subject for item in items}
    return [
        item
        for rows in measured.values()
        for item in rows
        if item.relation and item.relation in relations and item.subject not in subjects
    ]


def _quantisation(
    grid: Grid, loaded: Loaded, adapters: Adapters, target: Target, options: AttackOptions
) -> dict[str, dict[str, float | None]]:
    sets = grid.sets[target.cell.stage]
    rows = {"forget": sets.forget[target.cell.set], "retain_eval": sets.retain_eval}
    quick = MeasureOptions(distractors=0, paraphrases=False)
    workload = build_workload(loaded.tokenizer, rows, grid.profile, quick)
    found = {}
    for bits in BITS:
        with quantised(loaded, bits, adapters):
            engine = open_engine(loaded, rows=options.rows, max_new_tokens=grid.max_new_tokens)
            summary = measure(engine, workload)[0].summary
        found[f"int{bits}"] = {
            "forget_before": target.group.before[0].summary["forget"]["rougeL_recall"],
            "forget_unlearned": target.run.summary["forget"]["rougeL_recall"],
            "forget": summary["forget"]["rougeL_recall"],
            "retain_eval": summary["retain_eval"]["rougeL_recall"],
            "forget_probability": summary["forget"]["probability"],
        }
    return found


def _utility(loaded: Loaded, adapters: Adapters, options: AttackOptions) -> dict[str, Any]:
    panel = read_panel(options.panel)
    found: dict[str, Any] = {}
    for name, state in (("utility", nullcontext()), ("utility_before", adapters.disabled())):
        with state:
            engine = open_engine(loaded, adapters, rows=options.rows, hidden=False)
            found[name] = panel_utility(engine, panel)[0]._asdict()
            if options.tasks:
                found[name]["lm_eval"] = lm_eval_scores(
                    loaded, options.tasks, folder=options.task_folder, batch=options.rows
                )
    return found


def _write(path: Path, found: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(finite(found), ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return path
