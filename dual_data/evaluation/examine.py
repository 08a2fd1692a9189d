"""The attacks that need the model, on the cells that a grid's report shows: relearning, quantisation, tasks of lm-eval.

For every method in its place, the learning rate that the rule chose and its seeds. The cell's adapter must have been
kept; it is put on its base again, which takes seconds and no training. What an attack found is written when it is
found, under the options that decide it: attacks by the same ones are not made again, those by others stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.engine.tables import file_hash
from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.attacks.files import ATTACKS, LAYOUT, attack_path, key_of, outdated, read_attacks
from dual_data.evaluation.attacks.lm_eval_tasks import TaskScores, lm_eval_scores
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.recovery import recovered_share
from dual_data.evaluation.attacks.relearning import STEPS, halves, relearn
from dual_data.evaluation.device.devices import rows_at_once
from dual_data.evaluation.device.memory import enough_memory, release
from dual_data.evaluation.grid.cells import Cell, Grid, adapter_path
from dual_data.evaluation.grid.provenance import provenance
from dual_data.evaluation.grid.run import load_model
from dual_data.evaluation.grid.stages import applied, prepare
from dual_data.evaluation.measuring.measure import Measurement, measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.report.collect import Group, Run, clusters, collect, stack
from dual_data.evaluation.report.places import before_of
from dual_data.evaluation.results import write_json
from dual_data.evaluation.rows.data import Item, encode
from dual_data.evaluation.rows.workload import MeasureOptions, build_workload
from dual_data.evaluation.training.lora import Adapters, read_spec
from dual_data.ids import digest

BITS = (8, 4)
SHARE = 0.2
"""Share of the forget subjects that relearning is tuned on; the others are scored."""


class AttackOptions(NamedTuple):
    """What is run."""

    device: str = "cpu"
    lr: float = 1e-4
    """Learning rate of relearning."""
    steps: tuple[int, ...] = STEPS
    tasks: tuple[str, ...] = ()
    """Tasks of lm-eval."""
    task_folder: Path | None = None
    """Definitions of tasks that lm-eval does not come with."""
    shots: int = 0
    """Worked examples before each question of a task."""
    seeds: int = 0
    """Most seeds of a cell that are attacked, the first ones; 0 for all. What unlearning cost (the tasks) is measured
    on the first alone."""

    def of(self, attack: str) -> dict[str, Any]:
        """What decides beside the cell what an attack finds, as JSON has it."""
        definitions = sorted(self.task_folder.rglob("*")) if self.task_folder is not None else []
        every = {
            "lr": self.lr,
            "steps": list(self.steps),
            "share": SHARE,
            "bits": list(BITS),
            "tasks": list(self.tasks),
            "task_folder": [file_hash(path) for path in definitions if path.is_file()],
            "shots": self.shots,
        }
        return {name: every[name] for name in ATTACKS[attack]}

    def wanted(self, *, first: bool) -> list[str]:
        """The attacks on a cell, that of the first seed or another."""
        return [attack for attack in ATTACKS if attack != "tasks" or (first and self.tasks)]


class Target(NamedTuple):
    """A chosen cell and the attacks on it that are not made yet."""

    cell: Cell
    group: Group
    run: Run
    todo: tuple[str, ...]


class Attacks(NamedTuple):
    """How a run of attacks ended."""

    written: list[Path]
    failed: list[str]
    """The attacks that could not be made, each with its cell and its reason."""


def targets(
    grid: Grid, cells: Sequence[Cell], options: AttackOptions, *, say: Callable[[str], None] = lambda _: None
) -> list[Target]:
    """The chosen cells that lack attacks by these options, of seeds whose adapters were kept; `say` is told of others.

    Raises UsageError for a grid that keeps no adapters and where no result is of a cell, DualDataError where no seed's
    adapter was kept.
    """
    if grid.preset.full:
        raise UsageError(f"{grid.name} trains all weights and keeps no adapters, and an attack starts from one")
    if old := outdated(grid.folder):
        say(old)
    by_id = {cell.id: cell for cell in cells}
    asked = {(cell.model, cell.stage, cell.set, cell.method) for cell in cells}
    found, matched, others, lacking, without = list[Target](), 0, 0, 0, 0
    for group in collect([grid.folder]).groups:
        key, lr = group.key, group.chosen()
        if lr is None or (key.model, key.stage, key.set, key.method) not in asked:
            continue
        runs = [one for one in group.at(lr) if one.id in by_id]
        matched += bool(runs)
        others += not runs
        if kept := [run for run in runs if adapter_path(grid.folder, run.id).is_dir()]:
            without += len(runs) - len(kept)
            runs = kept
        runs = runs[: options.seeds or None]
        for run in runs:
            done = {(one.attack, one.key) for one in read_attacks(grid.folder, run.id)}
            wanted = options.wanted(first=run is runs[0])
            todo = tuple(one for one in wanted if (one, key_of(options.of(one))) not in done)
            if todo:
                lacking += not adapter_path(grid.folder, run.id).is_dir()
                found.append(Target(by_id[run.id], group, run, todo))
    if lacking:
        raise DualDataError(
            f"{grid.folder}: {lacking} of {len(found)} cells to attack have no adapter: give `dual-data eval run` the "
            "options that it had and --save-adapters; it runs the cells without one again and keeps theirs"
        )
    if without:
        say(f"{grid.folder}: {without} further seeds have no adapter and are left out; --save-adapters keeps them")
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
    """Make the attacks that some cells lack and write one JSON file each; a model is loaded once.

    What goes wrong with one, memory that runs out for it, ends no other.
    """
    ended = Attacks([], [])
    loaded: Loaded | None = None
    name = ""

    def failed(cell: Cell, what: str, error: DualDataError) -> None:
        say(f"{cell.label}: {what} failed: {error}")
        ended.failed.append(f"{cell.label}: {what}: {error}")

    def attack_cell(loaded: Loaded, target: Target) -> None:
        """A function, so that no name keeps its adapters, and with them their model, when the next one is loaded."""
        cell = target.cell
        with _restored(grid, loaded, cell) as restored:
            for what in target.todo:
                say(f"{cell.label}: {what}")
                try:
                    with enough_memory(f"attacking by {what}"):
                        found = _MADE_BY[what](grid, restored, target, options)
                except DualDataError as error:
                    failed(cell, what, error)
                    continue
                for note in found.get("notes", ()):
                    say(f"{cell.label}: {what} {note}")
                settled = options.of(what)
                whole = {
                    "layout": LAYOUT,
                    "cell": cell.id,
                    "attack": what,
                    "options": settled,
                    "provenance": provenance(loaded, project, ("lm_eval",) if what == "tasks" else ()),
                    **found,
                }
                ended.written.append(write_json(attack_path(grid.folder, cell.id, what, settled), whole))

    for target in sorted(chosen, key=lambda one: (one.cell.model, one.cell.stage, one.cell.seed)):
        cell = target.cell
        try:
            with enough_memory("putting the cell on its base"):
                if loaded is None or name != cell.model:
                    loaded = None  # so that two models are never held at once
                    release()
                    loaded, name = load_model(grid.models[cell.model], options.device), cell.model
                    open_engine(loaded)  # tried now: the model, and not what an adapter made of it
                attack_cell(loaded, target)
        except DualDataError as error:
            failed(cell, ", ".join(target.todo), error)
        release()
    return ended


class _Restored(NamedTuple):
    """A cell's model: its adapter on the base in its stage."""

    loaded: Loaded
    adapters: Adapters
    stage: Adapters | None
    """The stage's adapter where it stays one (`apply = "stack"`)."""


