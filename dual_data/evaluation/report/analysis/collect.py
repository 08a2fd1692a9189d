"""Reads the results of grids: files one by one, of which only what the report needs is kept in memory."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from dual_data.errors import InputError
from dual_data.evaluation.grid.conflicts import coordinates_key, differing_settings, settings_of
from dual_data.evaluation.grid.planned import read_plan
from dual_data.evaluation.metrics.chance import Rule, best_rule
from dual_data.evaluation.metrics.summary import fair_wordings
from dual_data.evaluation.models.names import is_tiny
from dual_data.evaluation.report.analysis.runs import (
    ANY_WORDING,
    OTHER_WORDINGS,
    PANEL_SCORES,
    SCORES,
    Collection,
    Group,
    Items,
    Key,
    PanelTable,
    Run,
)
from dual_data.evaluation.results import BASE, ItemRow, Result, cluster_of, fact_of, read_result, read_results
from dual_data.statistics import Floats
from dual_data.system.progress import Progress
from dual_data.text.display import some_of

Values = TypeVar("Values", bound=Hashable)

_EXAMPLES = 6
_FROM_PATH = re.compile(r"[^\s'\"(]*[/\\].*", re.DOTALL)
"""A text from its first path on, which may hold spaces; the rest of it may name parts of the path again."""


def collect(folders: Sequence[Path], *, paths: bool = True, progress: Progress | None = None) -> Collection:
    """Read the results of some grids; a result that is in two folders counts once.

    `progress` is told of each result: large grids have gigabytes of them, which take minutes to read. Without `paths`,
    a model that is named by the path of its folder or file has that one's name instead, and a reason ends where it
    names a path. Raises InputError for a folder without results, and for results of one place that differ in settings
    or items.
    """
    by_key: dict[Key, list[Run]] = defaultdict(list)
    base_of: dict[str, str] = {}
    provenance: Mapping[str, Any] = {}
    models: dict[str, Mapping[str, Any]] = {}
    names: dict[str, dict[str, str]] = {"model": {}, "spec": {}}
    grids: dict[str, None] = {}
    planned: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        planned |= read_plan(folder)
        for path, result in read_results(folder, progress):
            if not paths:
                _hide_paths(result, names)
            cell = result["cell"]
            _add(by_key[Key(*(str(cell[name]) for name in Key._fields))], _run(path, result))
            base_of[result["id"]] = result["base"]
            provenance = provenance or result["provenance"]
            if identity := result["provenance"]["model"]:
                models.setdefault(str(cell["model"]), identity)
            grids.setdefault(str(result["grid"]))
    by_key = _without_superseded(by_key)
    recipes: dict[Key, Run] = {}
    # Models before unlearning last: they lack settings in which methods must agree.
    for key, runs in sorted(by_key.items(), key=lambda entry: (entry[0].method == BASE, entry[0])):
        for run in (run for run in runs if run.sets):
            for alike in (key, key._replace(set=""), key._replace(set="", method="")):
                _require_same_recipe(recipes.setdefault(alike, run), run)
    bases = _bases(by_key, base_of)
    groups = [
        Group(key, tuple(sorted(runs, key=lambda run: (run.lr, run.seed))), bases.get(key._replace(method=BASE), ()))
        for key, runs in sorted(by_key.items())
        if key.method != BASE
    ]
    for group in groups:
        _require_same_items(group)
    all_runs = tuple(run for _, runs in sorted(by_key.items()) for run in runs)
    measured_ids = {run.id for run in all_runs if run.sets}
    missing = tuple(coordinates for name, coordinates in planned.items() if name not in measured_ids)
    return Collection(
        tuple(groups), bases, tuple(folders), provenance, models, tuple(grids), all_runs, len(planned), missing
    )


def _hide_paths(result: Result, names: Mapping[str, dict[str, str]]) -> None:
    """Name the model of a result, and what its reason names, without a path.

    `names` are those given so far, of models and of their specs.
    """
    cell, model = result["cell"], result["provenance"]["model"]
    for described, key in ((cell, "model"), (model, "spec")):
        if known := str(described.get(key, "")):
            described[key] = _without_path(known, names[key])
            if Path(known).is_absolute():
                result["reason"] = result["reason"].replace(known, described[key])
    result["reason"] = _FROM_PATH.sub("...", result["reason"])


def _without_path(model: str, names: dict[str, str]) -> str:
    """The model, or where it is an absolute path, the last part of it; with a number where that names another too."""
    last = [Path(name).name if Path(name).is_absolute() else name for name in (model, *names)]
    same = last.count(last[0])
    return names.setdefault(model, f"{last[0]} ({same})" if same > 1 else last[0])


def _without_superseded(by_key: Mapping[Key, list[Run]]) -> dict[Key, list[Run]]:
    """The runs without those that failed and were later measured with other settings or code."""
    measured = {coordinates_key(run.cell) for runs in by_key.values() for run in runs if run.sets}
    return {
        key: [run for run in runs if run.sets or coordinates_key(run.cell) not in measured]
        for key, runs in by_key.items()
    }


def _bases(by_key: Mapping[Key, Sequence[Run]], base_of: Mapping[str, str]) -> dict[Key, tuple[Run, ...]]:
    """The measured runs before unlearning, by seed, under the key of every preset whose methods start from them.

    Presets that differ only in how they unlearn start from the same model, which is measured once, under the preset
    that was run first: the others find it by the id that their results name, in `base_of` by their own id.
    """
    measured = {run.id: run for key, runs in by_key.items() if key.method == BASE for run in runs if run.sets}
    bases: dict[Key, list[Run]] = defaultdict(list)
    for key, runs in sorted(by_key.items(), key=lambda entry: entry[0].method != BASE):
        for run in runs:
            if base := measured.get(run.id if key.method == BASE else base_of[run.id]):
                _add(bases[key._replace(method=BASE)], base)
    return {key: tuple(sorted(runs, key=lambda run: run.seed)) for key, runs in bases.items()}


def _add(runs: list[Run], new: Run) -> None:
    for index, old in enumerate(runs):
        if old.id == new.id:
            if not old.sets:  # failed in one folder, measured in another
                runs[index] = new
            return
        if (old.lr, old.seed) == (new.lr, new.seed) and old.sets and new.sets:
            changed = some_of(differing_settings(old.settings, new.settings)) or "rows or settings"
            raise InputError(
                f"{old.path} and {new.path} have the same model, stage, set, method, learning rate and seed, but "
                f"{changed} changed in between; remove the older results, or run the newer ones in a preset of "
                "another name, which keeps both"
            )
    runs.append(new)


def _require_same_recipe(old: Run, new: Run) -> None:
    """Raise InputError for runs of two recipes: no mean, and no difference between sets or methods, may mix them."""
    if names := differing_settings(old.settings, new.settings):
        raise InputError(
            f"{old.path} and {new.path} have the same model and stage but differ in more than set, method, learning "
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


def collect_side(paths: Sequence[Path]) -> list[Run]:
    """Read results that differ in seed alone, by seed. Raises InputError for two of one seed or of other settings."""
    runs = sorted((_run(path, read_result(path)) for path in paths), key=lambda run: run.seed)
    for run, following in itertools.pairwise(runs):
        if run.seed == following.seed:
            raise InputError(
                f"{run.path} and {following.path} have the same setting and seed, but rows or settings changed in "
                "between; remove the older one"
            )
        _require_same_recipe(run, following)
    return runs


def _run(path: Path, result: Result) -> Run:
    """Raises InputError for a result that lacks something or has something of another type."""
    try:
        return _as_run(path, result)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: not as a run wrote it ({type(error).__name__}: {error}); remove it and run the grid again"
        ) from error


def _as_run(path: Path, result: Result) -> Run:
    cell, run, training = result["cell"], result["run"], result["training"]
    provenance = result["provenance"]
    identity = provenance["identity"]
    stage: Mapping[str, Any] = identity["stage"]
    is_base = cell["method"] == BASE and result["items"]
    sets = {name: _items(rows) for name, rows in result["items"].items()}
    for name, means in result["summary"].items():
        _require_means(path, name, sets[name].scores, means)
    return Run(
        id=result["id"],
        path=path,
        cell=cell,
        lr=float(cell["lr"]),
        seed=int(cell["seed"]),
        status=result["status"],
        reason=result["reason"],
        sets=sets,
        norms=tuple(value for value in (training["gradient_norm"] if training else ()) if value is not None),
        hours=float(run.get("gpu_hours") or 0.0),
        stage_address=str(provenance.get("stage") or ""),
        stage_hours=float(run.get("stage_gpu_hours") or 0.0),
        notes=tuple(run.get("notes", ())),
        recipe=stage.get("recipe"),
        same_as_stage=tuple(name for name, rows in identity["data"].items() if rows == stage.get("rows")),
        panel=_panel(result),
        rule=best_rule(result["items"]["forget"]) if is_base else Rule("", np.empty(0)),
        limit=provenance["limit"],
        popularity=str(provenance.get("popularity") or ""),
        was_uncommitted=bool((provenance.get("git") or {}).get("dirty")),
        has_random_weights=is_tiny(str(provenance["model"].get("spec", ""))),
        settings=settings_of({"set": cell["set"], "method": cell["method"], **identity}),
    )


def _require_means(path: Path, name: str, scores: Mapping[str, Floats], means: Mapping[str, float | None]) -> None:
    """Raise InputError where a mean of the set is not that of its items: one of the two was edited.

    A mean that is None says nothing: it may be for an item whose score was NaN, which files cannot hold.
    """
    for score, column in scores.items():
        mean = means.get(score)
        values = column[~np.isnan(column)]
        if mean is not None and not (values.size and math.isclose(values.mean(), mean, rel_tol=1e-6, abs_tol=1e-6)):
            raise InputError(
                f"{path}: its summary has {mean:.6g} as the mean {score} of {name}, its items "
                f"{f'{values.mean():.6g}' if values.size else 'none'}: one of them was edited; remove it and run the "
                "grid again (`dual-data eval score` says which scores its texts have)"
            )


def _panel(result: Result) -> PanelTable | None:
    if "panel" not in result:
        return None
    summary, items = result["panel"], result["panel_items"]
    scores = {name: _column(items[name]) for name in PANEL_SCORES}
    kinds = {kind: _same(tuple(indices)) for kind, indices in items["kinds"].items()}
    return PanelTable(summary["name"], summary["hash"], summary["guessing"], kinds, scores)


@lru_cache(maxsize=1024)
def _same(values: Values) -> Values:
    """The values, or equal ones of an earlier result in their place: they would be half of what is kept of each."""
    return values


def _column(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _items(rows: Sequence[ItemRow]) -> Items:
    scores = {name: _column([row["scores"].get(name) for row in rows]) for name in SCORES}
    scores["ended"] = _column([row["ended"] for row in rows])
    scores["worst"] = _column([any(entry["scores"]["contains_answer"] for entry in fair_wordings(row)) for row in rows])
    return Items(
        ids=_same(tuple(row["id"] for row in rows)),
        subjects=_same(tuple(map(cluster_of, rows))),
        facts=_same(tuple(map(fact_of, rows))),
        scores=scores,
        rephrased=any(row["paraphrases"] or row["attacks"] for row in rows),
        prompts=_by_prompt(rows),
        generations=tuple(row["generation"] for row in rows[:_EXAMPLES]),
    )


def _by_prompt(rows: Sequence[ItemRow]) -> dict[str, Floats]:
    """By kind of other prompt, whether any of the kind elicited each item's answer, and for OTHER_WORDINGS the share of
    them that did; NaN where the item was not asked so.
    """
    shares = dict[str, list[float | None]]()
    for index, row in enumerate(rows):
        hits = defaultdict[str, list[float]](list)
        for wording in row["paraphrases"]:
            hits[ANY_WORDING].append(wording["scores"]["contains_answer"])
        for attack in row["attacks"]:
            hits[attack["attack"]].append(attack["scores"]["contains_answer"])
        values = {name: max(of_kind) for name, of_kind in hits.items()}
        if ANY_WORDING in hits:
            values = {OTHER_WORDINGS: fmean(hits[ANY_WORDING])} | values
        for name, value in values.items():
            shares.setdefault(name, [None] * len(rows))[index] = value
    return {name: _column(column) for name, column in shares.items()}
