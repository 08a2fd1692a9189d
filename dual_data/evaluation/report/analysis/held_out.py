"""What forget facts and models are compared with: facts never trained on, and models never trained on the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.report.analysis.contrast import nearest_pairs
from dual_data.evaluation.report.analysis.runs import Collection, Group, Key, Run
from dual_data.evaluation.results import ItemRow, fact_of
from dual_data.ids import digest

_CANDIDATES = ("neighbor_relation", "holdout", "world_facts", "retain_eval")
"""Sets that unlearning does not train on, those most similar to the forget facts first."""
UNLEARNED_ON = ("forget", "retain_train")
"""Sets that unlearning itself trains on."""
CALIPER_SD = 0.25
"""Largest difference between two paired facts, in standard deviations (Rosenbaum and Rubin 1985, doi
10.1080/00031305.1985.10479383)."""
_FEWEST = 10
"""Least number of pairs: with fewer, sides are left unmatched."""


class HeldOut(NamedTuple):
    """The first candidate set that has facts which were never trained on."""

    set: str
    """Its name; empty where there is none."""
    forget: Sequence[ItemRow]
    """The forget facts that are compared with `rows`: those that are paired, or all where nothing is matched."""
    rows: Sequence[ItemRow]
    label: str
    """Label in tables: the set with the number of pairs or why there are none, or the reason why there is no set."""


def held_out(items: Mapping[str, Sequence[ItemRow]], run: Run) -> HeldOut:
    """Facts of the best candidate set, without those that the stage or unlearning was trained on.

    Facts are the same where question and answer are; ids may be unique only within a file.
    A set that the stage was trained on contains members, whatever its name: `retain_eval` after `sft`, or where one
    file is both retain_train and retain_eval.
    """
    trained = {*UNLEARNED_ON, *run.trained}
    members = {fact_of(row) for name in trained for row in items.get(name, ())}
    trained_on = []
    for name in _CANDIDATES:
        rows = [row for row in items.get(name, ()) if fact_of(row) not in members]
        # The stage may have trained on the same rows under another name, such as `format`.
        if rows and name not in run.same_as_stage:
            forget, rows, matched = matched_by_popularity(items["forget"], rows)
            left_out = sum(fact_of(row) in members for row in items[name])
            notes = [f"{left_out} trained on left out"] * bool(left_out) + [matched]
            return HeldOut(name, forget, rows, f"{name} ({'; '.join(notes)})")
        if name in items:
            trained_on.append(name)
    reason = (
        f"none: {', '.join(trained_on)} {'were' if len(trained_on) > 1 else 'was'} trained on" if trained_on else "none"
    )
    return HeldOut("", (), (), reason)


def matched_by_popularity(
    forget: Sequence[ItemRow], candidates: Sequence[ItemRow]
) -> tuple[list[ItemRow], list[ItemRow], str]:
    """Facts of both sides in pairs of similar popularity, and a text that gives the number of pairs.

    Unpaired facts are left out. Pairs differ by at most `CALIPER_SD` pooled standard deviations of
    log(1 + count) and are made closest first. Both sides stay whole, and the text says why, where a fact has no
    popularity, where popularity is no count (a negative number, or shares below 1) or where there are fewer than
    `_FEWEST` pairs.
    """
    # In order of hash: among facts of equal popularity, the first of a sorted file would be no random sample.
    sides = [sorted(side, key=lambda row: digest(f"pair|{row['id']}")) for side in (forget, candidates)]
    if any(row["popularity"] is None for side in sides for row in side):
        return list(forget), list(candidates), "unmatched: no popularity"
    counts = [np.array([row["popularity"] for row in side], dtype=float) for side in sides]
    if min(side.min() for side in counts) < 0 or 0 < max(side.max() for side in counts) < 1:
        return list(forget), list(candidates), "unmatched: popularity is no count"
    log_left, log_right = map(np.log1p, counts)
    deviation = float(np.sqrt((log_left.var() + log_right.var()) / 2))
    pairs = nearest_pairs(log_left, log_right, CALIPER_SD * deviation)
    if len(pairs) < _FEWEST:
        return list(forget), list(candidates), f"unmatched: under {_FEWEST} pairs of like popularity"
    left, right = zip(*pairs, strict=True)
    return [sides[0][i] for i in left], [sides[1][i] for i in right], f"{len(pairs)} pairs of like popularity"


def retrained(collection: Collection, group: Group) -> Key | None:
    """The key of the retrained reference of a group, measured before any unlearning; None where there is none.

    It has the same model, data and set, and a stage whose recipe differs only in that it does not train on the forget
    facts: sft_retain for sft. There is none for a stage that did not teach the facts (the reference would need a new
    pretraining) or that taught other answers (the reference would have to answer other questions).
    """
    learned = group.before[0].recipe
    if learned is None or "forget" not in learned["train"]:
        return None
    expected = {**learned, "train": sorted(name for name in learned["train"] if name != "forget")}
    for key, runs in collection.bases.items():
        recipe = runs[0].recipe
        same_place = key._replace(stage=group.key.stage, method=group.key.method) == group.key
        if same_place and recipe is not None and {**recipe, "train": sorted(recipe["train"])} == expected:
            return key
    return None
