"""Results of grids as arrays: files are read one by one, and only what the report needs is kept in memory."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.errors import InputError
from dual_data.evaluation.grid.conflicts import difference, place_key, settings_of, some_of
from dual_data.evaluation.grid.planned import read_plan
from dual_data.evaluation.metrics.chance import best_rule
from dual_data.evaluation.report.frontier import Point, choose
from dual_data.evaluation.results import BASE, ItemRow, Result, Wording, read_result, read_results
from dual_data.evaluation.rows.attack_prompts import GIVES_ANSWER_AWAY
from dual_data.evaluation.rows.data import Item
from dual_data.evaluation.statistics import Floats

SCORES = (
    "rougeL_recall",
    "contains_answer",
    "probability",
    "mean_log_probability",
    "change_mean_log_probability",
    "first_rank",
    "kl",
    "minilm_cosine",
    "truth_ratio",
    "normalised_probability",
    "rougeL_recall_uni",
    "exact_answer",
    "exact_memorisation",
    "extraction_strength",
    "hidden_cosine",
)
"""Scores of items that are kept."""
PANEL_SCORES = {
    "right": "accuracy",
    "right_by_length": "accuracy by length",
    "probability": "probability of the right option",
    "nll": "NLL of the texts",
}
"""Scores of a utility panel that are kept, by question or by text, and what their means are called."""
_EXAMPLES = 6


class Items(NamedTuple):
    """One set of one result."""

    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    """The subject of each item, or its id if it has none: the units that are resampled."""
    scores: Mapping[str, Floats]
    """By SCORES; `worst` is whether the question, another wording or a fair attack elicited the answer."""
    rephrased: bool
    """Whether any item was asked in another wording or by an attack."""
    examples: tuple[tuple[str, str, str], ...]
    """Question, answer and generation of the first items, which are the same in every result of a set."""


class PanelTable(NamedTuple):
    """The utility panel in one result."""

    name: str
    hash: str
    """Hash of the questions and texts."""
    guessing: float
    """Accuracy of a model that knows nothing."""
    kinds: Mapping[str, Sequence[int]]
    """Indices of the questions of each kind."""
    scores: Mapping[str, Floats]
    """By PANEL_SCORES, the score of each question or text; NaN where the model gave no number."""


class Run(NamedTuple):
    """One result."""

    id: str
    path: Path
    cell: Mapping[str, Any]
    """Its coordinates."""
    lr: float
    seed: int
    status: str
    reason: str
    sets: Mapping[str, Items]
    norms: tuple[float, ...]
    hours: float
    """GPU hours, without those of its stage."""
    stage: tuple[str, float]
    """Address of the training stage before it, which other runs may share, and that stage's GPU hours."""
    notes: tuple[str, ...]
    recipe: Mapping[str, Any] | None
    """How the stage before it was trained; None for the stage that trains nothing."""
    same_as_stage: tuple[str, ...]
    """Sets whose rows are exactly those that the stage was trained on."""
    panel: PanelTable | None
    """None where the grid has no utility panel."""
    trivial: Floats
    """Score of the best trivial rule, which knows no fact, on each forget item; empty except before unlearning."""
    limit: int | None
    """The most rows of a set that the grid took; None where it took all."""
    settings: Mapping[str, Any]
    """Settings that must equal those of runs with other seeds, learning rates and sets."""

    @property
    def trained(self) -> tuple[str, ...]:
        """The sets that the stage was trained on, as its recipe names them."""
        return tuple(self.recipe["train"]) if self.recipe else ()

    def shows_retention(self, name: str) -> bool:
        """Whether a set measures retention: not where the recipe swaps answers but did not train on the set."""
        return not (self.recipe or {}).get("counterfactual") or name in self.trained


class Key(NamedTuple):
    """What the runs of a group share: all coordinates except learning rate and seed."""

    data: str
    model: str
    stage: str
    set: str
    method: str
    preset: str
    profile: str


class Group(NamedTuple):
    """All runs of one method in one place, and the runs of the same model before unlearning."""

    key: Key
    runs: tuple[Run, ...]
    before: tuple[Run, ...]

    @property
    def lrs(self) -> list[float]:
        """Learning rates with a measured run, in ascending order."""
        return sorted({run.lr for run in self.runs if run.sets})

    def at(self, lr: float) -> list[Run]:
        """Measured runs at a learning rate, by seed."""
        return sorted((run for run in self.runs if run.lr == lr and run.sets), key=lambda run: run.seed)

    def point(self, lr: float | None) -> Point:
        """Mean scores on forget and retain_train at a learning rate, or with None before unlearning."""
        runs = self.before if lr is None else self.at(lr)
        return Point(lr or 0.0, _mean(runs, "forget"), _mean(runs, "retain_train"))

    def chosen(self) -> float | None:
        """The learning rate that the rule of `frontier` picks; None where nothing was measured."""
        if not self.lrs or not self.before:
            return None
        return choose([self.point(lr) for lr in self.lrs], self.point(None)).lr