@contextmanager
def _restored(grid: Grid, loaded: Loaded, cell: Cell) -> Iterator[_Restored]:
    recipe, stage = grid.stages[cell.stage], None
    if recipe is not None:
        rows = grid.sets[cell.stage].trained(recipe)
        folder = grid.folder.parent / "stages"
        stage = prepare(loaded, recipe, rows, seed=cell.seed, profile=grid.profile, folder=folder)
    kept = adapter_path(grid.folder, cell.id)
    with applied(loaded, stage) as stacked:
        adapters = Adapters(loaded.model, read_spec(kept))
        try:
            adapters.load(kept)
            yield _Restored(loaded, adapters, stacked)
        finally:
            adapters.remove()


def _relearning(grid: Grid, restored: _Restored, target: Target, options: AttackOptions) -> dict[str, Any]:
    cell, loaded = target.cell, restored.loaded
    sets = grid.sets[cell.stage]
    items = sets.forget[cell.set]
    shown, scored = halves(items, SHARE)
    held_out = [items[i] for i in scored]
    tune = {"forget facts": [items[i] for i in shown], "retain facts": sample(sets.retain_train, len(shown))}
    if others := unrelated(sets.measured, items):
        tune["other facts of the relations"] = sample(others, len(shown))
    encoded = encode(loaded.tokenizer, held_out, grid.profile)
    curves = {
        name: relearn(
            loaded,
            restored.adapters,
            0,
            encode(loaded.tokenizer, rows, grid.profile),
            held_out=encoded,
            items=held_out,
            lr=options.lr,
            steps=options.steps,
            seed=cell.seed,
            train_end=grid.profile.train_end,
        )
        for name, rows in tune.items()
    }
    found = [
        {
            "tuned_on": name,
            "points": [point._asdict() for point in curve.points],
            "control": [point._asdict() for point in curve.control],
            "subjects": curve.subjects,
        }
        for name, curve in curves.items()
    ]
    notes = [f"on {name}: {note}" for name, curve in curves.items() for note in curve.notes]
    return {"relearning": found, "notes": notes}


