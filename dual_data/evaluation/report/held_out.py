"""The facts that forget facts are compared with: those of a result that nothing was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dual_data.evaluation.report.collect import Run
from dual_data.evaluation.report.contrast import nearest_pairs
from dual_data.evaluation.results import ItemRow
from dual_data.ids import digest

CANDIDATES = ("neighbor_relation", "holdout", "world_facts", "retain_eval")
"""Sets that no unlearning trains on, the best likeness of the forget facts first."""
UNLEARNED_ON = ("forget", "retain_train")
"""Sets that unlearning itself trains on."""
CALIPER = 0.25
"""Largest difference between two facts that are paired, in standard deviations (Rosenbaum and Rubin 1985, doi
10.1080/00031305.1985.10479383)."""
FEWEST = 10
"""Pairs that matching must leave: fewer say nothing."""


class HeldOut(NamedTuple):
    """The first candidate that holds facts which were never trained on."""

    set: str
    """Empty where there is none."""
    forget: Sequence[ItemRow]
    """The forget facts that are compared with `rows`: those with a pair there, all where the two are unmatched."""
    rows: Sequence[ItemRow]
    label: str
    """How a table names it: the set and how many pairs there are or why none, or why there is no set."""


def held_out(items: Mapping[str, Sequence[ItemRow]], run: Run) -> HeldOut:
    """Facts of the best candidate; those that the stage or unlearning was trained on are left out, by set and by id.

    A set that the stage was trained on holds members, whatever its name: `retain_eval` after `sft`, and where one file
    is both retain_train and retain_eval.
    """
    trained = {*UNLEARNED_ON, *run.trained}
    members = {row["id"] for name in trained for row in items.get(name, ())}
    refused = []
    for name in CANDIDATES:
        rows = [row for row in items.get(name, ()) if row["id"] not in members]
        # A set that the stage knows by another name, such as `format`.
        if rows and name not in run.same_as_stage:
            forget, rows, matched = matched_by_popularity(items["forget"], rows)
            left_out = sum(row["id"] in members for row in items[name])
            notes = [f"{left_out} trained on left out"] * bool(left_out) + [matched]
            return HeldOut(name, forget, rows, f"{name} ({'; '.join(notes)})")
        if name in items:
            refused.append(name)
    reason = f"none: {', '.join(refused)} {'were' if len(refused) > 1 else 'was'} trained on" if refused else "none"
    return HeldOut("", (), (), reason)


def matched_by_popularity(
    forget: Sequence[ItemRow], others: Sequence[ItemRow]
) -> tuple[list[ItemRow], list[ItemRow], str]:
    """Facts of both sides in pairs of like popularity, the others left out; and how many pairs there are.

    Popularity is a count. Pairs are within `CALIPER` of the standard deviation of log(1 + count) inside the sides, the
    closest first. Both sides are whole where a fact has no popularity and where fewer than `FEWEST` pairs are left, as
    the text then says.
    """
    # By hash: of facts of one popularity the first of a sorted file are no sample.
    sides = [sorted(side, key=lambda row: digest(f"pair|{row['id']}")) for side in (forget, others)]
    if any(row["popularity"] is None for side in sides for row in side):
        return list(forget), list(others), "unmatched: no popularity"
    one, two = (np.log1p(np.array([row["popularity"] for row in side], dtype=float)) for side in sides)
    pairs = nearest_pairs(one, two, CALIPER * float(np.sqrt((one.var() + two.var()) / 2)))
    if len(pairs) < FEWEST:
        return list(forget), list(others), f"unmatched: under {FEWEST} pairs of like popularity"
    left, right = zip(*pairs, strict=True)
    return [sides[0][i] for i in left], [sides[1][i] for i in right], f"{len(pairs)} pairs of like popularity"
