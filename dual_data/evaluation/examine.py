"""The attacks that need the model, on the cells that a grid's report shows: relearning, quantisation, utility.

For every method in its place, the learning rate that the rule chose and its first seed. The cell's adapter must have
been kept; it is put on its base again, which takes seconds and no training. A file holds the options that decide what
is found: attacks by the same ones are not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.recovery import recovered_share
from dual_data.evaluation.attacks.relearning import STEPS, halves, relearn
from dual_data.evaluation.cache import file_hash
from dual_data.evaluation.cells import Cell, Grid, adapter_path
from dual_data.evaluation.data import Item, encode
from dual_data.evaluation.engine import open_engine
from dual_data.evaluation.grid import load_model
from dual_data.evaluation.lora import Adapters, read_spec
from dual_data.evaluation.measure import Measurement, measure
from dual_data.evaluation.models import Loaded
from dual_data.evaluation.record import provenance
from dual_data.evaluation.report.collect import Group, Run, clusters, collect, stack
from dual_data.evaluation.report.extras import attacks_path, read_attacks
from dual_data.evaluation.results import write_json
from dual_data.evaluation.smaller import enough_memory, release
from dual_data.evaluation.stages import applied, prepare
from dual_data.evaluation.utility import PANEL, lm_eval_scores, panel_utility, read_panel
from dual_data.evaluation.workload import MeasureOptions, build_workload
from dual_data.ids import digest

BITS = (8, 4)
_LAYOUT = 3
"""Of the file of attacks: a higher one where the same options find something else."""


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

    def identity(self) -> dict[str, Any]:
        """Everything beside the cell that decides what is found, as JSON has it."""
        definitions = sorted(self.task_folder.rglob("*")) if self.task_folder is not None else []
        return {
            "layout": _LAYOUT,
            "lr": self.lr,
            "steps": list(self.steps),
            "share": self.share,
            "bits": list(BITS),
            "panel": digest(self.panel.read_text(encoding="utf-8")),
            "tasks": list(self.tasks),
            "task_folder": [file_hash(path) for path in definitions if path.is_file()],
        }


class Target(NamedTuple):
    """A chosen cell."""

    cell: Cell
    group: Group
    run: Run


class Attacks(NamedTuple):
    """How a run of attacks ended."""

    written: list[Path]
    failed: list[str]
    """The cells that could not be attacked, each with its reason."""


def targets(
    grid: Grid, cells: Sequence[Cell], options: AttackOptions, *, say: Callable[[str], None] = lambda _: None
) -> list[Target]:
    """The chosen cells without attacks by these options; `say` is told of results that are of other cells.

    Raises UsageError for a grid that keeps no adapters and where no result is of a cell, DualDataError where adapters
    were not kept.
    """
    if grid.preset.full:
        raise UsageError(f"{grid.name} trains all weights and keeps no adapters, and an attack starts from one")
    read_panel(options.panel)
    by_id = {cell.id: cell for cell in cells}
    asked = {(cell.model, cell.stage, cell.set, cell.method) for cell in cells}
    found, matched, others, lacking = list[Target](), 0, 0, 0
    for group in collect([grid.folder]).groups:
        key, lr = group.key, group.chosen()
        if lr is None or (key.model, key.stage, key.set, key.method) not in asked:
            continue
        run = next((one for one in group.at(lr) if one.id in by_id), None)
        if run is None:
            others += 1
            continue
        matched += 1
        held = read_attacks(grid.folder, run.id)
        if held.get("options") == options.identity():
            continue
        if not adapter_path(grid.folder, run.id).is_dir():
            lacking += 1
        elif held:
            say(f"{by_id[run.id].label}: attacks by other options are replaced")
        found.append(Target(by_id[run.id], group, run))
    if lacking:
        raise DualDataError(
            f"{grid.folder}: {lacking} of {len(found)} cells to attack have no adapter: give `dual-data eval run` the "
            "options that it had and --save-adapters; it runs the cells without one again and keeps theirs"
        )
    if others:
        what = (
            f"{grid.folder}: of {others} group(s) of results the chosen one is no cell of {grid.name} as it is here: "
            "give the options that `dual-data eval run` had, such as --limit, --dtype or --seed"
        )
        if not matched:
            raise UsageError(what)
        say(what)
    return found


def attack(
    grid: Grid,
    chosen: Sequence[Target],
    options: AttackOptions,
    *,
    project: Path,
    say: Callable[[str], None] = lambda _: None,
) -> Attacks:
    """Run the attacks on some cells and write one JSON file each; a model is loaded once.

    What goes wrong with a cell, memory that runs out for one, ends no other's.
    """
    ended = Attacks([], [])
    loaded: Loaded | None = None
    name = ""
    for target in sorted(chosen, key=lambda one: (one.cell.model, one.cell.stage, one.cell.seed)):
        cell = target.cell
        try:
            with enough_memory("attacking"):
                if loaded is None or name != cell.model:
                    loaded = None  # so that two models are never held at once
                    loaded, name = load_model(grid.models[cell.model], options.device), cell.model
                say(f"{cell.label}: attacks")
                found = _on_stage(grid, loaded, target, options)
        except DualDataError as error:
            say(f"{cell.label}: failed: {error}")
            ended.failed.append(f"{cell.label}: {error}")
            continue
        packages = ("lm_eval",) if options.tasks else ()
        found = {
            "cell": cell.id,
            "options": options.identity(),
            "provenance": provenance(loaded, project, packages),
            **found,
        }
        ended.written.append(write_json(attacks_path(grid.folder, cell.id), found))
        release()
    return ended


def _on_stage(grid: Grid, loaded: Loaded, target: Target, options: AttackOptions) -> dict[str, Any]:
    cell = target.cell
    recipe, adapter = grid.stages[cell.stage], None
    if recipe is not None:
        rows = grid.sets[cell.stage].trained(recipe)
        folder = grid.folder.parent / "stages"
        adapter = prepare(loaded, recipe, rows, seed=cell.seed, profile=grid.profile, folder=folder).folder
    with applied(loaded, adapter, recipe.apply if recipe is not None else ""):
        return _attack(grid, loaded, target, options)


def _attack(grid: Grid, loaded: Loaded, target: Target, options: AttackOptions) -> dict[str, Any]:
    folder = adapter_path(grid.folder, target.cell.id)
    adapters = Adapters(loaded.model, read_spec(folder))
    try:
        adapters.load(folder)
        return {
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
) -> dict[str, dict[str, Any]]:
    """Scores after rounding, of the unlearned model and, as its control, of the model before unlearning."""
    sets = grid.sets[target.cell.stage]
    rows = {"forget": sets.forget[target.cell.set], "retain_eval": sets.retain_eval}
    quick = MeasureOptions(distractors=0, paraphrases=False)
    first = next((run for run in target.group.before if run.seed == target.run.seed), target.group.before[0])
    before, unlearned = stack([first, target.run], "forget", "rougeL_recall")

    def measured(bits: int, adapters: Adapters | None, names: Sequence[str]) -> Measurement:
        workload = build_workload(loaded.tokenizer, {name: rows[name] for name in names}, grid.profile, quick)
        with quantised(loaded, bits, adapters):
            return measure(open_engine(loaded, rows=options.rows, max_new_tokens=grid.max_new_tokens), workload)[0]

    def said(found: Measurement, name: str) -> list[dict[str, Any]]:
        return [
            {name: row[name] for name in ("id", "generation")} | {"rougeL_recall": row["scores"]["rougeL_recall"]}
            for row in found.items[name]
        ]

    def recalls(rows: list[dict[str, Any]]) -> list[float]:
        return [row["rougeL_recall"] for row in rows]

    by_bits = {}
    for bits in BITS:
        found = measured(bits, adapters, ("forget", "retain_eval"))
        with adapters.disabled():
            control = measured(bits, None, ("forget",))
        items = {
            "forget": said(found, "forget"),
            "retain_eval": said(found, "retain_eval"),
            "base_rounded": said(control, "forget"),
        }
        by_bits[f"int{bits}"] = {
            "forget_before": float(before.mean()),
            "forget_unlearned": float(unlearned.mean()),
            "forget": found.summary["forget"]["rougeL_recall"],
            "retain_eval": found.summary["retain_eval"]["rougeL_recall"],
            "forget_probability": found.summary["forget"]["probability"],
            "base_rounded": control.summary["forget"]["rougeL_recall"],
            "recovered": recovered_share(
                before,
                unlearned,
                recalls(items["forget"]),
                recalls(items["base_rounded"]),
                clusters([target.run], "forget"),
            ),
            "items": items,
        }
    return by_bits


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
