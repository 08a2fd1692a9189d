"""Runs one attack on one cell: on its adapter on its base, beside the model before unlearning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from dual_data.evaluation.attack_results import ROUNDED_SCORES
from dual_data.evaluation.attacks.lm_eval_tasks import TaskScores, lm_eval_scores
from dual_data.evaluation.attacks.quantisation import ROUNDERS, quantised
from dual_data.evaluation.attacks.relearning import Curve, relearn, relearning_rows
from dual_data.evaluation.attacks.targets import AttackOptions, Say
from dual_data.evaluation.device.devices import rows_at_once
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.stages import applied, prepare_for
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.measuring.workload import MeasureOptions, build_workload
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.results import adapter_path
from dual_data.evaluation.training.lora import Adapters
from dual_data.text.display import count

Before = dict[tuple[object, ...], Any]
"""What attacks computed of the models of a stage before unlearning, from which several cells start."""


class Restored(NamedTuple):
    """A cell with its model: its adapter on the base after its stage."""

    grid: Grid
    cell: Cell
    loaded: Loaded
    adapters: Adapters
    stage: Adapters | None
    """The stage's adapter where it is not merged (`apply = "stack"`)."""
    before: Before

    def once(self, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """What `compute` returned of the model before unlearning for the first cell with this key."""
        if key not in self.before:
            self.before[key] = compute()
        return self.before[key]


@contextmanager
def restored(grid: Grid, loaded: Loaded, cell: Cell, before: Before) -> Iterator[Restored]:
    """Puts the stage and the adapter of a cell on its base, until the end of the block."""
    with applied(loaded, prepare_for(grid, cell, loaded)) as stacked:
        adapters = Adapters.read(loaded.model, adapter_path(grid.folder, cell.id))
        try:
            yield Restored(grid, cell, loaded, adapters, stacked, before)
        finally:
            adapters.remove()


def _relearning(restored: Restored, options: AttackOptions, tell: Say) -> dict[str, Any]:
    grid, cell, loaded, *_ = restored
    tuned, held_out = relearning_rows(grid, cell)

    def curve(name: str, k: int | None) -> Curve:
        control = "the model before unlearning, " if k is None else ""
        tell(f"{control}on {name}, {count(max(options.steps), 'step')}")
        return relearn(
            loaded,
            restored.adapters,
            k,
            tuned[name],
            held_out=held_out,
            profile=grid.profile,
            lr=options.lr,
            steps=options.steps,
            seed=cell.seed,
        )

    entries, notes = [], list[str]()
    subjects = [item.cluster for item in held_out]
    for name in tuned:
        unlearned = curve(name, 0)
        control = restored.once((cell.base, cell.seed, name), partial(curve, name, None))
        points, control_points = ([point._asdict() for point in side.points] for side in (unlearned, control))
        entries.append({"tuned_on": name, "points": points, "control": control_points, "subjects": subjects})
        notes += [f"on {name}: {side.note}" for side in (unlearned, control) if side.note]
    return {"relearning": entries, "notes": notes}


def _quantisation(restored: Restored, options: AttackOptions, tell: Say) -> dict[str, Any]:
    """Answers after rounding of the unlearned model and, as a control, of the model before unlearning.

    With the likelihood of the right answers, which rounding may bring back though the model still does not give them.
    """
    grid, cell, loaded, adapters, stage, _ = restored
    sets = grid.sets[cell.stage]
    rows = {"forget": sets.forget[cell.set], "retain_eval": sets.retain_eval}
    measure_options = MeasureOptions(distractors=0, paraphrases=False)

    def scores(number_format: str, k: int | None, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        tell(f"of the model {'before' if k is None else 'after'} unlearning to {number_format}")
        workload = build_workload(loaded.tokenizer, {name: rows[name] for name in names}, grid.profile, measure_options)
        with quantised(loaded, number_format, adapters, k, stage):
            rows_a_batch = rows_at_once(options.device, loaded.info.parameters)
            engine = open_engine(loaded, rows=rows_a_batch, max_new_tokens=grid.preset.max_new_tokens)
            items = measure(engine, workload)[0].items
        return {
            name: [
                {key: row[key] for key in ("id", "generation")} | {key: row["scores"][key] for key in ROUNDED_SCORES}
                for row in items[name]
            ]
            for name in names
        }

    def rounded_to(number_format: str) -> dict[str, Any]:
        items = scores(number_format, 0, ("forget", "retain_eval"))
        base = restored.once((cell.base, number_format), lambda: scores(number_format, None, ("forget",)))
        return {"items": items | {"base_rounded": base["forget"]}}

    return {"quantisation": {name: rounded_to(name) for name in ROUNDERS}}


def _tasks(restored: Restored, options: AttackOptions, tell: Say) -> dict[str, Any]:
    loaded, adapters = restored.loaded, restored.adapters

    def run_tasks(model: str) -> TaskScores:
        tell(f"of the model {model} unlearning")
        # A row includes the worked examples, so it is many times as long as the prompt of a fact.
        rows = rows_at_once(options.device, loaded.info.parameters) // 4
        return lm_eval_scores(loaded, options.tasks, folder=options.task_folder, shots=options.shots, rows=rows)

    def run_before() -> TaskScores:
        with adapters.disabled():
            return run_tasks("before")

    after = run_tasks("after")
    before = restored.once(("tasks", restored.cell.seed), run_before)
    items = {"tasks_items": after.items, "tasks_items_before": before.items}
    return {"tasks": after.scores, "tasks_before": before.scores, **items}


RUNNERS: Mapping[str, Callable[[Restored, AttackOptions, Say], dict[str, Any]]] = {
    "relearning": _relearning,
    "quantisation": _quantisation,
    "tasks": _tasks,
}
"""By name, as in `ATTACKS`, what runs the attack.

It returns what its file holds besides options and provenance: the result under the attack's name, that of the model
before unlearning under NAME_before where the first does not include it, and `notes`.
"""
