"""What only the chosen cells are asked: figures from their items, and the results of attacks that needed the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dual_data.evaluation.attacks.files import ATTACKS, Found, read_attacks
from dual_data.evaluation.attacks.membership import membership_aucs
from dual_data.evaluation.attacks.posterior import posterior_audit
from dual_data.evaluation.metrics.fluency import Fluency, fluency
from dual_data.evaluation.report.collect import Collection, Group, Run, clusters, stack
from dual_data.evaluation.report.frequency import Frequency, frequency
from dual_data.evaluation.report.held_out import HeldOut, held_out
from dual_data.evaluation.report.places import before_of
from dual_data.evaluation.report.quality import ForgetQuality, Kept, forget_quality, model_utility
from dual_data.evaluation.report.reference import retrained
from dual_data.evaluation.results import ItemRow, read_result
from dual_data.evaluation.statistics import Interval

Items = Mapping[str, Sequence[ItemRow]]
KEPT = ("retain_eval", "neighbor_relation", "neighbor_subject", "world_facts")
"""Sets that model utility is taken over."""


class AttackResults(NamedTuple):
    """An attack by one set of options, on one or more seeds of a cell."""

    options: Mapping[str, Any]
    runs: tuple[Run, ...]
    """By seed."""
    befores: tuple[Run, ...]
    """The model before unlearning of each: seeds may share one."""
    found: tuple[Found, ...]
    """Of each."""


class Membership(NamedTuple):
    """AUCs of telling the same facts apart, by attack; empty where there is no such model or it gave no number."""

    unlearned: Mapping[str, Interval]
    before: Mapping[str, Interval]
    retrained: Mapping[str, Interval]
    """Of the model whose stage learned the same but for the forget facts."""


class Extras(NamedTuple):
    """Of the chosen learning rate and, where nothing else is said, its first seed."""

    group: Group
    runs: tuple[Run, ...]
    """By seed."""
    befores: tuple[Run, ...]
    """The model before unlearning of each: seeds may share one."""
    held_out: str
    """The facts that forget facts are compared with, or why there are none."""
    membership: Membership
    audit: Interval | None
    """AUC of the posterior-difference audit; None for too few facts and a model that diverged."""
    frequency: Frequency | None
    fluency: Fluency
    quality: ForgetQuality | None
    """Against the model that was tuned on all but the forget facts, where the grid has it."""
    model_utility: Interval | None
    """Over all seeds of the chosen learning rate."""
    utility_before: Interval | None
    """The same of the model before unlearning of each seed, on the same facts."""
    attacks: Mapping[str, Sequence[AttackResults]]
    """What `dual-data eval attack` found of all seeds, by attack and options; empty where it was not run."""


def extras(collection: Collection, group: Group) -> Extras | None:
    """Figures of a group's chosen cell; None where nothing was measured."""
    lr = group.chosen()
    if lr is None:
        return None
    runs = tuple(group.at(lr))
    run = runs[0]
    items = read_result(run.path)["items"]
    everything = [row for rows in items.values() for row in rows]
    befores = tuple(before_of(group.before, one) for one in runs)
    before = read_result(befores[0].path)["items"]
    never = _never_learned(collection, group, run)
    kept = [name for name in KEPT if all(name in one.sets for one in (*runs, *befores)) and run.keeps(name)]
    forget = items["forget"]
    apart = held_out(items, run)
    return Extras(
        group=group,
        runs=runs,
        befores=befores,
        held_out=apart.label,
        membership=Membership(*(_aucs(apart, by_model) for by_model in (items, before, never))),
        audit=_audit(apart) if apart.set else None,
        frequency=frequency(before["forget"], forget) if _finite(forget) else None,
        fluency=fluency([row["generation"] for row in everything], [row["subject"] or row["id"] for row in everything]),
        quality=forget_quality(forget, never["forget"]) if never else None,
        model_utility=_utility(runs, kept),
        utility_before=_utility(befores, kept),
        attacks=_attacks(group, runs),
    )


def _attacks(group: Group, runs: Sequence[Run]) -> dict[str, list[AttackResults]]:
    """What was found with the same options on several seeds goes together."""
    by_options: dict[tuple[str, str], list[tuple[Run, Found]]] = {}
    for run in runs:
        for found in read_attacks(run.path.parent.parent, run.id):
            by_options.setdefault((found.attack, found.key), []).append((run, found))
    attacks: dict[str, list[AttackResults]] = {name: [] for name in ATTACKS}
    for (name, _), pairs in sorted(by_options.items(), key=lambda entry: entry[0]):
        seeds, found_there = zip(*pairs, strict=True)
        befores = tuple(before_of(group.before, run) for run in seeds)
        attacks[name].append(AttackResults(found_there[0].options, seeds, befores, found_there))
    return attacks


def _finite(rows: Sequence[ItemRow]) -> bool:
    """Whether the model gave numbers at all: one that diverged did not."""
    return all(row["scores"]["probability"] is not None for row in rows)


def _aucs(apart: HeldOut, items: Items) -> dict[str, Interval]:
    """By what a model said; nothing where it was not asked all of the facts, or gave no number for one."""
    sides = []
    for name, wanted in (("forget", apart.forget), (apart.set, apart.rows)):
        by_id = {row["id"]: row for row in items.get(name, ())}
        sides.append([by_id[row["id"]] for row in wanted if row["id"] in by_id])
        if not wanted or len(sides[-1]) < len(wanted) or not _finite(sides[-1]):
            return {}
    return membership_aucs(*sides)


def _audit(apart: HeldOut) -> Interval | None:
    try:
        return posterior_audit(apart.forget, apart.rows)
    except ValueError:
        return None


def _utility(runs: Sequence[Run], names: Sequence[str]) -> Interval | None:
    """None where a model gave no number for an item: it would count as one that had no wrong answers to offer."""
    if any(np.isnan(stack(runs, name, "probability")).any() for name in names):
        return None
    return model_utility([_kept(runs, name) for name in names])


def _kept(runs: Sequence[Run], name: str) -> Kept:
    # After TOFU: among wrong answers, which its questions offer as options, but of what is like what was trained on.
    probability = "probability" if name == "retain_eval" else "normalised_probability"
    scores = (stack(runs, name, score) for score in (probability, "rougeL_recall", "truth_ratio"))
    return Kept(clusters(runs, name), *scores)


def _never_learned(collection: Collection, group: Group, run: Run) -> Items:
    """What the retrained reference of the same model, data and set said; empty where there is none."""
    key = retrained(collection, group)
    return {} if key is None else read_result(before_of(collection.bases[key], run).path)["items"]
