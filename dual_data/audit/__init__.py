"""Measurements of any DUAL-like dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import polars as pl

from dual_data.audit.baselines import scorable
from dual_data.audit.columns import standard
from dual_data.audit.facts import ambiguous_subjects
from dual_data.audit.measures import measure
from dual_data.audit.pairs import compare, counted
from dual_data.text.display import count


def audit(
    splits: Mapping[str, pl.DataFrame],
    groups: Mapping[str, str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Measure every split, and every pair of splits of one group.

    `groups` maps a split to its group, such as a configuration of a release; without it all splits are compared with
    each other. `say` gets a line for every column with values that are left out, and for every split with answers that
    ROUGE-L cannot score. Returns {"splits": {name: {...}}, "pairs": {"A|B": {...}}}, the splits in the given order.

    Raises `InputError` for a table with neither question-answer pairs nor triplets.
    """
    tables = {name: standard(frame, name, say) for name, frame in splits.items()}
    for name, table in tables.items():
        if unscorable := scorable(table.rows).to_list().count(False):
            say(
                f"{name}: {count(unscorable, 'answer')} without a letter from A to Z or a digit, which ROUGE-L cannot "
                "score: they count as 0 in the scores of trivial rules, as in those of a model"
            )
    ambiguous = ambiguous_subjects([table.rows for table in tables.values()])
    group = groups or {}
    counts = {name: counted(table.rows) for name, table in tables.items()}
    return {
        "splits": {name: measure(table, ambiguous) for name, table in tables.items()},
        "pairs": {
            f"{first}|{second}": compare(counts[first], counts[second])
            for first, second in combinations(tables, 2)
            if group.get(first) == group.get(second)
        },
    }
