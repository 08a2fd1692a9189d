"""The facts that forget facts are told apart from: those of a result that nothing was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dual_data.evaluation.attacks.membership import popularity_known
from dual_data.evaluation.report.collect import Run

Row = Mapping[str, Any]
CANDIDATES = ("neighbor_relation", "holdout", "world_facts", "retain_eval")
"""Sets that no unlearning trains on, the best likeness of the forget facts first."""
UNLEARNED_ON = ("forget", "retain_train")
"""Sets that unlearning itself trains on."""


class HeldOut(NamedTuple):
    """The first candidate that holds facts which were never trained on."""

    set: str
    """Empty where there is none."""
    rows: Sequence[Row]
    label: str
    """How a table names it: the set and whether it is matched, or why there is none."""


def held_out(items: Mapping[str, Sequence[Row]], run: Run) -> HeldOut:
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
            matched = popularity_known(items["forget"], rows)
            left_out = len(items[name]) - len(rows)
            notes = [f"{left_out} trained on left out"] * bool(left_out) + ["unmatched: no popularity"] * (not matched)
            return HeldOut(name, rows, f"{name} ({'; '.join(notes)})" if notes else name)
        if name in items:
            refused.append(name)
    reason = f"none: {', '.join(refused)} {'were' if len(refused) > 1 else 'was'} trained on" if refused else "none"
    return HeldOut("", (), reason)