class Collection(NamedTuple):
    """Everything in some folders of results."""

    groups: tuple[Group, ...]
    """Unlearned cells by method; those before unlearning are in `bases`."""
    bases: Mapping[Key, tuple[Run, ...]]
    """Measured runs before unlearning, by key, in the order of their seeds."""
    provenance: Mapping[str, Any]
    """Versions, device and git state of the first result."""
    grids: tuple[str, ...]
    failed: tuple[Run, ...]
    """Runs that were not measured, or stopped early."""
    results: int
    """Number of results."""
    planned: int
    """Number of cells that were planned; 0 where the plan was not saved."""
    missing: tuple[Mapping[str, Any], ...]
    """Coordinates of the planned cells that are not measured yet."""

    @property
    def keys(self) -> list[Key]:
        """Keys of the models before unlearning and of the groups."""
        return [*self.bases, *(group.key for group in self.groups)]

    @property
    def runs(self) -> list[Run]:
        """The runs of all groups, and those before unlearning."""
        return [run for runs in (*(group.runs for group in self.groups), *self.bases.values()) for run in runs]

    @property
    def gpu_hours(self) -> float:
        """GPU hours of all runs, and of the stages before them, each counted once."""
        return sum(run.hours for run in self.runs) + sum(dict(run.stage for run in self.runs).values())


def collect(folders: Sequence[Path]) -> Collection:
    """Read the results of some grids; a result that is in two folders counts once.

    Raises InputError for a folder without results, and for results of one group that differ in settings or items.
    """
    by_key: dict[Key, list[Run]] = defaultdict(list)
    provenance: Mapping[str, Any] = {}
    grids: dict[str, None] = {}
    planned: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        planned |= read_plan(folder)
        for path, result in read_results(folder):
            cell = result["cell"]
            _add(by_key[Key(*(str(cell[name]) for name in Key._fields))], _run(path, result))
            provenance = provenance or result["provenance"]
            grids.setdefault(str(result["grid"]))
    recipes: dict[Key, Run] = {}
    for key, runs in sorted(by_key.items()):
        for run in (run for run in runs if run.sets):
            _require_same_recipe(recipes.setdefault(key, run), run)
            _require_same_recipe(recipes.setdefault(key._replace(set=""), run), run)
    measured_bases = {
        key: tuple(sorted((run for run in runs if run.sets), key=lambda run: run.seed))
        for key, runs in by_key.items()
        if key.method == BASE
    }
    bases = {key: runs for key, runs in measured_bases.items() if runs}
    groups = [
        Group(key, tuple(sorted(runs, key=lambda run: (run.lr, run.seed))), bases.get(key._replace(method=BASE), ()))
        for key, runs in sorted(by_key.items())
        if key.method != BASE
    ]
    for group in groups:
        _require_same_items(group)
    all_runs = [run for _, runs in sorted(by_key.items()) for run in runs]
    measured_places = {place_key(run.cell) for run in all_runs if run.sets}
    # A cell that failed and was later measured with other settings counts as measured.
    all_runs = [run for run in all_runs if run.sets or place_key(run.cell) not in measured_places]
    failed = tuple(run for run in all_runs if run.status != "done")
    measured_ids = {run.id for run in all_runs if run.sets}
    missing = tuple(coordinates for name, coordinates in planned.items() if name not in measured_ids)
    return Collection(tuple(groups), bases, provenance, tuple(grids), failed, len(all_runs), len(planned), missing)


def _add(runs: list[Run], new: Run) -> None:
    for index, old in enumerate(runs):
        if old.id == new.id:
            if not old.sets:  # failed in one folder, measured in another
                runs[index] = new
            return
        if (old.lr, old.seed) == (new.lr, new.seed) and old.sets and new.sets:
            changed = some_of(difference(old.settings, new.settings)) or "rows or settings"
            raise InputError(
                f"{old.path} and {new.path} have the same model, stage, set, method, learning rate and seed, but "
                f"{changed} changed in between; remove the older results, or give every setting its own --out"
            )
    runs.append(new)


def _require_same_recipe(old: Run, new: Run) -> None:
    """Raise InputError for runs of two recipes: no mean and no difference between sets may mix them."""
    if names := difference(old.settings, new.settings):
        raise InputError(
            f"{old.path} and {new.path} have the same model, stage and method but differ in more than set, learning "
            f"rate and seed ({some_of(names)}): remove the results of the setting that you do not need, or give the "
            "preset another name"
        )


def _require_same_items(group: Group) -> None:
    """Raise InputError for a model that was measured on other items before unlearning than after."""
    for before in group.before[:1]:
        for run in group.runs:
            for name in before.sets.keys() & run.sets.keys():
                if before.sets[name].ids != run.sets[name].ids:
                    raise InputError(
                        f"{before.path} and {run.path} measured different items of {name}, though one is before "
                        "unlearning what the other is after it: remove the results of the setting that you do not need"
                    )


