"""Attacks that need the model, on the cells that a grid's report shows: relearning, quantisation, tasks of lm-eval.

Attacked are, for every method in its place, the cells at the chosen learning rate, by seed. A cell's adapter must have
been saved; loading it onto its base again takes seconds and no training. Every result is written at once, under the
options that determine it: an attack is not repeated with the same options, and its results with others stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from dual_data.display import count
from dual_data.errors import DualDataError, UsageError
from dual_data.evaluation.attacks.files import ATTACKS, LAYOUT, attack_path, key_of, read_attacks
from dual_data.evaluation.attacks.lm_eval_tasks import TaskScores, check_tasks, lm_eval_scores
from dual_data.evaluation.attacks.quantisation import quantised
from dual_data.evaluation.attacks.relearning import STEPS, Curve, halves, relearn
from dual_data.evaluation.device.devices import rows_at_once
from dual_data.evaluation.device.memory import enough_memory, release
from dual_data.evaluation.grid.cells import Cell, Grid
from dual_data.evaluation.grid.grid_run import load_model
from dual_data.evaluation.grid.provenance import provenance
from dual_data.evaluation.grid.stages import applied, prepare
from dual_data.evaluation.measuring.measure import measure
from dual_data.evaluation.measuring.open_engine import open_engine
from dual_data.evaluation.models.loading import Loaded
from dual_data.evaluation.report.collect import collect
from dual_data.evaluation.results import adapter_path, stages_folder, write_json
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.rows.encoding import encode
from dual_data.evaluation.rows.workload import MeasureOptions, build_workload
from dual_data.evaluation.training.lora import Adapters, read_spec
from dual_data.files import file_hash
from dual_data.ids import digest

Say = Callable[[str], None]
"""Shows a line of progress."""

BITS = (8, 4)
SHARE = 0.2
"""Share of the forget subjects that relearning is tuned on; the others are scored."""


class AttackOptions(NamedTuple):
    """Which attacks are run, and how."""

    device: str = "cpu"
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
        # Python and file managers add files of their own to folders that they read.
        definitions = [
            path
            for path in (sorted(self.task_folder.rglob("*")) if self.task_folder is not None else [])
            if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
        ]
        values = {
            "lr": self.lr,
            "steps": list(self.steps),
            "share": SHARE,
            "bits": list(BITS),
            "tasks": list(self.tasks),
            "task_folder": [file_hash(path) for path in definitions],
            "shots": self.shots,
        }
        return {name: values[name] for name in ATTACKS[attack]}

    def attacks(self, *, first: bool) -> list[str]:
        """The attacks on a cell, which depend on whether it has the first seed."""
        return [attack for attack in ATTACKS if attack != "tasks" or (first and self.tasks)]


class Target(NamedTuple):
    """A chosen cell and the attacks on it that are still to be run."""

    cell: Cell
    todo: tuple[str, ...]


class Attacks(NamedTuple):
    """The outcome of a run of attacks."""

    written: list[Path]
    failed: list[str]
    """The attacks that failed, each with its cell and the reason."""


def targets(grid: Grid, cells: Sequence[Cell], options: AttackOptions, *, say: Say = lambda _: None) -> list[Target]:
    """The chosen cells that lack attacks with these options, of seeds with a saved adapter; `say` reports the others.

    Raises UsageError for a grid that saves no adapters and where no result belongs to a cell, DualDataError where no
    seed has a saved adapter.
    """
    if grid.preset.full:
        raise UsageError(f"{grid.name} trains all weights and keeps no adapters, but an attack starts from an adapter")
    by_id = {cell.id: cell for cell in cells}
    coordinates = {(cell.model, cell.stage, cell.set, cell.method) for cell in cells}
    chosen, matched, unmatched, lacking, skipped = list[Target](), 0, 0, 0, 0
    for group in collect([grid.folder]).groups:
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
            todo = tuple(name for name in names if (name, key_of(options.relevant_to(name))) not in done)
            if todo:
                lacking += not adapter_path(grid.folder, run.id).is_dir()
                chosen.append(Target(by_id[run.id], todo))
    if lacking:
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


def attack(
    grid: Grid,
    chosen: Sequence[Target],
    options: AttackOptions,
    *,
    project: Path,
    say: Say = lambda _: None,
) -> Attacks:
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

    def attack_cell(loaded: Loaded, target: Target, before: _Before) -> None:
        """A function, so that no variable keeps the adapters, and with them the model, when the next one is loaded."""
        cell = target.cell
        with _restored(grid, loaded, cell, before) as restored:
            for name in target.todo:
                tell = partial(_tell, say, f"{cell.label}: {name}")
                try:
                    with enough_memory(f"attacking by {name}"):
                        result = _RUNNERS[name](grid, restored, target, options, tell)
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
                    "provenance": provenance(loaded, project, ("lm_eval",) if name == "tasks" else ()),
                    **result,
                }
                outcome.written.append(write_json(attack_path(grid.folder, cell.id, name, attack_options), content))

    ordered = sorted(chosen, key=lambda target: (target.cell.model, target.cell.stage, target.cell.seed))
    for _, targets_of_stage in groupby(ordered, key=lambda target: (target.cell.model, target.cell.stage)):
        before: _Before = {}
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


_Before = dict[tuple[object, ...], Any]
"""What attacks computed of the models of a stage before unlearning, from which several cells start."""


class _Restored(NamedTuple):
    """A cell's model: its adapter on the base after its stage."""

    loaded: Loaded
    adapters: Adapters
    stage: Adapters | None
    """The stage's adapter where it is not merged (`apply = "stack"`)."""
    before: _Before

    def once(self, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """What `compute` returned of the model before unlearning for the first cell with this key."""
        if key not in self.before:
            self.before[key] = compute()
        return self.before[key]


@contextmanager
def _restored(grid: Grid, loaded: Loaded, cell: Cell, before: _Before) -> Iterator[_Restored]:
    recipe, stage = grid.stages[cell.stage], None
    if recipe is not None:
        rows = grid.sets[cell.stage].trained(recipe)
        folder = stages_folder(grid.folder)
        stage = prepare(loaded, recipe, rows, seed=cell.seed, profile=grid.profile, folder=folder)
    adapter = adapter_path(grid.folder, cell.id)
    with applied(loaded, stage) as stacked:
        adapters = Adapters(loaded.model, read_spec(adapter))
        try:
            adapters.load(adapter)
            yield _Restored(loaded, adapters, stacked, before)
        finally:
            adapters.remove()


def _relearning(grid: Grid, restored: _Restored, target: Target, options: AttackOptions, tell: Say) -> dict[str, Any]:
    cell, loaded = target.cell, restored.loaded
    sets = grid.sets[cell.stage]
    items = sets.forget[cell.set]
    tuned, scored = halves(items, SHARE)
    held_out = [items[i] for i in scored]
    rows_by_name = {"forget facts": [items[i] for i in tuned], "retain facts": sample(sets.retain_train, len(tuned))}
    if other_facts := unrelated(sets.measured, items):
        rows_by_name["other facts of the relations"] = sample(other_facts, len(tuned))
    held_out_rows = encode(loaded.tokenizer, held_out, grid.profile)

    def curve(name: str, adapter: int | None) -> Curve:
        control = "the model before unlearning, " if adapter is None else ""
        tell(f"{control}on {name}, {count(max(options.steps), 'step')}")
        return relearn(
            loaded,
            restored.adapters,
            adapter,
            encode(loaded.tokenizer, rows_by_name[name], grid.profile),
            held_out=held_out_rows,
            items=held_out,
            lr=options.lr,
            steps=options.steps,
            seed=cell.seed,
            train_end=grid.profile.train_end,
        )

    entries, notes = [], list[str]()
    for name in rows_by_name:
        unlearned = curve(name, 0)
        control = restored.once((cell.base, cell.seed, name), partial(curve, name, None))
        points, control_points = ([point._asdict() for point in side.points] for side in (unlearned, control))
        entries.append({"tuned_on": name, "points": points, "control": control_points, "subjects": unlearned.subjects})
        notes += [f"on {name}: {note}" for note in (*unlearned.notes, *control.notes)]
    return {"relearning": entries, "notes": notes}


def sample(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, chosen by hash: the first rows of a sorted file would be no random sample."""
    # Measured sets may share facts. Not by id, which a table may give only within its file.
    facts = {(item.question, item.answer): item for item in items}
    return sorted(facts.values(), key=lambda item: (digest(f"relearn|{item.id}"), item.question))[:count]


def unrelated(measured: Mapping[str, Sequence[Item]], items: Sequence[Item]) -> list[Item]:
    """Facts with the relations of the forget facts but other subjects, from the sets that are never trained on."""
    relations, subjects = {item.relation for item in items}, {item.subject for item in items}
    return [
        item
        for rows in measured.values()
        for item in rows
        if item.relation and item.relation in relations and item.subject not in subjects
    ]


def _quantisation(grid: Grid, restored: _Restored, target: Target, options: AttackOptions, tell: Say) -> dict[str, Any]:
    """Answers after rounding of the unlearned model and, as a control, of the model before unlearning."""
    loaded, adapters, stage, _ = restored
    cell, sets = target.cell, grid.sets[target.cell.stage]
    rows = {"forget": sets.forget[target.cell.set], "retain_eval": sets.retain_eval}
    measure_options = MeasureOptions(distractors=0, paraphrases=False)

    def recalls(bits: int, adapter: int | None, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        tell(f"of the model {'before' if adapter is None else 'after'} unlearning to {bits} bits")
        workload = build_workload(loaded.tokenizer, {name: rows[name] for name in names}, grid.profile, measure_options)
        with quantised(loaded, bits, adapters, adapter, stage):
            rows_a_batch = rows_at_once(options.device, loaded.info.parameters)
            engine = open_engine(loaded, rows=rows_a_batch, max_new_tokens=grid.max_new_tokens)
            items = measure(engine, workload)[0].items
        return {
            name: [
                {key: row[key] for key in ("id", "generation")} | {"rougeL_recall": row["scores"]["rougeL_recall"]}
                for row in items[name]
            ]
            for name in names
        }

    def rounded_to(bits: int) -> dict[str, Any]:
        items = recalls(bits, 0, ("forget", "retain_eval"))
        base = restored.once((cell.base, bits), lambda: recalls(bits, None, ("forget",)))
        return {"items": items | {"base_rounded": base["forget"]}}

    return {"quantisation": {f"int{bits}": rounded_to(bits) for bits in BITS}}


def _tasks(_: Grid, restored: _Restored, target: Target, options: AttackOptions, tell: Say) -> dict[str, Any]:
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
    before = restored.once(("tasks", target.cell.seed), run_before)
    items = {"tasks_items": after.items, "tasks_items_before": before.items}
    return {"tasks": after.scores, "tasks_before": before.scores, **items}


_RUNNERS: Mapping[str, Callable[[Grid, _Restored, Target, AttackOptions, Say], dict[str, Any]]] = {
    "relearning": _relearning,
    "quantisation": _quantisation,
    "tasks": _tasks,
}