def sample(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, by hash: the first rows of a sorted file are no sample of it."""
    by_id = {item.id: item for item in items}  # sets that are measured may share facts
    return [by_id[name] for name in sorted(by_id, key=lambda name: digest(f"relearn|{name}"))[:count]]


def unrelated(measured: Mapping[str, Sequence[Item]], items: Sequence[Item]) -> list[Item]:
    """Facts of the forget facts' relations about other subjects, from the sets that are never trained on."""
    relations, subjects = {item.relation for item in items}, {item.subject for item in items}
    return [
        item
        for rows in measured.values()
        for item in rows
        if item.relation and item.relation in relations and item.subject not in subjects
    ]


def _quantisation(grid: Grid, restored: _Restored, target: Target, options: AttackOptions) -> dict[str, Any]:
    """Scores after rounding, of the unlearned model and, as its control, of the model before unlearning."""
    loaded, adapters, stage = restored
    sets = grid.sets[target.cell.stage]
    rows = {"forget": sets.forget[target.cell.set], "retain_eval": sets.retain_eval}
    quick = MeasureOptions(distractors=0, paraphrases=False)
    first = before_of(target.group.before, target.run)
    before, unlearned = stack([first, target.run], "forget", "rougeL_recall")

    def measured(bits: int, cell: int | None, names: Sequence[str]) -> Measurement:
        workload = build_workload(loaded.tokenizer, {name: rows[name] for name in names}, grid.profile, quick)
        with quantised(loaded, bits, adapters, cell, stage):
            rows_a_batch = rows_at_once(options.device, loaded.info.parameters)
            return measure(open_engine(loaded, rows=rows_a_batch, max_new_tokens=grid.max_new_tokens), workload)[0]

    def said(found: Measurement, name: str) -> list[dict[str, Any]]:
        return [
            {name: row[name] for name in ("id", "generation")} | {"rougeL_recall": row["scores"]["rougeL_recall"]}
            for row in found.items[name]
        ]

    def recalls(rows: list[dict[str, Any]]) -> list[float]:
        return [row["rougeL_recall"] for row in rows]

    by_bits = {}
    for bits in BITS:
        found = measured(bits, 0, ("forget", "retain_eval"))
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
    return {"quantisation": by_bits}


def _tasks(_: Grid, restored: _Restored, __: Target, options: AttackOptions) -> dict[str, Any]:
    loaded, adapters, _stage = restored

    def measured() -> TaskScores:
        # A row keeps the worked examples before it, many times as long as a fact's prompt.
        rows = rows_at_once(options.device, loaded.info.parameters) // 4
        return lm_eval_scores(loaded, options.tasks, folder=options.task_folder, shots=options.shots, rows=rows)

    after = measured()
    with adapters.disabled():
        before = measured()
    items = {"tasks_items": after.items, "tasks_items_before": before.items}
    return {"tasks": after.scores, "tasks_before": before.scores, **items}


_MADE_BY: Mapping[str, Callable[[Grid, _Restored, Target, AttackOptions], dict[str, Any]]] = {
    "relearning": _relearning,
    "quantisation": _quantisation,
    "tasks": _tasks,
}