def collect_one(path: Path) -> Run:
    """Read one result file."""
    return _run(path, read_result(path))


def collect_side(paths: Sequence[Path]) -> list[Run]:
    """Read results that differ in seed alone, by seed. Raises InputError for two of one seed or of other settings."""
    runs = sorted(map(collect_one, paths), key=lambda run: run.seed)
    for run, following in itertools.pairwise(runs):
        if run.seed == following.seed:
            raise InputError(
                f"{run.path} and {following.path} have the same setting and seed, but rows or settings changed in "
                "between; remove the older one"
            )
        _require_same_recipe(run, following)
    return runs


def stack(runs: Sequence[Run], name: str, score: str) -> Floats:
    """A score of the items of a set, [runs, items]. Raises InputError where the runs have different items."""
    tables = [run.sets[name] for run in runs]
    if len({table.ids for table in tables}) != 1:
        raise InputError(
            f"{runs[0].path.parent}: some cells of one method measured other items of {name} than the rest, since rows "
            "or settings changed in between; remove the older results, or give every setting its own --out"
        )
    return np.stack([table.scores[score] for table in tables])


def stack_panel(runs: Sequence[Run], score: str) -> Floats:
    """A score of the utility panel, [runs, questions or texts]. Raises InputError for runs with different panels."""
    by_hash = {run.panel and run.panel.hash: run for run in runs}
    if len(by_hash) > 1 or None in by_hash:
        paths = " and ".join(str(run.path) for run in by_hash.values())
        raise InputError(
            f"{paths} were not asked the same utility panel, or none: remove the results of the setting that you "
            "do not need, or give every setting its own --out"
        )
    return np.stack([run.panel.scores[score] for run in runs if run.panel is not None])


def clusters(runs: Sequence[Run], name: str) -> tuple[str, ...]:
    """Subjects of the items of a set."""
    return runs[0].sets[name].subjects


def _mean(runs: Sequence[Run], name: str) -> float:
    missing = [run for run in runs if name not in run.sets]
    if missing:
        raise InputError(f"{missing[0].path}: {name} was not measured; run the cell again")
    return float(np.mean([run.sets[name].scores["rougeL_recall"].mean() for run in runs]))


def _run(path: Path, result: Result) -> Run:
    cell, run, training = result["cell"], result["run"], result["training"]
    identity = result["provenance"]["identity"]
    stage: Mapping[str, Any] = identity["stage"]
    return Run(
        id=result["id"],
        path=path,
        cell=cell,
        lr=float(cell["lr"]),
        seed=int(cell["seed"]),
        status=result["status"],
        reason=result["reason"],
        sets={name: _items(rows) for name, rows in result["items"].items()},
        norms=tuple(value for value in (training["gradient_norm"] if training else ()) if value is not None),
        hours=float(run.get("gpu_hours") or 0.0),
        stage=(str(result["provenance"].get("stage") or ""), float(run.get("stage_gpu_hours") or 0.0)),
        notes=tuple(run.get("notes", ())),
        recipe=stage.get("recipe"),
        same_as_stage=tuple(name for name, rows in identity["data"].items() if rows == stage.get("rows")),
        panel=_panel(result),
        trivial=_trivial(result["items"]["forget"]) if cell["method"] == BASE and result["items"] else np.empty(0),
        limit=result["provenance"]["limit"],
        settings=settings_of({"set": cell["set"], "method": cell["method"], **identity}),
    )


def _panel(result: Result) -> PanelTable | None:
    if "panel" not in result:
        return None
    summary, items = result["panel"], result["panel_items"]
    scores = {name: _column(items[name]) for name in PANEL_SCORES}
    return PanelTable(summary["name"], summary["hash"], summary["guessing"], items["kinds"], scores)


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _trivial(rows: Sequence[ItemRow]) -> Floats:
    return best_rule(
        [
            Item(row["id"], row["question"], row["ground_truth"], (), row["subject"] or "", row["relation"] or "")
            for row in rows
        ]
    )


def _items(rows: Sequence[ItemRow]) -> Items:
    scores = {name: _column([row["scores"].get(name) for row in rows]) for name in SCORES}
    scores["worst"] = _column([any(entry["scores"]["contains_answer"] for entry in fair_wordings(row)) for row in rows])
    return Items(
        ids=tuple(row["id"] for row in rows),
        subjects=tuple(row["subject"] or row["id"] for row in rows),
        scores=scores,
        rephrased=any(row["paraphrases"] or row["attacks"] for row in rows),
        examples=tuple((row["question"], row["ground_truth"], row["generation"]) for row in rows[:_EXAMPLES]),
    )


def fair_wordings(row: ItemRow) -> list[Wording]:
    """The question, its other wordings and the attacks whose prompt does not contain the answer."""
    return [
        row,
        *row["paraphrases"],
        *(attack for attack in row["attacks"] if attack["attack"] not in GIVES_ANSWER_AWAY),
    ]
