"""Figures of the chosen cells only: computed from their items, and the results of attacks that needed the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dual_data.bootstrap import UNKNOWN, Interval
from dual_data.evaluation.attack_results import AttackResult, read_attacks
from dual_data.evaluation.metrics.fluency import Fluency, fluency
from dual_data.evaluation.report.analysis.frequency import Frequency, frequency
from dual_data.evaluation.report.analysis.held_out import UNLEARNED_ON, HeldOut, held_out, retrained
from dual_data.evaluation.report.analysis.membership import membership_aucs
from dual_data.evaluation.report.analysis.posterior import posterior_audit
from dual_data.evaluation.report.analysis.quality import ForgetQuality, RetainScores, forget_quality, model_utility
from dual_data.evaluation.report.analysis.runs import Collection, Group, Run, before_of, chosen_cells, clusters, stack
from dual_data.evaluation.results import ItemRow, all_have_numbers, cluster_of, read_result


class AttackResults(NamedTuple):
    """An attack with one set of options, on one or more seeds of a cell."""

    runs: tuple[Run, ...]
    """By seed."""
    results: tuple[AttackResult, ...]
    """The result on each run."""

    @property
    def options(self) -> Mapping[str, Any]:
        return self.results[0].options

    @property
    def key(self) -> str:
        """The options as text: equal for equal ones."""
        return self.results[0].key


class Membership(NamedTuple):
    """AUCs for the same facts, by attack; empty where there is no such model or it gave no number."""

    unlearned: Mapping[str, Interval]
    before: Mapping[str, Interval]
    retrained: Mapping[str, Interval]
    """Of the model whose stage learned the same except the forget facts."""


class ExaminedCell(NamedTuple):
    """Figures of a group at its chosen learning rate; of the first seed where nothing else is said."""

    group: Group
    runs: tuple[Run, ...]
    """By seed."""
    before: tuple[Run, ...]
    """The model before unlearning of each run: seeds may share one."""
    held_out: str
    """Label of the facts that forget facts are compared with, or the reason why there are none."""
    membership: Membership
    audit: Interval
    """AUC of the posterior-difference audit; UNKNOWN for too few facts or a model that diverged."""
    frequency: Frequency | None
    fluency: Fluency
    quality: ForgetQuality | None
    """Against the model that was trained on all but the forget facts, where the grid has it."""
    model_utility: Interval
    """Over all seeds of the chosen learning rate."""
    utility_before: Interval
    """The same for the model before unlearning of each seed, on the same facts."""
    attacks: Mapping[str, Sequence[AttackResults]]
    """Results of `dual-data eval attack` on all seeds, by attack and options; empty where it was not run."""


def examined(collection: Collection) -> list[ExaminedCell]:
    """Figures of every chosen cell."""
    return [_examined(collection, group, tuple(runs)) for group, runs in chosen_cells(collection.groups)]


def results_of(cells: Sequence[ExaminedCell], attack: str) -> Iterator[tuple[ExaminedCell, AttackResults]]:
    """Results of one attack, by cell and options."""
    return ((cell, results) for cell in cells for results in cell.attacks.get(attack, ()))


def _examined(collection: Collection, group: Group, runs: tuple[Run, ...]) -> ExaminedCell:
    first = runs[0]
    items = read_result(first.path)["items"]
    all_rows = [row for rows in items.values() for row in rows]
    before = tuple(before_of(group.before, run) for run in runs)
    items_before = read_result(before[0].path)["items"]
    reference = retrained(collection, group)
    never_seen = None if reference is None else before_of(collection.bases[reference], first)
    items_retrained = read_result(never_seen.path)["items"] if never_seen else {}
    utility_sets = [
        name
        for name in first.sets
        if name not in UNLEARNED_ON
        and all(name in run.sets for run in (*runs, *before))
        and first.shows_retention(name)
    ]
    forget = items["forget"]
    held_out_facts = held_out(items, first)
    return ExaminedCell(
        group=group,
        runs=runs,
        before=before,
        held_out=held_out_facts.label,
        membership=Membership(
            *(_aucs(held_out_facts, model_items) for model_items in (items, items_before, items_retrained))
        ),
        audit=posterior_audit(held_out_facts.forget, held_out_facts.rows) if held_out_facts.set else UNKNOWN,
        frequency=frequency(items_before["forget"], forget),
        fluency=fluency([row["generation"] for row in all_rows], [*map(cluster_of, all_rows)]),
        quality=forget_quality(forget, items_retrained["forget"]) if items_retrained else None,
        model_utility=_utility(runs, utility_sets),
        utility_before=_utility(before, utility_sets),
        attacks=_attacks(collection.folders, runs),
    )


def _attacks(folders: Sequence[Path], runs: Sequence[Run]) -> dict[str, list[AttackResults]]:
    """Results by attack, those with the same options on several seeds together.

    A copy of a cell may be attacked in another folder than the one in which its result was read.
    """
    by_options: dict[tuple[str, str], dict[str, tuple[Run, AttackResult]]] = {}
    for run in runs:
        for result in (result for folder in folders for result in read_attacks(folder, run.id)):
            by_options.setdefault((result.attack, result.key), {}).setdefault(run.id, (run, result))
    attacks: dict[str, list[AttackResults]] = {}
    for (name, _), by_run in sorted(by_options.items(), key=lambda entry: entry[0]):
        attacks.setdefault(name, []).append(AttackResults(*zip(*by_run.values(), strict=True)))
    return attacks


def _aucs(held_out_facts: HeldOut, items: Mapping[str, Sequence[ItemRow]]) -> dict[str, Interval]:
    """AUCs of a model from its items; empty where it lacks some of the facts or gave no number for one."""
    sides = []
    for name, facts in (("forget", held_out_facts.forget), (held_out_facts.set, held_out_facts.rows)):
        by_id = {row["id"]: row for row in items.get(name, ())}
        sides.append([by_id[row["id"]] for row in facts if row["id"] in by_id])
        if not facts or len(sides[-1]) < len(facts) or not all_have_numbers(sides[-1]):
            return {}
    return membership_aucs(*sides)


def _utility(runs: Sequence[Run], names: Sequence[str]) -> Interval:
    """UNKNOWN where a model gave no number for an item: it would be taken for an item without wrong answers."""
    if any(np.isnan(stack(runs, name, "probability")).any() for name in names):
        return UNKNOWN
    return model_utility([_retain_scores(runs, name) for name in names])


def _retain_scores(runs: Sequence[Run], name: str) -> RetainScores:
    # As in TOFU: the probability among wrong answers (its options), but the plain one for facts like the trained ones.
    probability = "probability" if name == "retain_eval" else "normalised_probability"
    scores = (stack(runs, name, score) for score in (probability, "rougeL_recall", "truth_ratio"))
    return RetainScores(clusters(runs, name), *scores)
